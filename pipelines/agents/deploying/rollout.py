"""The sequence by which one commit comes to run in the task's environment, forwards or back.

Every step is an effect with a key, so that a task that is repeated after a crash finds what it had
done by then. Denied effects end the sequence; faults of the moment pass through to be retried.
"""

from collections.abc import Awaitable
from dataclasses import dataclass, replace
from datetime import datetime

from pipelines.agents.context import AgentContext
from pipelines.agents.deploying.watch import Sighting, watch
from pipelines.agents.deploying.words import MAX_DESCRIPTION, line, web_address
from pipelines.errors import Retryable, UserError
from pipelines.model import (
    CreateDeployment,
    DeploymentStatus,
    EnvironmentPlan,
    EnvironmentState,
    LastGood,
    ReleaseService,
    ReleaseState,
    SetDeploymentStatus,
)

_LOG_LINES = 100


@dataclass(frozen=True, slots=True)
class Order:
    """One commit for the task's environment; ``occasion`` makes the deployment this task's own."""

    plan: EnvironmentPlan
    head_sha: str
    """What the run is bound to."""
    sha: str
    occasion: str
    until: datetime
    """When to give up watching."""
    rollback: bool = False
    deployment_id: int | None = None
    """Of a deployment that exists already."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """How an order went."""

    order: Order
    deployment_id: int | None = None
    reason: str = ""
    """Why the service does not run the commit well; empty for success."""
    denied: bool = False
    """Whether it was never begun, because it was not allowed."""
    refused: bool = False
    """Whether the target would not take it, so that what ran before still runs."""
    superseded: bool = False
    state: ReleaseState | None = None
    deployed_at: datetime | None = None
    log: str = ""
    """The service's newest output if the rollout failed: a stranger's text."""

    @property
    def ok(self) -> bool:
        """Whether the service runs the commit and is well."""
        return not self.reason

    @property
    def url(self) -> str | None:
        """Where the service answers."""
        said = self.state.url if self.state else None
        return web_address(self.order.plan.url) or web_address(said)

    @property
    def log_url(self) -> str | None:
        """Where the target shows its output."""
        return web_address(self.state.log_url) if self.state else None


def rollback_goal(state: EnvironmentState, bad: str | None) -> LastGood | None:
    """Return the newest good release that is another commit than the bad one, or None."""
    candidates = (state.last_good, state.before)
    return next((good for good in candidates if good is not None and good.sha != bad), None)


async def roll_out(order: Order, context: AgentContext) -> Rollout:
    """Release the commit and watch it; on success the deployment is told so.

    A failed one is left ``in_progress`` for ``give_up``, so that the environment stays held until a
    rollback has taken it over.
    """
    rollout = await begin(order, context)
    if rollout.reason or rollout.deployment_id is None:
        return rollout
    await _tell(rollout, "in_progress", "Rolling out", context)
    rollout = await _release(rollout, context)
    if not rollout.reason:
        rollout = await _watched(rollout, context)
    if rollout.ok:
        await _tell(rollout, "success", "Runs and is well", context)
        known = await context.workplace.environment()
        return replace(rollout, deployed_at=known.deployed_at or context.clock.now())
    return rollout if rollout.refused else replace(rollout, log=await _log(context))


async def give_up(rollout: Rollout, context: AgentContext) -> None:
    """Tell the deployment why it failed; nothing if it was never begun."""
    if rollout.deployment_id is not None and not rollout.denied:
        state = "inactive" if rollout.superseded else "failure"
        await _tell(rollout, state, rollout.reason, context)


async def roll_back(
    order: Order, context: AgentContext, *, instead_of: Rollout | None = None
) -> Rollout:
    """Bring an earlier commit back as a deployment of its own, and tell both how they ended.

    The failed deployment is told only once the environment is the rollback's, so that nobody else
    takes it in between.
    """
    back = await begin(order, context)
    if instead_of is not None:
        await give_up(instead_of, context)
    if back.reason:
        return back
    back = await roll_out(replace(order, deployment_id=back.deployment_id), context)
    if not back.ok:
        await give_up(back, context)
    return back


async def begin(order: Order, context: AgentContext) -> Rollout:
    """Take the environment and return the deployment, new unless the order has one."""
    if order.deployment_id is not None:
        return Rollout(order, order.deployment_id)
    receipt = await context.workplace.perform(
        CreateDeployment(
            head_sha=order.head_sha,
            sha=order.sha,
            environment=order.plan.name,
            production=order.plan.production,
            rollback=order.rollback,
            occasion=order.occasion,
        )
    )
    if receipt.status not in ("done", "found"):
        reason = line(receipt.message) or "The deployment was not allowed."
        return Rollout(order, reason=reason, denied=True)
    if receipt.number is None:
        raise UserError("The deployment was created, but its number is not known.")
    return Rollout(order, receipt.number)


async def _release(rollout: Rollout, context: AgentContext) -> Rollout:
    """Have the target run the commit; a refusal is the rollout's reason."""
    order, number = rollout.order, rollout.deployment_id
    assert number is not None, "a rollout that was begun has a deployment"
    effect = ReleaseService(
        head_sha=order.head_sha,
        sha=order.sha,
        environment=order.plan.name,
        deployment_id=number,
        rollback=order.rollback,
    )
    try:
        receipt = await context.workplace.perform(effect)
    except UserError as error:
        return replace(rollout, reason=line(str(error)), refused=True)
    if receipt.status in ("done", "found"):
        return rollout
    reason = line(receipt.message) or "The release was not allowed."
    return replace(rollout, reason=reason, refused=True)


async def _watched(rollout: Rollout, context: AgentContext) -> Rollout:
    order = rollout.order
    known = await context.workplace.environment()
    try:
        seen = await watch(order.sha, known.revision, order.plan, order.until, context)
    except UserError as error:
        seen = Sighting(None, line(str(error)))
    return replace(rollout, reason=seen.reason, superseded=seen.superseded, state=seen.state)


async def _tell(
    rollout: Rollout, state: DeploymentStatus, description: str, context: AgentContext
) -> None:
    assert rollout.deployment_id is not None, "a rollout that was begun has a deployment"
    await context.workplace.perform(
        SetDeploymentStatus(
            head_sha=rollout.order.head_sha,
            environment=rollout.order.plan.name,
            deployment_id=rollout.deployment_id,
            state=state,
            description=line(description, MAX_DESCRIPTION),
            environment_url=rollout.url,
            log_url=rollout.log_url,
        )
    )


async def _log(context: AgentContext) -> str:
    """Return the service's newest output; that it cannot be had is no reason to stop."""
    question: Awaitable[str] = context.workplace.release_log(_LOG_LINES)
    try:
        return await question
    except (Retryable, UserError) as error:
        return f"(The log could not be read: {line(str(error))})"
