"""What policy said of an effect, and what it says of it now."""

from pipelines.model import (
    CloseIssue,
    CreateDeployment,
    Effect,
    ReleaseService,
    SetDeploymentStatus,
    Step,
    WorkflowRun,
)
from pipelines.orchestration.policy import Allow, Facts, PolicyEngine
from pipelines.orchestration.state import StateManager

_OF_ITS_MOMENT = (CloseIssue, CreateDeployment, ReleaseService, SetDeploymentStatus)
"""Judged by what the outside was like at that moment, which nothing can bring back."""


class Judgement:
    """Asks the rules that need only the run: whose effect, which commit, whose text, what paths."""

    def __init__(self, state: StateManager, agents: frozenset[str]) -> None:
        self._state = state
        self._agents = agents
        self._policy = PolicyEngine()

    async def now(self, run: WorkflowRun, step: Step, effect: Effect) -> str:
        """Return ``allow``, ``unknown``, or ``deny`` with the reason."""
        if isinstance(effect, _OF_ITS_MOMENT):
            return "unknown"
        facts = Facts(known_agents=self._agents, now=run.updated_at)
        verdict = self._policy.check_effect(run, step, effect, facts)
        return "allow" if isinstance(verdict, Allow) else f"deny: {verdict.reason}"

    async def then(self, run: WorkflowRun, effect: Effect) -> str | None:
        """Return ``allow`` for an effect that was begun; otherwise nobody knows any more."""
        record = await self._state.effect(run.change.repository.tenant, effect.key)
        return "allow" if record is not None else None
