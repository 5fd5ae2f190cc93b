"""Rules for every run: who may work, on what, for how much, how often."""

from collections.abc import Mapping

from pipelines.model import CloseIssue, Conclusion, Effect, OpenPullRequest, Step, WorkflowRun
from pipelines.orchestration.policy.verdicts import (
    Allow,
    Deny,
    Facts,
    RequireApproval,
    Rule,
    Verdict,
    approved,
)

MAX_DEPTH = 3
"""How many of Conductor's own actions may lead to each other: monitor → issue → fix → review."""

DEPLOYING = frozenset({"create_deployment", "release_service", "set_deployment_status"})
CAPABILITIES: Mapping[str, frozenset[str]] = {
    "review": frozenset({"submit_review", "answer_finding"}),
    "coding": frozenset({"push_commit", "open_pull_request", "post_comment"}),
    "test-data": frozenset({"push_commit"}),
    "test": frozenset({"push_commit"}),
    "devops": frozenset({"push_commit", "open_pull_request"}),
    "deploy": DEPLOYING | {"notify"},
    "monitor": DEPLOYING | {"open_issue", "close_issue", "notify"},
    "conductor": frozenset({"post_comment", "react"}),
}
"""The kinds of effect that each agent may ask for; an agent that is not named may ask for none.

``conductor`` stands for Conductor itself, where it answers people without an agent.
"""

DURING: Mapping[str, frozenset[str]] = {
    "deploy": DEPLOYING | {"notify"},
    "monitor": DEPLOYING | {"notify"},
}
"""The kinds of effect that may be carried out while the agent is still at work."""

TAINTED_AGENTS = frozenset({"review"})
TAINTED_EFFECTS = frozenset({"submit_review", "answer_finding", "post_comment", "react"})
"""What a run may do whose text was written by somebody without write access."""

STARTS_RUNS = frozenset({"open_issue", "push_commit", "open_pull_request"})
"""Effects that Conductor follows with runs of its own."""

PER_RUN = "`budget.per_run` in .conductor.yml"


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

    def effect(self, run: WorkflowRun, step: Step, effect: Effect, facts: Facts) -> Verdict:
        """Deny an effect for another commit, pull request, issue or comment."""
        head = run.change.head_sha
        if effect.head_sha not in (None, head):
            return Deny(
                f"`{effect.kind}` is meant for commit {effect.head_sha[:12]}, "
                f"but this run is bound to {head[:12]}.",
                Conclusion.FAILURE,
            )
        if isinstance(effect, OpenPullRequest) and effect.commit.head_sha != effect.head_sha:
            return Deny("The pull request's commit has another parent.", Conclusion.FAILURE)
        bound = (
            ("number", _issues(facts) if isinstance(effect, CloseIssue) else _numbers(run)),
            ("answers_issue", _numbers(run)),
            ("comment_id", _comments(run)),
        )
        for field, ours in bound:
            theirs: object = getattr(effect, field, None)
            if theirs is not None and theirs not in ours:
                return Deny(
                    f"`{effect.kind}` is meant for {field.replace('_', ' ').removesuffix(' id')} "
                    f"{theirs}, which this run is not about.",
                    Conclusion.FAILURE,
                )
        return Allow()


class Capability(Rule):
    """An agent may only ask for the kinds of effect that are its business.

    Made with ``DURING`` it says so of what an agent asks for before it is done.
    """

    def __init__(self, capabilities: Mapping[str, frozenset[str]] = CAPABILITIES) -> None:
        self._capabilities = capabilities

    def effect(self, run: WorkflowRun, step: Step, effect: Effect, facts: Facts) -> Verdict:
        """Deny what the step's agent has no business with."""
        if effect.kind in self._capabilities.get(step.agent, frozenset()):
            return Allow()
        return Deny(f"The {step.agent} agent may not `{effect.kind}`.", Conclusion.FAILURE)


class Taint(Rule):
    """What strangers wrote may lead to words, not to deeds, unless a writer consents."""

    def task(self, run: WorkflowRun, step: Step, facts: Facts) -> Verdict:
        """Require approval for an agent that would run a stranger's code or act on their text."""
        harmless = not has_strangers_text(run) or step.agent in TAINTED_AGENTS
        if harmless or approved(step, "write"):
            return Allow()
        return RequireApproval(
            "write",
            f"The change is by somebody without write access, so the {step.agent} agent needs "
            "a writer's approval of this commit.",
        )

    def effect(self, run: WorkflowRun, step: Step, effect: Effect, facts: Facts) -> Verdict:
        """Deny deeds of a tainted step that nobody approved."""
        harmless = not has_strangers_text(run) or effect.kind in TAINTED_EFFECTS
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

    def effect(self, run: WorkflowRun, step: Step, effect: Effect, facts: Facts) -> Verdict:
        """Deny what automatic work from before the pause would still write."""
        return self._judge(run, facts)

    def _judge(self, run: WorkflowRun, facts: Facts) -> Verdict:
        if facts.paused and run.trigger.kind not in ("command", "check_run"):
            return Deny("Conductor is paused here; `/conductor resume` lets it go on.")
        return Allow()


class LoopDepth(Rule):
    """Conductor may follow its own actions only so far."""

    def task(self, run: WorkflowRun, step: Step, facts: Facts) -> Verdict:
        """Deny a step at the end of too long a chain."""
        return self._judge(run.trigger.provenance.depth)

    def effect(self, run: WorkflowRun, step: Step, effect: Effect, facts: Facts) -> Verdict:
        """Deny an effect whose own runs would be at the end of too long a chain."""
        if effect.kind in STARTS_RUNS:
            return self._judge(run.trigger.provenance.depth + 1)
        return Allow()

    def _judge(self, depth: int) -> Allow | Deny:
        if depth <= MAX_DEPTH:
            return Allow()
        return Deny(
            f"This would follow {depth} of Conductor's own actions in a row, and the limit "
            f"is {MAX_DEPTH}; a person's comment or push starts anew."
        )


def has_strangers_text(run: WorkflowRun) -> bool:
    """Whether somebody without write access wrote what the run is about.

    A feedback issue is Conductor's own text, as its signed marker says.
    """
    change = run.change
    about_text = change.number is not None or change.issue is not None
    return about_text and change.tainted and run.trigger.kind != "feedback"


def _numbers(run: WorkflowRun) -> tuple[int | None, ...]:
    return (run.change.number, run.change.issue, getattr(run.trigger, "number", None))


def _issues(facts: Facts) -> frozenset[int]:
    """Return the monitor's open issues; whether it is the right one is for ``Incidents`` to say."""
    return frozenset(facts.feedback)


def _comments(run: WorkflowRun) -> tuple[int | None, ...]:
    """Return the comment that gave the command, and those that earlier reviews posted."""
    earlier = (finding.comment_id for finding in run.change.prior_findings)
    return (getattr(run.trigger, "comment_id", None), *earlier)


def _spent(what: str, spent: float, limit: float, setting: str) -> str:
    return f"{what} has spent {spent:.2f} of {limit:.2f} USD; raise {setting} to go on."
