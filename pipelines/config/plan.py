"""From a workflow in the file to the steps of a run."""

from pydantic import JsonValue

from pipelines.config.schema import ConductorFile, Environment, Models, StepBase, Workflow
from pipelines.config.steps import DeployStep, MonitorStep
from pipelines.config.steps import Step as Declared
from pipelines.config.values import PLACEHOLDERS
from pipelines.model import Change, CommandTrigger, EnvironmentPlan, PushTrigger, Step, Trigger

DEFAULT_TIMEOUT = 900.0
PRODUCTION = "production"
"""An environment of this name is production whatever the file says."""
_LONGER: dict[str, float] = {"coding": 1800.0, "test": 1800.0}
_MONITOR_MARGIN = 300.0
_COMMON = {*StepBase.model_fields, "agent"}


def steps_of(workflow: Workflow, file: ConductorFile) -> tuple[Step, ...]:
    """Return the plan of a run, in the order of the file; nothing in it depends on the change."""
    return tuple(_step(name, step, file) for name, step in workflow.steps.items())


def environments_of(file: ConductorFile) -> tuple[EnvironmentPlan, ...]:
    """Return the environments as a run keeps them."""
    return tuple(_environment(name, declared) for name, declared in file.environments.items())


def _environment(name: str, declared: Environment) -> EnvironmentPlan:
    values = declared.model_dump(exclude={"rollout", "production"})
    return EnvironmentPlan(
        name=name,
        production=declared.production or name.lower() == PRODUCTION,
        rollout_seconds=declared.rollout,
        **values,
    )


def group_of(workflow_name: str, trigger: Trigger) -> str:
    """Return the lane in which a newer run supersedes an older one: workflow and subject."""
    return f"{workflow_name}/{trigger.subject}"


def concurrency_group_of(
    name: str, file: ConductorFile, trigger: Trigger, change: Change
) -> str | None:
    """Return the concurrency group of a run of the workflow, None if the file names none.

    Only what writers chose is filled in: a branch is the one that was pushed, of a pull request its
    base, else the default branch, and an environment is one of the file's.
    """
    template = file.workflows[name].concurrency.group
    if template is None:
        return None
    number = change.number if trigger.subject.startswith("pr/") else None
    ref = trigger.ref.removeprefix("refs/") if isinstance(trigger, PushTrigger) else ""
    values = {
        "branch": ref.removeprefix("heads/") or change.base_ref,
        "pull-request": "" if number is None else str(number),
        "environment": _about(name, file, trigger),
    }
    group = template
    for placeholder in PLACEHOLDERS:
        group = group.replace(f"{{{placeholder}}}", values[placeholder])
    return group


def _about(name: str, file: ConductorFile, trigger: Trigger) -> str:
    """Return the environment that a run is about, or nothing."""
    named: list[object] = [getattr(trigger, "environment", None)]
    if isinstance(trigger, CommandTrigger) and trigger.verb in ("deploy", "rollback"):
        named += trigger.arguments[:1]
    steps = file.workflows[name].steps.values()
    own = {step.environment for step in steps if isinstance(step, DeployStep) and step.environment}
    named += own if len(own) == 1 else ()
    return next((str(each) for each in named if each in file.environments), "")


def _step(name: str, step: Declared, file: ConductorFile) -> Step:
    options: dict[str, JsonValue] = step.model_dump(mode="json", by_alias=True, exclude=_COMMON)
    return Step(
        name=name,
        agent=step.agent,
        needs=step.needs,
        condition=step.if_,
        timeout_seconds=_timeout(step),
        retries=step.retries,
        options=options,
        models=step.models or _chain(file.models, step.agent),
    )


def _timeout(step: Declared) -> float:
    if step.timeout is not None:
        return step.timeout
    if isinstance(step, MonitorStep):
        return step.for_ + _MONITOR_MARGIN
    return _LONGER.get(step.agent, DEFAULT_TIMEOUT)


def _chain(models: Models, agent: str) -> tuple[str, ...]:
    """Return the agent's own chain, else the default one, else none: the operator's choice."""
    own: tuple[str, ...] | None = getattr(models, agent.replace("-", "_"))
    return own or models.default or ()
