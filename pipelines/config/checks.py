"""What must hold between the parts of a file, after each part was found well-formed."""

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from pipelines.config.diagnostics import nearest
from pipelines.config.explain import Mistake
from pipelines.config.outline import Place
from pipelines.config.schema import ConductorFile, Environment, Workflow
from pipelines.config.steps import DeployStep, MonitorStep, Step


def inconsistencies(file: ConductorFile) -> Iterator[Mistake]:
    """Yield every contradiction inside the file."""
    for name, environment in file.environments.items():
        yield from _environment(environment, ("environments", name))
    for name, workflow in file.workflows.items():
        place = ("workflows", name, "steps")
        yield from _graph(workflow.steps, place)
        for step_name, step in workflow.steps.items():
            yield from _options(step, (*place, step_name), workflow, file)


_NEEDED: Mapping[str, tuple[str, ...]] = {
    "aws": ("cluster",),
    "gcp": ("project", "region"),
    "azure": ("project", "resource_group"),
    "github-actions": ("workflow",),
    "gitlab-ci": ("project",),
    "local": ("command",),
}
"""What each target cannot do without."""


def _environment(environment: Environment, place: Place) -> Iterator[Mistake]:
    target = environment.target
    if environment.namespace and target != "kubernetes":
        yield Mistake(
            (*place, "namespace"),
            f"`namespace` only goes with the target `kubernetes`, not `{target}`.",
        )
    for key in _NEEDED.get(target, ()):
        if not getattr(environment, key):
            yield Mistake(place, f"`{key}` is missing: the target `{target}` needs it.")
    if environment.approvers and len(set(environment.approvers)) < environment.approval:
        yield Mistake(
            (*place, "approval"),
            f"{environment.approval} people must approve, but `approvers` has fewer.",
        )


def _graph(steps: Mapping[str, Step], place: Place) -> Iterator[Mistake]:
    sound = True
    for name, step in steps.items():
        for index, need in enumerate(step.needs):
            message = _need_objection(name, need, step.needs[:index], steps)
            if message:
                sound = False
                guess = nearest(need, set(steps) - {name}) if need not in steps else None
                yield Mistake((*place, name, "needs", index), message, guess)
    if sound and (cycle := _cycle(steps)):
        path = " → ".join(cycle)
        message = f"The steps wait for each other in a circle: {path}."
        yield Mistake((*place, cycle[0], "needs"), message)


def _need_objection(
    name: str, need: str, before: tuple[str, ...], steps: Mapping[str, Step]
) -> str | None:
    if need == name:
        return f"The step `{name}` cannot need itself."
    if need not in steps:
        return f"There is no step `{need}` in this workflow."
    if need in before:
        return f"The step `{need}` is needed twice."
    return None


def _cycle(steps: Mapping[str, Step]) -> list[str]:
    """Return a circle of steps, each needing the next, or nothing."""
    try:
        TopologicalSorter({name: step.needs for name, step in steps.items()}).prepare()
    except CycleError as error:
        circle: list[str] = list(error.args[1])
        return circle[::-1]
    return []


def _options(
    step: Step, place: Place, workflow: Workflow, file: ConductorFile
) -> Iterator[Mistake]:
    if isinstance(step, DeployStep | MonitorStep) and step.environment is not None:
        if step.environment not in file.environments:
            yield Mistake(
                (*place, "environment"),
                f"`{step.environment}` is not one of `environments`.",
                nearest(step.environment, file.environments),
            )
    elif isinstance(step, DeployStep) and _names_no_environment(workflow):
        yield Mistake(
            place, "`environment` is missing: what starts this workflow does not name one."
        )
    if isinstance(step, MonitorStep):
        yield from _rules(step, place)


def _names_no_environment(workflow: Workflow) -> bool:
    on = workflow.on
    return not (on.deployment or on.deployment_status or on.command)


def _rules(step: MonitorStep, place: Place) -> Iterator[Mistake]:
    names: set[str] = set()
    for index, rule in enumerate(step.rules):
        here = (*place, "rules", index)
        if rule.above is None and rule.below is None:
            yield Mistake(here, f"The rule `{rule.name}` needs `above` or `below`.")
        elif rule.above is not None and rule.below is not None and rule.above < rule.below:
            yield Mistake(here, f"The rule `{rule.name}` would be broken by every value.")
        if rule.name in names:
            yield Mistake((*here, "name"), f"The rule `{rule.name}` is there twice.")
        names.add(rule.name)
    if step.timeout is not None and step.timeout <= step.for_:
        yield Mistake((*place, "timeout"), "`timeout` must be longer than `for`.")
