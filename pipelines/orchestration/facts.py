"""What policy has to know beyond a run, looked up when it is asked."""

from pipelines.model import Usage, WorkflowRun
from pipelines.orchestration.keys import day_of
from pipelines.orchestration.policy import PER_DAY, Facts
from pipelines.orchestration.standing import Standing
from pipelines.orchestration.state import StateManager
from pipelines.ports import Clock

OPERATORS_PER_DAY = "`CONDUCTOR_BUDGET_USD_PER_DAY`"


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
        spent, limit, setting = await self._today(run)
        return Facts(
            known_agents=self._agents,
            paused=await self._standing.paused(run),
            spent_today_usd=spent,
            day_budget_usd=limit,
            day_setting=setting,
        )

    async def left_today(self, run: WorkflowRun) -> float | None:
        """Return the US dollars that may still be spent today; None if nothing limits that."""
        spent, limit, _ = await self._today(run)
        return None if limit is None else max(0.0, limit - spent)

    async def _today(self, run: WorkflowRun) -> tuple[float, float | None, str]:
        """Return what was spent, the limit and who set it: the repository or the operator."""
        by_tenant = await self._state.spending(day_of(self._clock.now()))
        own = by_tenant.get(run.change.repository.tenant, Usage()).cost_usd
        everybody = sum(usage.cost_usd for usage in by_tenant.values())
        rows = (
            (own, run.day_budget_usd, PER_DAY),
            (everybody, self._day_budget_usd, OPERATORS_PER_DAY),
        )
        limited = [(spent, limit, name) for spent, limit, name in rows if limit is not None]
        if not limited:
            return own, None, PER_DAY
        return min(limited, key=lambda row: row[1] - row[0])
