"""What follows when an installation goes: its runs stop, its records are deleted."""

from bot.events.installations import InstallationChanged
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.coordinator import Coordinator
from pipelines.orchestration.state import StateManager
from pipelines.orchestration.transitions import CancelRequested
from pipelines.ports import Batch, Write
from pipelines.stores import tenancy
from pipelines.stores.backend import StorageBackend
from pipelines.stores.tenancy import Scope

KEPT = ("spend/", "live/")
"""What it spent is kept for the operator's books; the marks of live runs go as those stop."""
_PAGE = 200


class Installations:
    """Follows what GitHub says about installations of the App."""

    def __init__(
        self,
        *,
        coordinator: Coordinator,
        state: StateManager,
        store: StorageBackend,
        bus: MessageBus,
    ) -> None:
        self._coordinator = coordinator
        self._state = state
        self._store = store
        self._bus = bus

    async def follow(self, change: InstallationChanged) -> str:
        """Stop and forget what the App may no longer see; return what was done, in a sentence."""
        if change.action in ("deleted", "suspend"):
            stopped = await self._stop(f"{change.installation_id}/")
            if change.action == "suspend":
                return f"Suspended; {stopped} runs cancelled."
            deleted = await self._purge(Scope(change.installation_id))
            return f"Uninstalled; {stopped} runs cancelled, {deleted} records deleted."
        removed = [f"{change.installation_id}/{number}/" for number in change.removed]
        stopped = sum([await self._stop(under) for under in removed])
        scopes = [Scope(change.installation_id, number) for number in change.removed]
        deleted = sum([await self._purge(scope) for scope in scopes])
        if removed:
            return f"Repositories removed; {stopped} runs cancelled, {deleted} records deleted."
        return "Nothing is kept for an installation in advance."

    async def _stop(self, under: str) -> int:
        count = 0
        event = CancelRequested(reason="The App was removed from the repository or suspended.")
        async for run in self._state.live(under):
            await self._coordinator.apply(run.change.repository.tenant, run.id, event)
            count += 1
        return count

    async def _purge(self, scope: Scope) -> int:
        """Delete every record of the scope; its deliveries' bodies go after their seven days."""
        found = tenancy.owned(self._store, scope)
        writes = [Write(key, None) async for key, _ in found if not key.startswith(KEPT)]
        for start in range(0, len(writes), _PAGE):
            await self._bus.commit(Batch(writes=writes[start : start + _PAGE]))
        return len(writes)
