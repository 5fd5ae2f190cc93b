"""What brings back what was lost: missed deliveries, and what a lost store knew."""

from dataclasses import dataclass

from bot.deliveries.sweeper import Sweeper
from bot.events.filters import AppIdentity
from bot.github.census import Census
from bot.github.gateway import GitHub
from bot.github.hook_deliveries import HookDeliveries
from bot.github.source import GitHubSource
from bot.intake.convergence import Convergence
from bot.intake.recovery import RECOVERIES, Recovery
from bot.reporting.lost_checks import LostChecks
from bot.worker import Lane, Sweep
from pipelines.orchestration.assembly import Orchestration
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.overdue import Overdue
from pipelines.ports import Clock
from pipelines.stores.backend import StorageBackend

SWEEP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Recoveries:
    """What the worker needs for it: a handler for ``lane``, and what it does each minute."""

    handler: Recovery
    lane: Lane
    sweeps: tuple[Sweep, ...]


def recoveries(
    parts: Orchestration,
    github: GitHub,
    source: GitHubSource,
    identity: AppIdentity,
    *,
    store: StorageBackend,
    bus: MessageBus,
    clock: Clock,
) -> Recoveries:
    """Build it over the parts that the worker has."""
    handler = Recovery(
        coordinator=parts.coordinator,
        standing=parts.standing,
        source=source,
        checks=LostChecks(github),
        store=store,
        bus=bus,
        clock=clock,
        identity=identity,
    )
    sweeper = Sweeper(HookDeliveries(github.app), store, clock)
    overdue = Overdue(parts.state, bus, clock)
    convergence = Convergence(Census(github), store, bus, clock)
    return Recoveries(
        handler=handler,
        lane=Lane("recoveries", (RECOVERIES,), 2),
        sweeps=(
            Sweep("missed deliveries", SWEEP_SECONDS, sweeper.sweep),
            Sweep("lost pull requests", SWEEP_SECONDS, convergence.sweep),
            Sweep("overdue reports", SWEEP_SECONDS, overdue.sweep),
        ),
    )
