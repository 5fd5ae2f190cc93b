"""What every implementation of the storage refuses before it touches anything."""

import math
import re
from collections.abc import Iterable
from functools import lru_cache

from pipelines.ports import Append, Batch, Write
from pipelines.stores.backend import MAX_KEY

_KEY = re.compile(rf"[!-~]{{1,{MAX_KEY}}}")


@lru_cache(maxsize=4096)
def check_key(key: str) -> None:
    """Raise ValueError unless the key is 1 to 512 printable ASCII characters without spaces."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"a key is 1 to {MAX_KEY} printable ASCII characters, not {key[:80]!r}")


def check_batch(batch: Batch) -> None:
    """Raise ValueError for what no store could carry out: it is the caller's mistake."""
    for write in batch.writes:
        _check_write(write)
    for append in batch.appends:
        _check_append(append)
    for message in batch.queued:
        message.id.encode()  # half a surrogate pair raises UnicodeEncodeError, a ValueError
    _check_unique("record", (write.key for write in batch.writes))
    _check_unique("message", (message.id for message in batch.queued))
    _check_unique("lease", (lease.message.id for lease in batch.settled))


def _check_write(write: Write) -> None:
    check_key(write.key)
    if write.expect is not None and write.expect < 0:
        raise ValueError(f"{write.key!r} expects version {write.expect}, which cannot be")
    if write.ttl is not None and not (0 < write.ttl < math.inf):
        raise ValueError(f"{write.key!r} has a time to live of {write.ttl} seconds")


def _check_append(append: Append) -> None:
    check_key(append.log)
    if append.keep < 1:
        raise ValueError(f"log {append.log!r} must keep its newest item, not {append.keep}")


def _check_unique(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{what} {name!r} occurs twice in one batch")
        seen.add(name)
