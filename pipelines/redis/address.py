"""Where Redis is, read from a URL that may hold a password and is therefore never repeated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pipelines.errors import UserError

SCHEMES = ("redis", "rediss", "redis+sentinel", "rediss+sentinel", "unix")
REDIS_PORT = 6379
SENTINEL_PORT = 26379

_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_SWITCHES = {
    "ssl_cert_reqs": {"none": "none", "required": "required"},
    "ssl_check_hostname": {"false": False, "true": True},
}
_SENTINEL = ("sentinel_username", "sentinel_password")
_ENCODE = "write every character of a password that is not a letter or digit as %XX"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who Redis is told we are; empty means the default user without a password."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def arguments(self) -> Mapping[str, Any]:
        """As redis-py's connections take them."""
        return {"username": self.username, "password": self.password}


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed URL; ``str()`` is its place without any credentials, fit for a message."""

    hosts: Sequence[tuple[str, int]]
    """Of the server, or of the Sentinels when there is a ``service``; none for a socket."""
    path: str | None = None
    """Of a Unix socket."""
    service: str | None = None
    """What Sentinels call the primary."""
    db: int = 0
    credentials: Credentials = Credentials()
    sentinels: Credentials = Credentials()
    """What the Sentinels themselves are told."""
    tls: Mapping[str, Any] | None = None
    """Arguments of redis-py's TLS connections; None speaks in the clear."""

    def __str__(self) -> str:
        if self.path:
            return f"the socket {self.path}"
        hosts = ", ".join(place(*each) for each in self.hosts)
        return f"service {self.service!r} of the Sentinels {hosts}" if self.service else hosts

    @property
    def secrets(self) -> Sequence[str]:
        """What no message may hold."""
        return [each.password for each in (self.credentials, self.sentinels) if each.password]


def place(host: str, port: int) -> str:
    """A host and port as people write them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse(url: str) -> Address:
    """Read a storage URL; raises UserError with what is wrong and nothing of the credentials."""
    url = url.strip()
    if any(character.isspace() or not character.isprintable() for character in url):
        _refuse(f"it holds a space or a control character; {_ENCODE}")
    scheme = url.partition(":")[0].lower()
    if scheme not in SCHEMES or "://" not in url:
        _refuse(f"it must begin with one of {', '.join(f'{each}://' for each in SCHEMES)}")
    try:
        parts = urlsplit(url)
    except ValueError:
        _refuse(f"its host cannot be read; {_ENCODE}")
    if parts.fragment or "#" in url:
        _refuse(f"it holds a '#'; {_ENCODE}")
    options = _options(parts)
    credentials, _, hosts = parts.netloc.rpartition("@")
    shared: dict[str, Any] = {
        "credentials": _credentials(credentials),
        "sentinels": Credentials(*(options.pop(name, None) for name in _SENTINEL)),
        "tls": _tls(scheme, options),
    }
    if scheme == "unix":
        return _socket(parts, hosts, options, shared)
    service, db = _service_and_db(scheme, parts.path, options)
    port = SENTINEL_PORT if service else REDIS_PORT
    found = tuple(_host(each, port) for each in hosts.split(","))
    if len(found) > 1 and not service:
        _refuse("only redis+sentinel:// takes more than one host")
    return Address(found, service=service, db=db, **shared)


def _refuse(why: str) -> NoReturn:
    raise UserError(f"CONDUCTOR_STORAGE_URL (or REDIS_URL) is not a Redis URL: {why}.") from None


def _options(parts: SplitResult) -> dict[str, str]:
    known = ("db", *_FILES, *_SWITCHES, *_SENTINEL)
    found: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            _refuse(
                f"after '?' only {', '.join(known)} are known; if that '?' is part of the "
                f"password, {_ENCODE}"
            )
        if name in found:
            _refuse(f"it says {name} twice")
        found[name] = value
    return found


def _credentials(text: str) -> Credentials:
    username, _, password = text.partition(":")
    return Credentials(unquote(username) or None, unquote(password) or None)


def _tls(scheme: str, options: dict[str, str]) -> Mapping[str, Any] | None:
    given = {name: options.pop(name) for name in (*_FILES, *_SWITCHES) if name in options}
    if not scheme.startswith("rediss"):
        if given:
            _refuse(f"{min(given)} needs TLS, that is rediss:// or rediss+sentinel://")
        return None
    arguments: dict[str, Any] = {}
    for name, value in given.items():
        if name in _FILES:
            if not Path(value).is_file():
                _refuse(f"there is no file for {name}")
            arguments[name] = value
        elif (meaning := _SWITCHES[name].get(value.lower())) is None:
            _refuse(f"{name} is {' or '.join(_SWITCHES[name])}")
        else:
            arguments[name] = meaning
    if arguments.get("ssl_cert_reqs") == "none":
        arguments["ssl_check_hostname"] = False
    return arguments


def _socket(
    parts: SplitResult, hosts: str, options: dict[str, str], shared: Mapping[str, Any]
) -> Address:
    if hosts or not parts.path.strip("/"):
        _refuse("a socket is written unix:///path/to/socket?db=0")
    return Address((), path=unquote(parts.path), db=_db(options.get("db", "0")), **shared)


def _service_and_db(scheme: str, path: str, options: dict[str, str]) -> tuple[str | None, int]:
    steps = [unquote(step) for step in path.split("/") if step]
    service = None
    if scheme.endswith("+sentinel"):
        if not steps:
            _refuse("it does not name the service: redis+sentinel://host:26379/SERVICE/0")
        service = steps.pop(0)
    if len(steps) > 1 or (steps and "db" in options):
        _refuse("after the host only the number of one database may come")
    return service, _db(steps[0] if steps else options.get("db", "0"))


def _db(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        _refuse(f"the database is not a number; if the '/' is part of the password, {_ENCODE}")
    return int(text)


def _host(text: str, port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname or "", port if parts.port is None else parts.port
    except ValueError:
        _refuse(f"a port is not a number up to 65535; {_ENCODE}")
    if not host or not port:
        _refuse("it names no host, or port 0")
    return host, port
