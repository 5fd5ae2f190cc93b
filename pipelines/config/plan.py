"""From a workflow in the file to the steps of a run."""

from pydantic import JsonValue

from pipelines.config.schema import ConductorFile, Environment, Models, StepBase, Workflow
from pipelines.config.steps import MonitorStep
from pipelines.config.steps import Step as Declared
from pipelines.model import EnvironmentPlan, Step, Trigger

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
