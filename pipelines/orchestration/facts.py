"""What policy has to know beyond a run, looked up when it is asked."""

from typing import Any

from pipelines.model import CloseIssue, Effect, OpenIssue, Step, Usage, WorkflowRun
from pipelines.orchestration import incidents
from pipelines.orchestration.environments import deployments_of, seen_by
from pipelines.orchestration.keys import day_of
from pipelines.orchestration.policy import PER_DAY, Facts
from pipelines.orchestration.standing import Standing
from pipelines.orchestration.state import StateManager
from pipelines.ports import Clock, Source

OPERATORS_PER_DAY = "`CONDUCTOR_BUDGET_USD_PER_DAY`"


class FactFinder:
    """Finds the facts for one run; ``day_budget_usd`` is the operator's limit, None for none."""

    def __init__(
        self,
        *,
        state: StateManager,
        standing: Standing,
        source: Source,
        clock: Clock,
        agents: frozenset[str],
        day_budget_usd: float | None,
    ) -> None:
        self._state = state
        self._standing = standing
        self._source = source
        self._clock = clock
        self._agents = agents
        self._day_budget_usd = day_budget_usd

    async def __call__(
        self,
        run: WorkflowRun,
        step: Step,
        effect: Effect | None = None,
        *,
        paused: bool | None = None,
    ) -> Facts:
        """Return the facts as they are now; with an effect also those that it alone needs.

        Whether the run is ``paused`` is not looked up if the caller answers for it.
        """
        spent, limit, setting = await self._today(run)
        return Facts(
            known_agents=self._agents,
            now=self._clock.now(),
            paused=await self._standing.paused(run) if paused is None else paused,
            spent_today_usd=spent,
            day_budget_usd=limit,
            day_setting=setting,
            **await self._about_environment(run, step),
            **await self._about_issues(run, effect),
        )

    async def _about_environment(self, run: WorkflowRun, step: Step) -> dict[str, Any]:
        plan = run.environment_of(step)
        if plan is None:
            return {}
        record = await self._state.environment(run.change.repository.tenant, plan.name)
        return {
            "environment": seen_by(run, plan, record),
            "deployments": deployments_of(run, record),
        }

    async def _about_issues(self, run: WorkflowRun, effect: Effect | None) -> dict[str, Any]:
        if isinstance(effect, CloseIssue):
            issues = await self._source.feedback(run.change, None)
            named = {each.number: each.payload.fingerprint for each in issues}
            begun = await self._state.effect(run.change.repository.tenant, effect.key)
            if begun is not None and begun.run_id == run.id:
                # It was allowed while the issue was open, and may be what has closed it since.
                named.setdefault(effect.number, effect.fingerprint)
            return {"feedback": named}
        if isinstance(effect, OpenIssue):
            record = await self._state.incidents(run.change.repository.tenant)
            return {
                "known_incidents": incidents.known(record),
                "new_issues_today": incidents.new_today(record, self._clock.now()),
            }
        return {}

    async def left_today(self, run: WorkflowRun) -> float | None:
        """Return the US dollars that may still be spent today; None if nothing limits that."""
        spent, limit, _ = await self._today(run)
        return None if limit is None else max(0.0, limit - spent)

    async def _today(self, run: WorkflowRun) -> tuple[float, float | None, str]:
        """Return what was spent, the limit and who set it: the repository or the operator.

        What was spent is not added up where nothing limits it.
        """
        if run.day_budget_usd is None and self._day_budget_usd is None:
            return 0.0, None, PER_DAY
        by_tenant = await self._state.spending(day_of(self._clock.now()))
        own = by_tenant.get(run.change.repository.tenant, Usage()).cost_usd
        everybody = sum(usage.cost_usd for usage in by_tenant.values())
        rows = (
            (own, run.day_budget_usd, PER_DAY),
            (everybody, self._day_budget_usd, OPERATORS_PER_DAY),
        )
        limited = [(spent, limit, name) for spent, limit, name in rows if limit is not None]
        return min(limited, key=lambda row: row[1] - row[0])
