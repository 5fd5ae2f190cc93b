"""Runs that ended and were not shown so: reported again, whatever became of the message."""

from datetime import timedelta

import structlog

from pipelines.model import Conclusion
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.changes import ANSWERS
from pipelines.orchestration.records import EffectRecord, RunSummary
from pipelines.orchestration.state import StateManager
from pipelines.orchestration.work import report_of
from pipelines.ports import Batch, Clock, Message

log = structlog.get_logger(__name__)

LATE = timedelta(minutes=2)
"""How long a report may take by itself; with two sweeps a minute apart it is below five minutes."""
PATIENCE = timedelta(hours=2)
"""How long after its end a run is reported again and again."""
LOOKED_BACK = timedelta(days=1)
"""How long before its end a run may have begun; the list of runs is in the order of beginnings."""


class Overdue:
    """Finds checks that would spin for ever: their runs are over and the last report is missing."""

    def __init__(self, state: StateManager, bus: MessageBus, clock: Clock) -> None:
        self._state = state
        self._bus = bus
        self._clock = clock

    async def sweep(self) -> int:
        """Ask for the missing reports again and return how many they were; harmless if repeated."""
        now, found, after = self._clock.now(), list[Message](), ""
        while True:
            page = await self._state.recent(200, after)
            for line in page.runs:
                found += await self._owed(line) if LATE <= now - line.updated_at <= PATIENCE else []
            after = page.after
            if not after or page.runs[-1].created_at < now - LOOKED_BACK:
                break
        if found:
            log.warning("reports are overdue", runs=len(found))
            await self._bus.commit(Batch(reminders=found))
        return len(found)

    async def _owed(self, line: RunSummary) -> list[Message]:
        if line.conclusion is None or line.workflow == ANSWERS:
            return []
        known = await self._state.effect(line.tenant, f"report/{line.run_id}")
        run = await self._state.get(line.tenant, line.run_id)
        if run is None or run.live or _shown(known, run.version):
            return []
        if known is None and run.conclusion is Conclusion.CANCELLED:
            return []  # It was replaced before anything of it was to be seen.
        return [report_of(run, self._clock.now())]


def _shown(known: EffectRecord | None, version: int) -> bool:
    """Whether users see this version of the run."""
    receipt = known.receipt if known else None
    return receipt is not None and int(receipt.message) >= version
