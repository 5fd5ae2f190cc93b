"""Rules for deployments: which commit, to which environment, when, and with whose consent."""

from pipelines.freeze import frozen_until
from pipelines.model import (
    CommandTrigger,
    Conclusion,
    CreateDeployment,
    DeploymentStatusTrigger,
    DeploymentTrigger,
    Effect,
    EnvironmentPlan,
    PushTrigger,
    ReleaseService,
    SetDeploymentStatus,
    Step,
    WorkflowRun,
)
from pipelines.orchestration.policy.verdicts import (
    Allow,
    Deny,
    Facts,
    RequireApproval,
    Rule,
    Verdict,
    reaches,
)

ENTITLING = ("deploy", "rollback")
"""Commands whose permission was checked for the environment that they name."""


class DeploymentRule(Rule):
    """Commits that people put there go where the configuration says, and good ones may come back.

    A rollback leads to a release that stood the test, so it waits for no freeze and no approval.
    """

    def task(self, run: WorkflowRun, step: Step, facts: Facts) -> Verdict:
        """Deny what may not be deployed now; ask for the approvals that are missing."""
        plan = run.environment_of(step)
        if step.agent != "deploy" or plan is None or goes_back(run, step):
            return Allow()
        return _objection(run, plan, facts) or _consent(run, step, plan)

    def effect(self, run: WorkflowRun, step: Step, effect: Effect, facts: Facts) -> Verdict:
        """Deny whatever is not this run's commit, environment or deployment."""
        if not isinstance(effect, CreateDeployment | ReleaseService | SetDeploymentStatus):
            return Allow()
        plan = run.environment_of(step)
        if plan is None or effect.environment != plan.name:
            return _no(f"This step does not deploy to `{effect.environment[:100]}`.")
        foreign = _foreign(effect, plan, facts)
        if foreign or isinstance(effect, SetDeploymentStatus):
            return foreign or Allow()
        if effect.rollback:
            return _rollback(step, effect.sha, facts)
        if step.agent != "deploy" or effect.sha != run.change.head_sha:
            return _no(f"This step may not deploy {effect.sha[:12]}.")
        objection = _objection(run, plan, facts, begun=_begun(effect, facts))
        return objection or _refusal(run, step, plan)


def goes_back(run: WorkflowRun, step: Step) -> bool:
    """Whether the step was asked to bring back the release before the present one."""
    trigger = run.trigger
    if isinstance(trigger, CommandTrigger) and trigger.verb == "rollback":
        return True
    told = (run.step(need).outputs.get("rollback") for need in step.needs)
    return step.options.get("rollback") is True or any(said is True for said in told)


def missing_approvals(run: WorkflowRun, step: Step, plan: EnvironmentPlan) -> int:
    """Return how many more people must consent.

    Each person counts once and never for their own change. Whoever gave the command that started
    the run was entitled to, so they count as well.
    """
    author = run.change.author or run.trigger.actor
    level = "maintain" if plan.production else "write"
    people = {
        approval.by_id
        for approval in step.approvals
        if approval.by_id in plan.approvers or reaches(approval.level, level)
    }
    trigger = run.trigger
    if isinstance(trigger, CommandTrigger) and trigger.verb in ENTITLING:
        people.add(trigger.actor.id)
    return max(0, plan.approval - len(people - {author.id}))


def _objection(
    run: WorkflowRun, plan: EnvironmentPlan, facts: Facts, *, begun: bool = False
) -> Deny | None:
    """Return why the run's commit is not deployed now; one that was begun is brought to its end."""
    if run.change.from_fork:
        return _no("A commit of a fork is not deployed.")
    if not _put_there_by_people(run):
        return _no(
            "Only commits of the default branch are deployed automatically; "
            f"`/conductor deploy {plan.name}` deploys another one."
        )
    until = None if begun else frozen_until(plan.freeze, facts.now)
    if until is not None:
        return Deny(
            f"`{plan.name}` is frozen until {until:%Y-%m-%d %H:%M} UTC; "
            "`/conductor retry` deploys then."
        )
    return None


def _consent(run: WorkflowRun, step: Step, plan: EnvironmentPlan) -> Verdict:
    missing = missing_approvals(run, step, plan)
    if not missing:
        return Allow()
    people = "person" if missing == 1 else "people"
    return RequireApproval(
        "maintain" if plan.production else "write",
        f"`{plan.name}` needs the approval of {missing} more {people} besides the author.",
    )


def _refusal(run: WorkflowRun, step: Step, plan: EnvironmentPlan) -> Verdict:
    """An agent that runs has its approvals; one that asks without them is not waited for."""
    verdict = _consent(run, step, plan)
    return _no(verdict.reason) if isinstance(verdict, RequireApproval) else verdict


def _put_there_by_people(run: WorkflowRun) -> bool:
    """Whether the commit is on the default branch, or a person asked for this very deployment."""
    trigger, change = run.trigger, run.change
    default = change.repository.default_branch
    match trigger:
        case DeploymentTrigger() | DeploymentStatusTrigger():
            return trigger.actor.type == "User" and trigger.sha == change.head_sha
        case CommandTrigger():
            return trigger.verb in ENTITLING
        case PushTrigger():
            return trigger.branch == default and trigger.after == change.head_sha
        case _:
            return change.number is None and change.head_ref in ("", default)


def _foreign(
    effect: CreateDeployment | ReleaseService | SetDeploymentStatus,
    plan: EnvironmentPlan,
    facts: Facts,
) -> Deny | None:
    if isinstance(effect, CreateDeployment):
        if effect.production != plan.production:
            return _no(f"Whether `{plan.name}` is production is for the configuration to say.")
    elif effect.deployment_id not in facts.deployments:
        return _no(f"Deployment {effect.deployment_id} is not this run's.")
    return None


def _begun(effect: CreateDeployment | ReleaseService, facts: Facts) -> bool:
    """Whether the environment is this deployment's already."""
    known = facts.environment
    return (
        isinstance(effect, ReleaseService)
        and known is not None
        and known.deployment_id == effect.deployment_id
    )


def _rollback(step: Step, sha: str, facts: Facts) -> Verdict:
    """Allow the way back to what stood the test."""
    if step.agent == "monitor" and step.options.get("on_breach") != "rollback":
        return _no("The monitor rolls back only with `on_breach: rollback`.")
    known = facts.environment
    for good in (known.last_good, known.before) if known else ():
        if good is not None and good.sha == sha:
            return Allow()
    return _no(f"{sha[:12]} was never found good there, so nothing rolls back to it.")


def _no(reason: str) -> Deny:
    return Deny(reason, Conclusion.FAILURE)
