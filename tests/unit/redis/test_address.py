"""Storage URLs of Redis: what is understood, and what is said about the others."""

from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.redis.address import Credentials, parse

SECRET = "s3cret"


def test_a_server_has_a_host_a_port_and_a_database() -> None:
    address = parse("redis://redis.internal")
    assert (address.hosts, address.db, address.tls) == ((("redis.internal", 6379),), 0, None)
    assert parse("redis://h:7000/3").db == 3
    assert parse("redis://h?db=4").db == 4
    assert parse("redis://[::1]:7000").hosts == (("::1", 7000),)
    assert str(parse("redis://[::1]:7000")) == "[::1]:7000"


def test_a_user_and_a_password_are_decoded() -> None:
    assert parse("redis://u:p%40%2F%3A@h").credentials == Credentials("u", "p@/:")
    assert parse("redis://:p@h").credentials == Credentials(None, "p")
    assert parse("redis://h").credentials == Credentials()


def test_a_socket_has_a_path() -> None:
    address = parse("unix://u:p@/run/redis.sock?db=2")
    assert (address.path, address.db, address.hosts) == ("/run/redis.sock", 2, ())
    assert address.credentials == Credentials("u", "p")


def test_sentinels_name_a_service_and_may_have_credentials_of_their_own() -> None:
    address = parse("redis+sentinel://u:p@a,b:7,[::1]:8/prime/1?sentinel_password=q")
    assert address.hosts == (("a", 26379), ("b", 7), ("::1", 8))
    assert (address.service, address.db, address.tls) == ("prime", 1, None)
    assert (address.credentials, address.sentinels) == (
        Credentials("u", "p"),
        Credentials(None, "q"),
    )
    assert parse("rediss+sentinel://a/prime").tls == {}


def test_certificates_are_verified_unless_the_url_says_otherwise(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.touch()
    assert parse("rediss://h").tls == {}
    assert parse(f"rediss://h?ssl_ca_certs={authority}").tls == {"ssl_ca_certs": str(authority)}
    assert parse("rediss://h?ssl_cert_reqs=none").tls == {
        "ssl_cert_reqs": "none",
        "ssl_check_hostname": False,
    }


def test_white_space_around_a_url_does_no_harm() -> None:
    assert parse(" redis://h\n").hosts == (("h", 6379),)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "must begin with one of redis://"),
        (f"http://u:{SECRET}@h", "must begin with one of redis://"),
        (f"{SECRET}", "must begin with one of redis://"),
        ("redis:h", "must begin with one of redis://"),
        ("redis://", "names no host"),
        ("redis://h:0", "port 0"),
        ("redis://h:99999", "port is not a number up to 65535"),
        (f"redis://u:{SECRET}/x@h", "if the '/' is part of the password"),
        (f"redis://{SECRET}:x@a:{SECRET}", "port is not a number"),
        (f"redis://:{SECRET}#x@h", "holds a '#'"),
        (f"redis://:{SECRET}?x=1@h", "after '[?]' only"),
        (f"redis://:[{SECRET}@h", "host cannot be read"),
        (f"redis://u:{SECRET} x@h", "a space or a control character"),
        (f"redis://u:{SECRET}\nx@h", "a space or a control character"),
        (f"redis://u:{SECRET}@h/one", "database is not a number"),
        (f"redis://u:{SECRET}@h/-1", "database is not a number"),
        (f"redis://u:{SECRET}@h/1/2", "only the number of one database"),
        (f"redis://u:{SECRET}@h/1?db=2", "only the number of one database"),
        (f"redis://u:{SECRET}@a,b", "only redis[+]sentinel:// takes more than one host"),
        (f"redis+sentinel://u:{SECRET}@a", "does not name the service"),
        (f"redis+sentinel://u:{SECRET}@a,,b/s", "names no host"),
        (f"redis://u:{SECRET}@h?ssl_cert_reqs=none", "ssl_cert_reqs needs TLS"),
        (f"rediss://u:{SECRET}@h?ssl_cert_reqs=maybe", "ssl_cert_reqs is none or required"),
        (f"rediss://u:{SECRET}@h?ssl_ca_certs=/absent", "no file for ssl_ca_certs"),
        (f"redis://u:{SECRET}@h?db=1&db=2", "says db twice"),
        (f"unix://u:{SECRET}@h/path", "unix:///path/to/socket"),
        ("unix://", "unix:///path/to/socket"),
    ],
)
def test_a_wrong_url_is_told_in_one_sentence_without_its_secrets(url: str, why: str) -> None:
    with pytest.raises(UserError, match=rf"^CONDUCTOR_STORAGE_URL .*{why}") as caught:
        parse(url)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_neither_its_place_nor_its_representation_holds_a_password() -> None:
    for url in ("redis://u:s3cret@h", "redis+sentinel://u:s3cret@a,b/s?sentinel_password=s3cret"):
        assert SECRET not in f"{parse(url)} {parse(url)!r}"
