"""The Policy Engine: a chain of rules, asked before each task and before each effect.

A rule sees the run as stored and the facts that were looked up for it; nothing that a model wrote
decides anything. The first refusal wins over everything, then the first wish for approval.
"""

from abc import ABC
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.model import Conclusion, Effect, Step, WorkflowRun

MAX_DEPTH = 3
"""How many of Conductor's own actions may lead to each other: monitor → issue → fix → review."""

LEVELS = ("read", "triage", "write", "maintain", "admin")
"""GitHub's repository roles, each of which includes the ones before it."""

CAPABILITIES: Mapping[str, frozenset[str]] = {
    "review": frozenset({"submit_review", "answer_finding"}),
    "conductor": frozenset({"post_comment", "react"}),
}
"""The kinds of effect that each agent may ask for; an agent that is not named may ask for none.

``conductor`` stands for Conductor itself, where it answers people without an agent.
"""

TAINTED_AGENTS = frozenset({"review"})
TAINTED_EFFECTS = frozenset({"submit_review", "answer_finding", "post_comment", "react"})
"""What a run may do whose text was written by somebody without write access."""

PER_RUN = "`budget.per_run` in .conductor.yml"
PER_DAY = "`budget.per_day` in .conductor.yml"


@dataclass(frozen=True, slots=True)
class Allow:
    """Nothing speaks against it."""


@dataclass(frozen=True, slots=True)
class Deny:
    """It must not happen; ``reason`` is a sentence for users."""

    reason: str
    conclusion: Conclusion = Conclusion.NEUTRAL


@dataclass(frozen=True, slots=True)
class RequireApproval:
    """It may happen once somebody of at least this level consents."""

    level: str
    reason: str


Verdict = Allow | Deny | RequireApproval


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules need to know beyond the run; ``day_budget_usd`` None means no limit."""

    known_agents: frozenset[str]
    paused: bool = False
    spent_today_usd: float = 0.0
    day_budget_usd: float | None = None
    day_setting: str = PER_DAY
    """Where the limit of the day was set."""


class Rule(ABC):  # noqa: B024 - a rule overrides what it has an opinion about, and that may be one
    """One link of the chain; it allows whatever it has no opinion about."""

    def task(self, run: WorkflowRun, step: Step, facts: Facts) -> Verdict:
        """Judge whether the step's agent may start."""
        return Allow()

    def effect(self, run: WorkflowRun, step: Step, effect: Effect, facts: Facts) -> Allow | Deny:
        """Judge whether an effect of the step may be carried out."""
        return Allow()


class KnownAgent(Rule):
    """Only agents that this installation has may work."""

    def task(self, run: WorkflowRun, step: Step, facts: Facts) -> Verdict:
        """Deny a step whose agent is not there."""
        if step.agent in facts.known_agents:
            return Allow()
        known = ", ".join(sorted(facts.known_agents)) or "none"
        return Deny(f"This installation has no agent `{step.agent}`; it has: {known}.")


class CommitBinding(Rule):
    """Effects go to the commit and the conversation that the run is about, and nowhere else."""

    def effect(self, run: WorkflowRun, step: Step, effect: Effect, facts: Facts) -> Allow | Deny:
        """Deny an effect for another commit, pull request, issue or comment."""
        head = run.change.head_sha
        if effect.head_sha not in (None, head):
            return Deny(
                f"`{effect.kind}` is meant for commit {effect.head_sha[:12]}, "
                f"but this run is bound to {head[:12]}.",
                Conclusion.FAILURE,
            )
        for field, ours in (("number", _numbers(run)), ("comment_id", _comments(run))):
            theirs: object = getattr(effect, field, None)
            if theirs is not None and theirs not in ours:
                return Deny(
                    f"`{effect.kind}` is meant for {field.replace('_id', '')} {theirs}, "
                    "which this run is not about.",
                    Conclusion.FAILURE,
                )
        return Allow()


class Capability(Rule):
    """An agent may only ask for the kinds of effect that are its business."""

    def __init__(self, capabilities: Mapping[str, frozenset[str]] = CAPABILITIES) -> None:
        self._capabilities = capabilities

    def effect(self, run: WorkflowRun, step: Step, effect: Effect, facts: Facts) -> Allow | Deny:
        """Deny what the step's agent has no business with."""
        if effect.kind in self._capabilities.get(step.agent, frozenset()):
            return Allow()
        return Deny(f"The {step.agent} agent may not `{effect.kind}`.", Conclusion.FAILURE)


class Taint(Rule):
    """What strangers wrote may lead to words, not to deeds, unless a writer consents."""

    def task(self, run: WorkflowRun, step: Step, facts: Facts) -> Verdict:
        """Require approval for an agent that would run a stranger's code or act on their text."""
        harmless = not run.change.tainted or step.agent in TAINTED_AGENTS
        if harmless or approved(step, "write"):
            return Allow()
        return RequireApproval(
            "write",
            f"The change is by somebody without write access, so the {step.agent} agent needs "
            "a writer's approval of this commit.",
        )

    def effect(self, run: WorkflowRun, step: Step, effect: Effect, facts: Facts) -> Allow | Deny:
        """Deny deeds of a tainted step that nobody approved."""
        harmless = not run.change.tainted or effect.kind in TAINTED_EFFECTS
        if harmless or approved(step, "write"):
            return Allow()
        return Deny(
            f"The change is by somebody without write access, so `{effect.kind}` needs "
            "a writer's approval of this commit."
        )


class Budget(Rule):
    """No task starts when its run or its day has nothing left to spend.

    A budget of zero allows tasks that cost nothing; the first call with a price ends them.
    """

    def task(self, run: WorkflowRun, step: Step, facts: Facts) -> Verdict:
        """Deny a step whose budget is spent."""
        spent, limit = run.usage.cost_usd, run.budget_usd
        if spent >= limit > 0:
            return Deny(_spent("This run", spent, limit, PER_RUN))
        spent, day = facts.spent_today_usd, facts.day_budget_usd
        if day is not None and spent >= day > 0:
            return Deny(_spent("Today", spent, day, facts.day_setting))
        return Allow()


class Paused(Rule):
    """A paused pull request gets no automatic work; what a person asks for is still done."""

    def task(self, run: WorkflowRun, step: Step, facts: Facts) -> Verdict:
        """Deny automatic work."""
        return self._judge(run, facts)

    def effect(self, run: WorkflowRun, step: Step, effect: Effect, facts: Facts) -> Allow | Deny:
        """Deny what automatic work from before the pause would still write."""
        return self._judge(run, facts)

    def _judge(self, run: WorkflowRun, facts: Facts) -> Allow | Deny:
        if facts.paused and run.trigger.kind not in ("command", "check_run"):
            return Deny("Conductor is paused here; `/conductor resume` lets it go on.")
        return Allow()


class LoopDepth(Rule):
    """Conductor may follow its own actions only so far."""

    def task(self, run: WorkflowRun, step: Step, facts: Facts) -> Verdict:
        """Deny a step at the end of too long a chain."""
        depth = run.trigger.provenance.depth
        if depth <= MAX_DEPTH:
            return Allow()
        return Deny(
            f"This run was caused by {depth} of Conductor's own actions in a row, and the limit "
            f"is {MAX_DEPTH}; a person's comment or push starts anew."
        )


DEFAULT_RULES: tuple[Rule, ...] = (
    KnownAgent(),
    LoopDepth(),
    Paused(),
    Budget(),
    CommitBinding(),
    Capability(),
    Taint(),
)


class PolicyEngine:
    """Asks every rule in turn."""

    def __init__(self, rules: Sequence[Rule] = DEFAULT_RULES) -> None:
        self._rules = tuple(rules)

    def check_task(self, run: WorkflowRun, step: Step, facts: Facts) -> Verdict:
        """Say whether the step's agent may start now."""
        return _first(rule.task(run, step, facts) for rule in self._rules)

    def check_effect(
        self, run: WorkflowRun, step: Step, effect: Effect, facts: Facts
    ) -> Allow | Deny:
        """Say whether this effect of the step may be carried out now."""
        for rule in self._rules:
            verdict = rule.effect(run, step, effect, facts)
            if isinstance(verdict, Deny):
                return verdict
        return Allow()


def approved(step: Step, level: str) -> bool:
    """Whether somebody of at least that level consented to the step."""
    wanted = LEVELS.index(level)
    return any(a.level in LEVELS and LEVELS.index(a.level) >= wanted for a in step.approvals)


def _first(verdicts: Iterable[Verdict]) -> Verdict:
    wish: Verdict = Allow()
    for verdict in verdicts:
        if isinstance(verdict, Deny):
            return verdict
        if isinstance(verdict, RequireApproval) and isinstance(wish, Allow):
            wish = verdict
    return wish


def _numbers(run: WorkflowRun) -> tuple[int | None, ...]:
    return (run.change.number, getattr(run.trigger, "number", None))


def _comments(run: WorkflowRun) -> tuple[int | None, ...]:
    """Return the comment that gave the command, and those that earlier reviews posted."""
    earlier = (finding.comment_id for finding in run.change.prior_findings)
    return (getattr(run.trigger, "comment_id", None), *earlier)


def _spent(what: str, spent: float, limit: float, setting: str) -> str:
    return f"{what} has spent {spent:.2f} of {limit:.2f} USD; raise {setting} to go on."
