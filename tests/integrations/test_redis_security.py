"""TLS, credentials and peers that are not what they should be; no password in any message."""

import asyncio
from pathlib import Path

import pytest

from pipelines.errors import NotStored
from pipelines.redis.connection import RedisConnection
from tests.support.certificates import issue
from tests.support.daemon import free_port
from tests.support.valkey import Tls, binaries, running, saying, speaks_tls

PASSWORD = "p%40ss/w0rd"
QUOTED = "p%2540ss%2Fw0rd"


@pytest.fixture(params=sorted(binaries()))
def binary(request: pytest.FixtureRequest) -> Path:
    return binaries()[request.param]


@pytest.fixture
def tls(tmp_path: Path, binary: Path) -> Tls:
    if not speaks_tls(binary):
        pytest.skip(f"{binary} was built without TLS")
    return issue(tmp_path)


async def refusal(url: str) -> str:
    """What is said when the server is spoken to, which must hold no password."""
    connection = RedisConnection(url, timeout=1)
    with pytest.raises(NotStored) as caught:
        await connection.ping()
    await connection.aclose()
    for secret in (PASSWORD, QUOTED):
        assert secret not in f"{caught.value} {caught.value!r}"
    return str(caught.value)


# --- TLS -----------------------------------------------------------------------------------------


async def test_a_certificate_of_the_named_authority_is_accepted(binary: Path, tls: Tls) -> None:
    with running(binary=binary, tls=tls) as server:
        connection = RedisConnection(server.url)
        assert await connection.do("ECHO", "hello") == b"hello"
        await connection.aclose()


async def test_any_other_certificate_is_refused_unless_the_url_takes_every_one(
    binary: Path, tls: Tls, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = issue(tmp_path / "other")
    with running(binary=binary, tls=tls) as server:
        plain = server.url.partition("?")[0]
        for url in (f"{plain}?ssl_ca_certs={other.ca}", plain):
            said = await refusal(url)
            assert "The certificate of Redis at 127.0.0.1:" in said
            assert "name its authority with ?ssl_ca_certs=FILE" in said
        connection = RedisConnection(f"{plain}?ssl_cert_reqs=none")
        await connection.ping()
        await connection.aclose()


async def test_a_certificate_for_another_name_is_refused(binary: Path, tls: Tls) -> None:
    with running(binary=binary, tls=tls) as server:
        renamed = server.url.replace("127.0.0.1", "localhost")
        assert "certificate is not valid for 'localhost'" in await refusal(renamed)
        connection = RedisConnection(f"{renamed}&ssl_check_hostname=false")
        await connection.ping()
        await connection.aclose()


async def test_tls_to_a_server_that_has_none_says_so(binary: Path) -> None:
    with running(binary=binary) as server:
        said = await refusal(server.url.replace("redis://", f"rediss://:{QUOTED}@"))
    assert "if it speaks no TLS, write redis://" in said


async def test_a_server_with_tls_alone_cannot_be_reached_without(binary: Path, tls: Tls) -> None:
    with running(binary=binary, tls=tls) as server:
        said = await refusal(f"redis://:{QUOTED}@127.0.0.1:{server.port}")
    assert "if it speaks TLS, write rediss://" in said


# --- credentials ---------------------------------------------------------------------------------


async def test_a_password_with_every_kind_of_character_opens_the_server(binary: Path) -> None:
    acl = ("user default off", f"user conductor on >{PASSWORD} ~* &* +@all")
    with running(binary=binary, acl=acl) as server:
        connection = RedisConnection(server.url_for("conductor", QUOTED))
        await connection.ping()
        await connection.aclose()


@pytest.mark.parametrize("given", ["", f"conductor:{QUOTED}@", f":{QUOTED}@", f"nobody:{QUOTED}@"])
async def test_wrong_credentials_are_told_without_repeating_them(binary: Path, given: str) -> None:
    acl = ("user default on >another ~* &* +@all", "user conductor on >another ~* &* +@all")
    with running(binary=binary, acl=acl) as server:
        said = await refusal(server.url.replace("://", f"://{given}"))
    assert "refused the user name or password; correct them" in said


async def test_a_password_for_a_server_without_one_is_told(binary: Path) -> None:
    with running(binary=binary) as server:
        said = await refusal(server.url.replace("://", f"://:{QUOTED}@"))
    assert "refused" in said


async def test_a_command_that_the_user_may_not_run_is_named(binary: Path) -> None:
    acl = ("user default on nopass ~* &* +@all -ping",)
    with running(binary=binary, acl=acl) as server:
        assert "'ping' command" in await refusal(server.url)


# --- peers that are no Redis ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\xff" * 100_000 + b"\r\n",
        b":one\r\n",
        b"$-5\r\nxx\r\n",
        b"*1000000000\r\n",
        b"$99999999999999999999\r\n",
        b"\r\n",
        b"+" + b"x" * 200_000 + b"\r\n",
        b"-" + PASSWORD.encode() + b" " + b"x" * 5000 + b"\r\n",
        b"-MOVED nonsense\r\n",
        b"-MOVED 1 host:port\r\n",
        b"*0\r\n",
        b"",
    ],
)
async def test_a_peer_that_is_no_redis_gives_one_short_sentence(answer: bytes) -> None:
    async with saying(answer, even_to_ping=True) as url:
        said = await refusal(url.replace("://", f"://:{QUOTED}@"))
    assert len(said) < 500
    assert said.count("\n") == 0


async def test_a_port_where_nobody_listens_is_told() -> None:
    said = await refusal(f"redis://:{QUOTED}@127.0.0.1:{free_port()}")
    assert "could not be reached" in said


async def test_a_name_that_does_not_resolve_is_told() -> None:
    said = await refusal(f"redis://:{QUOTED}@no-such-host.invalid")
    assert "could not be reached" in said


async def test_a_server_that_accepts_and_hangs_is_told_in_time(binary: Path) -> None:
    with running(binary=binary) as server:
        server.pause()
        said = await refusal(server.url)
        server.resume()
    assert "did not answer in time" in said


async def test_a_full_server_refuses_and_takes_again_when_there_is_room(binary: Path) -> None:
    with running({"maxmemory": "8mb"}, binary=binary) as server:
        connection = RedisConnection(server.url)
        writes = (connection.do("SET", f"k{n}", b"x" * 100_000) for n in range(200))
        ended = await asyncio.gather(*writes, return_exceptions=True)
        refused = [error for error in ended if isinstance(error, NotStored)]
        assert "is full; raise its `maxmemory`" in str(refused[0])
        assert await connection.do("GET", "absent") is None
        server.command("FLUSHALL")
        await connection.do("SET", "k", "v")
        await connection.aclose()
