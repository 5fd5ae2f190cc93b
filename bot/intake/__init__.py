"""From a stored delivery to runs: what happened, what it means here, and what starts."""

from bot.commands.permissions import Permissions
from bot.events.filters import AppIdentity
from bot.intake.alerts import Repositories
from bot.intake.evaluation import Evaluation
from bot.intake.installations import Installations
from bot.intake.intake import Intake
from bot.intake.learning import History
from bot.intake.orders import Orders
from bot.intake.schedules import Schedules
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.coordinator import Coordinator
from pipelines.orchestration.standing import Standing
from pipelines.orchestration.state import StateManager
from pipelines.ports import Clock
from pipelines.stores.backend import StorageBackend

__all__ = ["Intake", "build_intake"]


def build_intake(
    *,
    coordinator: Coordinator,
    state: StateManager,
    standing: Standing,
    source: History,
    permissions: Permissions,
    store: StorageBackend,
    bus: MessageBus,
    clock: Clock,
    identity: AppIdentity,
    repositories: Repositories,
) -> Intake:
    """Return the handler of the ``deliveries`` queue with everything that it needs."""
    evaluation = Evaluation(coordinator, source)
    orders = Orders(
        coordinator=coordinator,
        evaluation=evaluation,
        state=state,
        standing=standing,
        source=source,
        permissions=permissions,
        clock=clock,
        app=identity.slug,
    )
    return Intake(
        coordinator=coordinator,
        evaluation=evaluation,
        orders=orders,
        schedules=Schedules(store, bus, clock),
        installations=Installations(coordinator=coordinator, state=state, store=store, bus=bus),
        standing=standing,
        source=source,
        permissions=permissions,
        store=store,
        bus=bus,
        clock=clock,
        identity=identity,
        repositories=repositories,
    )
