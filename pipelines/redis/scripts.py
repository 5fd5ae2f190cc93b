"""The Lua scripts: each a file in ``lua/``, with what they share before it."""

import hashlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "lua"


@dataclass(frozen=True, slots=True)
class Script:
    """One script's text and the digest by which a server knows it."""

    name: str
    source: str = field(repr=False)
    digest: str


@cache
def script(name: str, *, writes: bool = True) -> Script:
    """Return a script of this package.

    The first line makes the server refuse it whole before it starts where a write would be
    refused: full, read-only, cannot persist (https://redis.io/docs/latest/develop/programmability).
    """
    flags = "#!lua" if writes else "#!lua flags=no-writes"
    texts = ((_FOLDER / f"{part}.lua").read_text() for part in ("common", name))
    source = "\n".join((flags, *texts))
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


COMMIT = script("commit")
CLAIM = script("claim")
RENEW = script("renew")
RELEASE = script("release")
SWEEP = script("sweep")
TIDY = script("tidy")
PING = script("ping")
READ = script("read", writes=False)
SCAN = script("scan", writes=False)
LOG = script("log", writes=False)
MESSAGES = script("messages", writes=False)
DEPTH = script("depth", writes=False)
