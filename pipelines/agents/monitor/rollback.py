"""Takes a deployment back that made things worse, by the same sequence as every rollback."""

from dataclasses import dataclass
from datetime import timedelta

from pipelines.agents.context import AgentContext
from pipelines.agents.deploying.rollout import Order, Rollout, roll_back, rollback_goal
from pipelines.agents.deploying.words import line
from pipelines.agents.monitor.subject import Subject
from pipelines.errors import LeaseLost, Parked, Retryable, UserError
from pipelines.model import EnvironmentState, Task

_TRIES = 3
_WAIT_SECONDS = 5.0
_MARGIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Taken:
    """How a rollback went, in a sentence; ``sha`` is what runs after it, None if it failed."""

    said: str
    sha: str | None = None


async def take_back(task: Task, subject: Subject, context: AgentContext) -> Taken:
    """Bring back the last good commit; passing faults are tried again a few times.

    Never raises for a rollback that cannot be done: the breach must be told all the same.
    """
    for attempt in range(1, _TRIES + 1):
        try:
            return await _attempt(task, subject, context)
        except LeaseLost:
            raise
        except (Parked, UserError) as error:
            return Taken(f"The rollback failed: {line(str(error))}")
        except Retryable as error:
            if attempt == _TRIES:
                return Taken(f"The rollback failed: {line(str(error))}")
        await context.clock.sleep(_WAIT_SECONDS)
    raise AssertionError("unreachable: the last attempt returns")


async def _attempt(task: Task, subject: Subject, context: AgentContext) -> Taken:
    state = await context.workplace.environment()
    if state.rolling_back and state.deployment_sha is not None:
        sha, number = state.deployment_sha, state.deployment_id
    elif state.current_sha not in (None, subject.sha):
        return Taken("Nothing was rolled back: another commit was deployed meanwhile.")
    else:
        goal = rollback_goal(state, subject.sha)
        if goal is None:
            return Taken("Nothing was rolled back: there is no earlier good release.")
        sha, number = goal.sha, None
    back = await roll_back(_order(task, state, sha, number, context), context)
    return _told(back, subject.environment)


def _order(
    task: Task, state: EnvironmentState, sha: str, number: int | None, context: AgentContext
) -> Order:
    now = context.clock.now()
    end = max(now, task.deadline - timedelta(seconds=_MARGIN_SECONDS))
    return Order(
        plan=state.plan,
        head_sha=task.change.head_sha,
        sha=sha,
        occasion=f"{task.run_id}/{task.step}/rollback",
        until=min(end, now + timedelta(seconds=state.plan.rollout_seconds)),
        rollback=True,
        deployment_id=number,
    )


def _told(back: Rollout, environment: str) -> Taken:
    sha = back.order.sha
    if back.ok:
        return Taken(f"{environment} was rolled back to {sha[:12]}.", sha)
    how = "was not allowed" if back.denied else "failed"
    return Taken(f"The rollback of {environment} to {sha[:12]} {how}: {line(back.reason)}")
