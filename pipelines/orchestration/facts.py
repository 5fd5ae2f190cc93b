"""What policy has to know beyond a run, looked up when it is asked."""

from pipelines.model import Usage, WorkflowRun
from pipelines.orchestration.keys import day_of
from pipelines.orchestration.policy import Facts
from pipelines.orchestration.standing import Standing
from pipelines.orchestration.state import StateManager
from pipelines.ports import Clock


class FactFinder:
    """Finds the facts for one run; ``day_budget_usd`` is the operator's limit, None for none."""

    def __init__(
        self,
        *,
        state: StateManager,
        standing: Standing,
        clock: Clock,
        agents: frozenset[str],
        day_budget_usd: float | None,
    ) -> None:
        self._state = state
        self._standing = standing
        self._clock = clock
        self._agents = agents
        self._day_budget_usd = day_budget_usd

    async def __call__(self, run: WorkflowRun) -> Facts:
        """Return the facts as they are now."""
        spent, limit = await self._today(run)
        return Facts(
            known_agents=self._agents,
            paused=await self._standing.paused(run),
            spent_today_usd=spent,
            day_budget_usd=limit,
        )

    async def left_today(self, run: WorkflowRun) -> float | None:
        """Return the US dollars that may still be spent today; None if nothing limits that."""
        spent, limit = await self._today(run)
        return None if limit is None else max(0.0, limit - spent)

    async def _today(self, run: WorkflowRun) -> tuple[float, float | None]:
        """Return what was spent and the limit: that of the repository or the operator."""
        by_tenant = await self._state.spending(day_of(self._clock.now()))
        own = by_tenant.get(run.change.repository.tenant, Usage()).cost_usd
        everybody = sum(usage.cost_usd for usage in by_tenant.values())
        pairs = ((own, run.day_budget_usd), (everybody, self._day_budget_usd))
        limited = [(spent, limit) for spent, limit in pairs if limit is not None]
        if not limited:
            return own, None
        return min(limited, key=lambda pair: pair[1] - pair[0])
