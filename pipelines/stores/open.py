"""From a storage URL to a backend."""

from pathlib import Path

from pipelines.errors import UserError
from pipelines.ports import Clock
from pipelines.stores.backend import StorageBackend
from pipelines.stores.memory import MemoryBackend
from pipelines.stores.sqlite import SqliteBackend

_KNOWN = "this build knows memory://, sqlite:///PATH and redis://HOST:PORT/DB"
_REDIS = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")


def open_backend(url: str, clock: Clock, *, read_only: bool = False) -> StorageBackend:
    """Open ``memory://``, ``sqlite:///relative/path``, ``sqlite:////absolute/path`` or a Redis.

    What a Redis URL says is described in ``pipelines/redis/address.py``; nothing is connected to
    yet. ``read_only`` reads a store beside the processes that write it.
    Raises UserError for any other URL and for a file that is not ours, NotStored for one that is
    in use or cannot be written. The URL may hold a password and is never repeated whole.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise UserError(f"The storage URL has no scheme; {_KNOWN}.")
    if scheme == "memory":
        if rest.strip("/"):
            raise UserError("memory:// takes no path: it is gone with the process.")
        if read_only:
            raise UserError("memory:// is gone with its process, so there is nothing to read.")
        return MemoryBackend(clock)
    if scheme == "sqlite":
        return SqliteBackend(_path(rest), clock, read_only=read_only)
    if scheme in _REDIS:
        return _redis(url, read_only=read_only)
    raise UserError(f"The storage scheme {scheme[:20]!r} is not supported; {_KNOWN}.")


def _redis(url: str, *, read_only: bool) -> StorageBackend:
    # Its client takes longer to import than all the rest, and one machine does not need it.
    from pipelines.redis.connection import RedisConnection  # noqa: PLC0415
    from pipelines.redis.keyspace import Keyspace  # noqa: PLC0415
    from pipelines.stores.redis import RedisBackend  # noqa: PLC0415

    return RedisBackend(Keyspace(RedisConnection(url)), read_only=read_only)


def _path(rest: str) -> Path:
    path = rest.removeprefix("/")
    if not rest.startswith("/") or not path or path.endswith("/"):
        raise UserError(
            "A SQLite URL is sqlite:///relative.db or sqlite:////absolute/path.db, with three "
            "slashes before the path."
        )
    if "?" in path or "#" in path or path == ":memory:" or "\0" in path:
        raise UserError("A SQLite URL takes a plain file and no options; for none use memory://.")
    return Path(path)
