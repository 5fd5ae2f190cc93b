"""What a new version of the file would change, for whoever reviews it."""

from typing import Literal

from pipelines.config.diagnostics import Diagnostic
from pipelines.config.loader import Loaded, default_file
from pipelines.config.schema import ConductorFile
from pipelines.model import Frozen


class Difference(Frozen):
    """One part of the file that would be different: a section, a workflow or a step of one."""

    kind: Literal["added", "removed", "changed"]
    place: str
    """Dotted keys, e.g. ``workflows.deliver.steps.staging``."""
    keys: tuple[str, ...] = ()
    """Of a changed part, which of its keys."""


class Comparison(Frozen):
    """What is wrong with the new version, and what it would change if it is merged."""

    diagnostics: tuple[Diagnostic, ...] = ()
    differences: tuple[Difference, ...] = ()
    base_broken: bool = False
    """Whether the version in force has mistakes, so that the new one replaces the default."""


def compare(base: Loaded | None, head: Loaded) -> Comparison:
    """Compare the file in force (None if there is none) with the one proposed."""
    if head.file is None:
        return Comparison(diagnostics=head.diagnostics)
    in_force = base.file if base and base.file else default_file()
    return Comparison(
        diagnostics=head.diagnostics,
        differences=_differences(in_force, head.file),
        base_broken=base is not None and base.file is None,
    )


def _differences(base: ConductorFile, head: ConductorFile) -> tuple[Difference, ...]:
    old, new = _parts(base), _parts(head)
    found: list[Difference] = []
    for place in [*new, *(place for place in old if place not in new)]:
        if place not in old:
            found.append(Difference(kind="added", place=place))
        elif place not in new:
            found.append(Difference(kind="removed", place=place))
        elif keys := _changed_keys(old[place], new[place]):
            found.append(Difference(kind="changed", place=place, keys=keys))
    return tuple(found)


def _parts(file: ConductorFile) -> dict[str, dict[str, object]]:
    """Return every part of the file that is named as a whole, with its keys."""
    parts: dict[str, dict[str, object]] = {
        name: getattr(file, name).model_dump(by_alias=True)
        for name in ("models", "budget", "paths")
    }
    for name, environment in file.environments.items():
        parts[f"environments.{name}"] = environment.model_dump()
    for name, workflow in file.workflows.items():
        parts[f"workflows.{name}"] = workflow.model_dump(exclude={"steps"})
        for step_name, step in workflow.steps.items():
            parts[f"workflows.{name}.steps.{step_name}"] = step.model_dump(by_alias=True)
    return parts


def _changed_keys(old: dict[str, object], new: dict[str, object]) -> tuple[str, ...]:
    keys = dict.fromkeys([*new, *old])
    return tuple(key for key in keys if old.get(key) != new.get(key))
