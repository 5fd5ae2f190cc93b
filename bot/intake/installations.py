"""What follows when an installation goes: its runs stop, its records are deleted."""

from bot.events.installations import InstallationChanged
from pipelines.orchestration import keys
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.coordinator import Coordinator
from pipelines.orchestration.state import StateManager
from pipelines.orchestration.transitions import CancelRequested
from pipelines.ports import Batch, Write
from pipelines.stores.backend import StorageBackend, key

PURGED = (
    *("run", "result", "group", "checks", "effect"),
    *("pause", "dismissal", "turnstile"),
)
"""Kinds of record that begin with the installation and go with it; what it spent is kept."""
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
            deleted = await self._purge(str(change.installation_id))
            return f"Uninstalled; {stopped} runs cancelled, {deleted} records deleted."
        tenants = [f"{change.installation_id}/{number}" for number in change.removed]
        stopped = sum([await self._stop(tenant, whole=True) for tenant in tenants])
        deleted = sum([await self._purge(*tenant.split("/")) for tenant in tenants])
        if tenants:
            return f"Repositories removed; {stopped} runs cancelled, {deleted} records deleted."
        return "Nothing is kept for an installation in advance."

    async def _stop(self, prefix: str, *, whole: bool = False) -> int:
        count = 0
        event = CancelRequested(reason="The App was removed from the repository or suspended.")
        async for run in self._state.live():
            tenant = run.change.repository.tenant
            if tenant == prefix if whole else tenant.startswith(prefix):
                await self._coordinator.apply(tenant, run.id, event)
                count += 1
        return count

    async def _purge(self, *tenant: str) -> int:
        writes: list[Write] = []
        for kind in PURGED:
            async for name, _ in self._store.scan(f"{key(kind, *tenant)}/"):
                writes.append(Write(name, None))
        async for name, record in self._store.scan(keys.RECENT):
            if f"/{'/'.join(tenant)}/" in name and record:
                writes.append(Write(name, None))
        for start in range(0, len(writes), _PAGE):
            await self._bus.commit(Batch(writes=writes[start : start + _PAGE]))
        return len(writes)
