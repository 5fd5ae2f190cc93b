"""From a storage to the bus over it."""

from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.bus.local import LocalBus
from pipelines.ports import Clock
from pipelines.redis.shared import OnRedis
from pipelines.stores.backend import StorageBackend


def open_bus(backend: StorageBackend, clock: Clock, worker: str) -> MessageBus:
    """Return the bus for the storage: one that its processes share, or this process's own.

    ``worker`` names this process among them, and must differ between two that run at a time.
    """
    if isinstance(backend, OnRedis):
        from pipelines.orchestration.bus.streams import RedisBus  # noqa: PLC0415 - slow to import

        return RedisBus(backend, backend.keyspace, clock, worker)
    return LocalBus(backend, clock)
