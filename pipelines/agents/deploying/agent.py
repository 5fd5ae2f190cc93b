"""Deploys a commit to the task's environment, watches it, and goes back if it does not run well."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import ClassVar

from pipelines.agents.base import BaseAgent
from pipelines.agents.context import AgentContext
from pipelines.agents.deploying.explanation import explain
from pipelines.agents.deploying.report import Story, no_way_back, result
from pipelines.agents.deploying.rollout import (
    Order,
    Rollout,
    begin,
    give_up,
    roll_back,
    roll_out,
    rollback_goal,
)
from pipelines.agents.deploying.words import span
from pipelines.errors import ConductorError, LeaseLost, UserError
from pipelines.model import (
    CommandTrigger,
    DeploymentTrigger,
    EnvironmentPlan,
    EnvironmentState,
    Task,
    TaskResult,
)

_MARGIN_SECONDS = 30.0
_MAX_PATHS = 50
_INTERRUPTED = "It failed before this task was interrupted; its rollback had begun."


class DeployAgent(BaseAgent):
    """Brings the task's commit to its environment, or on request the last good one back.

    A rollback is asked for by the command ``rollback``, by the option ``rollback``, or by an output
    ``rollback`` of a step that this one needs.
    """

    name: ClassVar[str] = "deploy"

    def _validate_task(self, task: Task) -> None:
        super()._validate_task(task)
        if task.environment is None:
            raise UserError(
                "This step has no environment: name one of `environments` as its `environment`."
            )

    async def _execute(self, task: Task, context: AgentContext) -> TaskResult:
        state = await context.workplace.environment()
        if asked_to_go_back(task):
            return await _go_back(task, state, context)
        return await _deploy(task, state, context)


def asked_to_go_back(task: Task) -> bool:
    """Whether the task is to bring back the release before the present one."""
    trigger = task.trigger
    if isinstance(trigger, CommandTrigger) and trigger.verb == "rollback":
        return True
    return task.options.get("rollback") is True or _said_by_a_step(task, "rollback") is True


def _said_by_a_step(task: Task, name: str) -> object:
    """Return the first output of that name of a step that spoke of the task's environment."""
    here = task.environment.name if task.environment else None
    spoken = [outputs for outputs in task.inputs.values() if isinstance(outputs, dict)]
    about = [outputs for outputs in spoken if outputs.get("environment") in (here, None)]
    return next((outputs[name] for outputs in about if outputs.get(name) is not None), None)


async def _deploy(task: Task, state: EnvironmentState, context: AgentContext) -> TaskResult:
    began = context.clock.now()
    limits = _Limits(task, state.plan, began)
    order = Order(
        plan=state.plan,
        head_sha=task.change.head_sha,
        sha=task.change.head_sha,
        occasion=f"{task.run_id}/{task.step}",
        until=limits.rollout,
        deployment_id=_existing(task, state),
    )
    if state.rolling_back:
        first = replace(await begin(order, context), reason=_INTERRUPTED)
    else:
        first = await roll_out(order, context)
    story = Story(task, first, began=began, notes=limits.notes)
    if first.ok or first.denied:
        return result(story, context.clock.now())
    if first.refused or first.superseded:
        await give_up(first, context)
        return result(story, context.clock.now())
    back = await _taken_back(task, first, state, limits, context)
    story = replace(story, back=back, paths=await _paths(context))
    if first.log:
        left = limits.left(context.clock.now())
        said = await explain(first.reason, first.log, story.paths, left, context)
        story = replace(story, explanation=said)
    return result(story, context.clock.now())


async def _taken_back(
    task: Task,
    first: Rollout,
    state: EnvironmentState,
    limits: "_Limits",
    context: AgentContext,
) -> Rollout | None:
    """Bring the last good release back; None if there is none."""
    sha = _goal(state, bad=first.order.sha)
    if sha is None:
        await give_up(first, context)
        return None
    return await roll_back(
        _rollback_order(task, state, sha, limits, context), context, instead_of=first
    )


async def _go_back(task: Task, state: EnvironmentState, context: AgentContext) -> TaskResult:
    """Bring back the release before the one that runs, because somebody asked for it."""
    began = context.clock.now()
    limits = _Limits(task, state.plan, began)
    bad = _told_sha(task) or state.current_sha or (state.last_good and state.last_good.sha)
    sha = _goal(state, bad=bad)
    if sha is None:
        return no_way_back(task, state)
    order = _rollback_order(task, state, sha, limits, context)
    if state.rolling_back:
        order = replace(order, deployment_id=state.deployment_id)
    back = await roll_back(order, context)
    story = Story(task, None, began=began, back=back, bad=bad, notes=limits.notes)
    return result(story, context.clock.now())


def _goal(state: EnvironmentState, *, bad: str | None) -> str | None:
    """Return the commit to go back to: that of a rollback already begun, else the last good one."""
    if state.rolling_back and state.deployment_sha is not None:
        return state.deployment_sha
    good = rollback_goal(state, bad)
    return good.sha if good else None


def _rollback_order(
    task: Task, state: EnvironmentState, sha: str, limits: "_Limits", context: AgentContext
) -> Order:
    return Order(
        plan=state.plan,
        head_sha=task.change.head_sha,
        sha=sha,
        occasion=f"{task.run_id}/{task.step}/rollback",
        until=limits.rollback(context.clock.now()),
        rollback=True,
    )


def _existing(task: Task, state: EnvironmentState) -> int | None:
    """Return the deployment to work on if there is one: this run's, or the one that started it."""
    trigger, sha = task.trigger, task.change.head_sha
    if not state.rolling_back and state.deployment_sha == sha:
        return state.deployment_id
    if isinstance(trigger, DeploymentTrigger) and trigger.sha == sha:
        return trigger.deployment_id if trigger.environment == state.plan.name else None
    return None


def _told_sha(task: Task) -> str | None:
    """Return the commit that a step before this one found to be bad."""
    sha = _said_by_a_step(task, "sha")
    return sha if isinstance(sha, str) else None


async def _paths(context: AgentContext) -> tuple[str, ...]:
    """Return the files of the change; without them a lesson is only less precise."""
    try:
        listing = await context.reader.changed_files()
    except LeaseLost:
        raise
    except ConductorError:
        return ()
    return tuple(file.path for file in listing.files)[:_MAX_PATHS]


class _Limits:
    """How the time of the step is shared out: a rollout must leave enough for going back."""

    def __init__(self, task: Task, plan: EnvironmentPlan, now: datetime) -> None:
        whole = max(0.0, (task.deadline - now).total_seconds())
        self._end = task.deadline - timedelta(seconds=min(_MARGIN_SECONDS, whole * 0.1))
        self._wanted = plan.rollout_seconds
        usable = max(0.0, (self._end - now).total_seconds())
        first = min(self._wanted, usable - min(self._wanted, usable * 0.3))
        self.rollout = now + timedelta(seconds=first)
        self.notes: tuple[str, ...] = ()
        if first < self._wanted:
            self.notes = (
                f"The step's `timeout` leaves {span(first)} for the rollout instead of "
                f"{span(self._wanted)}.",
            )

    def rollback(self, now: datetime) -> datetime:
        """When to give up a rollback that begins now."""
        return min(self._end, now + timedelta(seconds=self._wanted))

    def left(self, now: datetime) -> float:
        """How many seconds there are for what may as well be left out."""
        return max(0.0, (self._end - now).total_seconds())
