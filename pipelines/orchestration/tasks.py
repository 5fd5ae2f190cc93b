"""From a step to the task that its agent is given, and what a result must be to answer it."""

from pydantic import JsonValue

from pipelines.model import (
    CommandTrigger,
    Conclusion,
    EnvironmentPlan,
    Failure,
    FeedbackTrigger,
    OpenFeedback,
    Step,
    Task,
    TaskResult,
    WorkflowRun,
)
from pipelines.orchestration.facts import FactFinder
from pipelines.orchestration.memory import Memory
from pipelines.orchestration.policy.rules import has_strangers_text
from pipelines.ports import Source


class Tasks:
    """Gathers what a task carries: the run's own data, lessons, open issues, what may be spent."""

    def __init__(self, source: Source, facts: FactFinder, memory: Memory | None) -> None:
        self._source = source
        self._facts = facts
        self._memory = memory

    async def __call__(self, run: WorkflowRun, step: Step) -> Task:
        """Return the task of the step's present attempt."""
        assert step.deadline is not None, "a running step has a deadline"
        left = await self._facts.left_today(run)
        plan, memory = run.environment_of(step), self._memory
        return Task(
            run_id=run.id,
            step=step.name,
            agent=step.agent,
            attempt=step.attempt,
            trigger=run.trigger,
            change=run.change,
            options=step.options,
            inputs=inputs_of(run, step),
            models=step.models,
            ignore=run.ignore,
            protected=run.protected,
            environment=plan,
            lessons=await memory.lessons(run, step) if memory else (),
            feedback=await self._feedback(run, step, plan),
            instruction=instruction_of(run),
            budget_usd=step.budget_usd if left is None else min(step.budget_usd, left),
            deadline=step.deadline,
            tainted=tainted(run, step),
        )

    async def _feedback(
        self, run: WorkflowRun, step: Step, plan: EnvironmentPlan | None
    ) -> tuple[OpenFeedback, ...]:
        """Return the open issues of the environment for a monitor, its own one for a fix."""
        if step.agent == "monitor" and plan is not None:
            return tuple(await self._source.feedback(run.change, plan.name))
        trigger = run.trigger
        if step.agent == "coding" and isinstance(trigger, FeedbackTrigger):
            issues = await self._source.feedback(run.change, None)
            return tuple(issue for issue in issues if issue.number == trigger.number)
        return ()


def checked(task: Task, result: TaskResult) -> TaskResult:
    """Return the result, or a failure in its place if it contradicts itself or its task."""
    fault = _fault(task, result)
    if fault is None:
        return result
    return TaskResult(
        task_id=task.id,
        status="failed",
        conclusion=Conclusion.FAILURE,
        title=fault,
        usage=result.usage,
        failure=Failure(kind="ours", message=fault),
    )


def _fault(task: Task, result: TaskResult) -> str | None:
    if result.task_id != task.id:
        return f"The {task.agent} agent answered another task than it was given."
    if (result.status == "failed") != (result.failure is not None):
        return f"The {task.agent} agent did not say whether it failed."
    if result.failure is not None and result.effects:
        return f"The {task.agent} agent failed and still asked for effects."
    return None


def ancestors(run: WorkflowRun, step: Step) -> tuple[Step, ...]:
    """Return every step that this one depends on, however far up."""
    found: dict[str, Step] = {}
    waiting = list(step.needs)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = run.step(name)
            waiting += found[name].needs
    return tuple(found.values())


def instruction_of(run: WorkflowRun) -> str:
    """Return what a person asked for in so many words; an issue's text is data, not an order."""
    trigger = run.trigger
    return trigger.text if isinstance(trigger, CommandTrigger) else ""


def inputs_of(run: WorkflowRun, step: Step) -> dict[str, JsonValue]:
    """Return the outputs of the steps that this one needs, by their names."""
    return {name: run.step(name).outputs for name in step.needs}


def tainted(run: WorkflowRun, step: Step) -> bool:
    """Whether strangers' text can reach the step: its own change, or an ancestor that read some.

    A consent widens what a step may do, never what its text is worth.
    """
    told = any(before.outputs.get("tainted") is True for before in ancestors(run, step))
    return has_strangers_text(run) or told
