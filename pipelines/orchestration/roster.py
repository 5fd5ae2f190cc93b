"""Where each agent of this process is in its lifecycle, told to everybody from time to time."""

from collections.abc import Collection
from datetime import datetime

from pipelines.model import AgentStatus
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.records import AgentRecord
from pipelines.orchestration.state import StateManager
from pipelines.ports import Batch, Clock

_Note = tuple[AgentStatus, str | None, datetime]
"""Written down for each task, so it is made a record only when it is told."""

TOLD_SECONDS = 10.0
"""Between two looks at what is to be told; tasks come and go faster than anybody looks."""


class Roster:
    """Remembers the latest change of each agent; what is stored may be a few seconds behind."""

    def __init__(
        self,
        *,
        worker: str,
        agents: Collection[str],
        state: StateManager,
        bus: MessageBus,
        clock: Clock,
    ) -> None:
        """``worker`` names this process; each of its agents is idle until its first task."""
        self._worker = worker
        self._state = state
        self._bus = bus
        self._clock = clock
        since = clock.now()
        self._untold: dict[str, _Note] = dict.fromkeys(agents, (AgentStatus.IDLE, None, since))

    def note(self, agent: str, status: AgentStatus, task_id: str) -> None:
        """Remember what an agent does from now on, and for which task."""
        self._untold[agent] = (status, task_id, self._clock.now())

    async def tell(self) -> None:
        """Store what has changed since it was last told."""
        telling = dict(self._untold)
        if not telling:
            return
        writes = [self._state.agent_write(self._record(*item)) for item in telling.items()]
        await self._bus.commit(Batch(writes=writes))
        for agent, note in telling.items():
            if self._untold[agent] is note:
                del self._untold[agent]

    def _record(self, agent: str, note: _Note) -> AgentRecord:
        status, task_id, since = note
        return AgentRecord(
            worker=self._worker, agent=agent, status=status, task_id=task_id, since=since
        )
