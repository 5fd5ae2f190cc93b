"""All that is stored of one installation or repository: handed over, or deleted without a rest."""

import base64
import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from pipelines.errors import LeaseLost
from pipelines.ports import Batch, Lease, Message, Versioned, Write
from pipelines.stores.backend import StorageBackend

# Where in a key the installation stands, the repository behind it; everywhere else it is second.
_POSITION: Mapping[str, int] = {"recent": 2, "spend": 3}
_NOBODYS = frozenset({"agent", "worker", "delivery", "body", "digest", "dead"})
"""Kinds whose keys name no tenant; what is in them is for whoever wrote them to judge."""

_PAGE = 100


@dataclass(frozen=True, slots=True)
class Scope:
    """An installation, or with ``repository`` one repository of it."""

    installation: int
    repository: int | None = None

    def holds(self, tenant: str | None) -> bool:
        """Whether the tenant is inside."""
        if tenant is None:
            return False
        installation, _, repository = tenant.partition("/")
        inside = self.repository is None or repository == str(self.repository)
        return installation == str(self.installation) and inside


def tenant_of(key: str) -> str | None:
    """Return whose record a key is, or None if the key does not say so."""
    kind, *_ = segments = key.split("/")
    if kind in _NOBODYS:
        return None
    first = _POSITION.get(kind, 1)
    tenant = segments[first : first + 2]
    plain = len(tenant) == 2 and all(part.isascii() and part.isdigit() for part in tenant)
    return "/".join(tenant) if plain else None


async def owned(backend: StorageBackend, scope: Scope) -> AsyncIterator[tuple[str, Versioned]]:
    """Yield every record of the scope, in key order; reads past all others."""
    async for key, record in backend.scan(""):
        if scope.holds(tenant_of(key)):
            yield key, record


async def export(backend: StorageBackend, scope: Scope) -> AsyncIterator[bytes]:
    """Yield one line of JSON a record, and one a message that waits: everything of the scope."""
    async for key, record in owned(backend, scope):
        yield line(key, record)
    for message in await backend.messages():
        if scope.holds(message.tenant):
            yield _line({"message": message.model_dump(mode="json")})


def line(key: str, record: Versioned) -> bytes:
    """Return a record as one line of JSON; what is not JSON itself is in base 64."""
    entry: dict[str, JsonValue] = {"key": key, "version": record.version}
    try:
        entry["value"] = json.loads(record.value)
    except ValueError:
        entry["base64"] = base64.b64encode(record.value).decode()
    return _line(entry)


def _line(entry: dict[str, JsonValue]) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


async def delete(backend: StorageBackend, scope: Scope) -> int:
    """Delete everything of the scope, also what is stored meanwhile; return how much that was.

    Messages that wait are settled, so that no work goes on with what is gone.
    """
    total = 0
    while True:
        messages = [m for m in await backend.messages() if scope.holds(m.tenant)]
        keys = [key async for key, _ in owned(backend, scope)]
        if not keys and not messages:
            return total
        await _delete(backend, keys)
        await _settle(backend, messages)
        total += len(keys) + len(messages)


async def _delete(backend: StorageBackend, keys: list[str]) -> None:
    for start in range(0, len(keys), _PAGE):
        writes = [Write(key, None) for key in keys[start : start + _PAGE]]
        await backend.commit(Batch(writes=writes))


async def _settle(backend: StorageBackend, messages: Iterable[Message]) -> None:
    for message in messages:
        # One that is claimed at this moment has a new token, which the next look will see.
        with contextlib.suppress(LeaseLost):
            await backend.commit(Batch(settled=[Lease(message=message, expires_at=0.0)]))
