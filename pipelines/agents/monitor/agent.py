"""Watches an environment, says what got worse, and whether what was broken is well again."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import ClassVar

from pipelines.agents.base import BaseAgent
from pipelines.agents.context import AgentContext
from pipelines.agents.monitor.recommendation import advise
from pipelines.agents.monitor.report import Story, result
from pipelines.agents.monitor.rollback import take_back
from pipelines.agents.monitor.subject import subject_of
from pipelines.agents.monitor.verification import judge
from pipelines.agents.monitor.watch import Watch
from pipelines.agents.monitor.watched import watched
from pipelines.agents.options import section
from pipelines.config.steps import MonitorOptions
from pipelines.errors import LeaseLost, Retryable, UserError
from pipelines.model import Breach, SignalRequest, Task, TaskResult, TraceReport

_RESERVE_SECONDS = 60.0
"""What is kept back of the step's time to act on what was seen; a tenth if that is less."""


class MonitorAgent(BaseAgent):
    """Compares an environment after a deployment, or at an alert, with its rules and its past."""

    name: ClassVar[str] = "monitor"

    def _validate_task(self, task: Task) -> None:
        super()._validate_task(task)
        if task.environment is None:
            raise UserError(
                "This step has no environment: name one of `environments` as its `environment`, "
                "or let it need a step that deploys."
            )
        section(MonitorOptions, task)

    async def _execute(self, task: Task, context: AgentContext) -> TaskResult:
        options = section(MonitorOptions, task)
        state = await context.workplace.environment()
        began = context.clock.now()
        subject = subject_of(task, state, seconds=options.for_, now=began)
        issues = [each for each in task.feedback if each.payload.environment == state.plan.name]
        also = {breach.rule for issue in issues for breach in issue.payload.breaches}
        watch = Watch(subject, watched(options, also), options.interval)
        until = min(subject.span.end, _latest(task, began))
        whole = await _observe(watch, until, context)
        findings = judge(watch, issues, repository_id=task.change.repository.id, whole=whole)
        story = Story(task, watch, findings, context.clock.now(), whole)
        return result(await _acted(story, options, context))


async def _observe(watch: Watch, until: datetime, context: AgentContext) -> bool:
    """Look until something broke its bounds or the time is over; whether that was the whole."""
    clock = context.clock
    await watch.remember(context)
    while True:
        await watch.look(context)
        left = (until - clock.now()).total_seconds()
        if watch.breaches() or left <= 0:
            return clock.now() >= watch.subject.span.end
        await clock.sleep(min(watch.step, left))


async def _acted(story: Story, options: MonitorOptions, context: AgentContext) -> Story:
    """Do what a breach calls for before it is told: look at traces, go back, ask for advice."""
    breaches, task, subject = story.breaches, story.task, story.watch.subject
    if not breaches:
        return story
    rollback = None
    if options.on_breach == "rollback" and subject.fresh:
        rollback = await take_back(task, subject, context)
    traces = await _traces(story, breaches[0], context)
    left = (task.deadline - context.clock.now()).total_seconds() - _reserve(task, story.now) / 2
    advice = await advise(task, breaches, traces, left, context)
    now = context.clock.now()
    return replace(story, now=now, advice=advice, traces=traces, rollback=rollback)


async def _traces(story: Story, breach: Breach, context: AgentContext) -> TraceReport:
    span = story.watch.subject.span
    request = SignalRequest(
        name=breach.rule, start=span.start, end=min(max(story.now, span.start), span.end)
    )
    try:
        return await context.workplace.traces(request)
    except LeaseLost:
        raise
    except (Retryable, UserError) as error:
        return TraceReport(reason=str(error))


def _latest(task: Task, now: datetime) -> datetime:
    """Return when watching has to end so that there is time to act."""
    return task.deadline - timedelta(seconds=_reserve(task, now))


def _reserve(task: Task, now: datetime) -> float:
    return min(_RESERVE_SECONDS, 0.1 * max(0.0, (task.deadline - now).total_seconds()))
