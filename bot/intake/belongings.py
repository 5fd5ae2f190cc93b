"""All that Conductor stores of a tenant: its records, and deliveries by what their bodies say."""

from collections.abc import AsyncIterator

from pydantic import BaseModel, ValidationError

from bot.deliveries.delivery import Delivery, delivery_key
from pipelines.orchestration.bus.dead import DeadLetter
from pipelines.ports import Batch, Versioned, Write
from pipelines.stores import tenancy
from pipelines.stores.backend import StorageBackend
from pipelines.stores.tenancy import Scope


class _Numbered(BaseModel):
    id: int


class _Body(BaseModel):
    """The part of a webhook's body that says whose it is."""

    installation: _Numbered | None = None
    repository: _Numbered | None = None

    @property
    def tenant(self) -> str | None:
        """Installation and repository, 0 where the body names none."""
        if self.installation is None:
            return None
        return f"{self.installation.id}/{self.repository.id if self.repository else 0}"


async def everything(store: StorageBackend, scope: Scope) -> AsyncIterator[bytes]:
    """Yield the scope's records, messages, deliveries and dead letters as lines of JSON."""
    async for line in tenancy.export(store, scope):
        yield line
    async for key, record in delivered(store, scope):
        yield tenancy.line(key, record)


async def delete_everything(store: StorageBackend, scope: Scope) -> int:
    """Delete all that is the scope's and return how many records that was."""
    keys = [key async for key, _ in delivered(store, scope)]
    for start in range(0, len(keys), 100):
        writes = [Write(key, None) for key in keys[start : start + 100]]
        await store.commit(Batch(writes=writes))
    return len(keys) + await tenancy.delete(store, scope)


async def delivered(store: StorageBackend, scope: Scope) -> AsyncIterator[tuple[str, Versioned]]:
    """Yield deliveries with their bodies, and dead letters, that are the scope's.

    A delivery without a body was ignored and names nobody.
    """
    runs = {key.rsplit("/", 1)[-1] async for key, _ in store.scan("run/") if _in(scope, key)}
    found: set[str] = set()
    async for key, record in store.scan("body/"):
        if scope.holds(_tenant(record)):
            found.add(delivery_key(key.removeprefix("body/")))
            yield key, record
    async for key, record in store.scan("delivery/"):
        if key in found or runs.intersection(_runs(record)):
            yield key, record
    async for key, record in store.scan("dead/"):
        if scope.holds(DeadLetter.model_validate_json(record.value).message.tenant):
            yield key, record


def _in(scope: Scope, key: str) -> bool:
    return scope.holds(tenancy.tenant_of(key))


def _tenant(body: Versioned) -> str | None:
    try:
        return _Body.model_validate_json(body.value).tenant
    except ValidationError:
        return None


def _runs(delivery: Versioned) -> tuple[str, ...]:
    return Delivery.model_validate_json(delivery.value).run_ids
