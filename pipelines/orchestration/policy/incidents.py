"""Rules for the monitor's issues: about the step's own environment, few, and none but its own."""

from pipelines.model import CloseIssue, Conclusion, Effect, OpenIssue, Step, WorkflowRun
from pipelines.orchestration.policy.verdicts import Allow, Deny, Facts, Rule, Verdict

MAX_NEW_ISSUES = 5
"""New incidents a repository and day; more at once say that something else is wrong."""


class Incidents(Rule):
    """An issue is about the environment that was watched; the one that is closed is that one."""

    def effect(self, run: WorkflowRun, step: Step, effect: Effect, facts: Facts) -> Verdict:
        """Deny an issue about something else."""
        if isinstance(effect, CloseIssue) and facts.feedback.get(effect.number) != (
            effect.fingerprint
        ):
            return Deny(f"Issue {effect.number} is about something else.", Conclusion.FAILURE)
        if isinstance(effect, OpenIssue):
            plan = run.environment_of(step)
            if plan is None or effect.payload.environment != plan.name:
                where = effect.payload.environment[:100]
                return Deny(f"This step does not watch `{where}`.", Conclusion.FAILURE)
        return Allow()


class StormBreaker(Rule):
    """One cause can breach a hundred signals; people need to hear of a few."""

    def effect(self, run: WorkflowRun, step: Step, effect: Effect, facts: Facts) -> Verdict:
        """Deny one more new issue on a day that had enough of them."""
        if not isinstance(effect, OpenIssue):
            return Allow()
        known = effect.payload.fingerprint in facts.known_incidents
        if known or facts.new_issues_today < MAX_NEW_ISSUES:
            return Allow()
        return Deny(
            f"{facts.new_issues_today} issues were opened here in the last 24 hours, and the "
            f"limit is {MAX_NEW_ISSUES}; this one is only reported here."
        )
