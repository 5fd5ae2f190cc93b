"""The Policy Engine: asks every rule in turn.

The first refusal wins over everything, then the first wish for approval.
"""

from collections.abc import Iterable, Sequence

from pipelines.model import Effect, Step, WorkflowRun
from pipelines.orchestration.policy.deploying import DeploymentRule
from pipelines.orchestration.policy.incidents import Incidents, StormBreaker
from pipelines.orchestration.policy.rules import (
    DURING,
    Budget,
    Capability,
    CommitBinding,
    KnownAgent,
    LoopDepth,
    Paused,
    Taint,
)
from pipelines.orchestration.policy.verdicts import (
    Allow,
    Deny,
    Facts,
    RequireApproval,
    Rule,
    Verdict,
)
from pipelines.orchestration.policy.writing import BranchRule, PathRule

DEFAULT_RULES: tuple[Rule, ...] = (
    KnownAgent(),
    LoopDepth(),
    Paused(),
    Budget(),
    CommitBinding(),
    Capability(),
    Taint(),
    BranchRule(),
    PathRule(),
    DeploymentRule(),
    Incidents(),
    StormBreaker(),
)


class PolicyEngine:
    """Asks every rule in turn; ``during`` are asked as well while an agent is still at work."""

    def __init__(
        self, rules: Sequence[Rule] = DEFAULT_RULES, during: Sequence[Rule] = (Capability(DURING),)
    ) -> None:
        self._rules = tuple(rules)
        self._during = (*during, *rules)

    def check_task(self, run: WorkflowRun, step: Step, facts: Facts) -> Verdict:
        """Say whether the step's agent may start now."""
        return _first(rule.task(run, step, facts) for rule in self._rules)

    def check_effect(self, run: WorkflowRun, step: Step, effect: Effect, facts: Facts) -> Verdict:
        """Say whether this effect of the step's result may be carried out now."""
        return _first(rule.effect(run, step, effect, facts) for rule in self._rules)

    def check_during(self, run: WorkflowRun, step: Step, effect: Effect, facts: Facts) -> Verdict:
        """Say whether the step's agent may have this effect carried out while it goes on."""
        return _first(rule.effect(run, step, effect, facts) for rule in self._during)


def _first(verdicts: Iterable[Verdict]) -> Verdict:
    wish: Verdict = Allow()
    for verdict in verdicts:
        if isinstance(verdict, Deny):
            return verdict
        if isinstance(verdict, RequireApproval) and isinstance(wish, Allow):
            wish = verdict
    return wish
