"""What processes share beyond the store: GitHub's limits, and what each tenant may have."""

import structlog

from bot.github.throttle import Ledger
from bot.settings import ConductorConfig
from bot.worker import FleetCaps
from pipelines.orchestration.bus.base import Caps
from pipelines.redis.shared import OnRedis
from pipelines.stores.backend import StorageBackend

_log = structlog.stdlib.get_logger("bot.wiring")


async def shared_ledger(store: StorageBackend) -> Ledger | None:
    """Return what keeps GitHub's limits for all processes, or None where there is only one.

    Raises UserError if the Redis would lose what it is given, NotStored if it does not answer.
    """
    if not isinstance(store, OnRedis):
        return None
    from bot.github.shared_limits import RedisLedger  # noqa: PLC0415 - slow to import
    from pipelines.redis.durability import insist, inspect  # noqa: PLC0415

    checks = await inspect(store.keyspace.connection)
    insist(checks)
    for check in checks:
        if check.verdict != "fine":
            _log.warning("redis_checked", check=check.name, finding=check.sentence)
    return RedisLedger(store.keyspace.connection)


def fleet_caps(settings: ConductorConfig) -> FleetCaps:
    """Return what says how much of so many workers one tenant may have at a time."""

    def caps(workers: int) -> Caps:
        return Caps(settings.repository_cap(workers), settings.installation_cap(workers))

    return caps
