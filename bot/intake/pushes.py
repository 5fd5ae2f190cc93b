"""Which files a push changed: asked of the source only where something depends on it."""

from collections.abc import Iterable

from pipelines.config.schema import ConductorFile, Workflow
from pipelines.config.steps import MonitorStep
from pipelines.errors import Ignorable
from pipelines.model import Change, ChangedFiles, PushTrigger, Trigger
from pipelines.ports import Source


async def with_paths(
    file: ConductorFile, names: Iterable[str], trigger: Trigger, change: Change, source: Source
) -> tuple[Change, str]:
    """Return the change with its files, if one of these workflows asks, and why they are not known.

    A workflow asks by its `paths`, or by a monitor, which names the files that it suspects.
    """
    asking = [file.workflows[name] for name in names]
    asking = [each for each in asking if _filters(each) or _watches(each)]
    if not isinstance(trigger, PushTrigger) or change.number is not None or not asking:
        return change, ""
    why = _unknown(trigger)
    if not why:
        try:
            listed = await source.reader(change).changed_files()
        except Ignorable:
            why = "the commit before it is gone"
        else:
            found = {"paths": _paths(listed), "paths_complete": listed.complete}
            change = change.model_copy(update=found)
            why = "" if listed.complete else f"there are more than the {len(listed.files)} listed"
    if not (why and any(_filters(each) for each in asking)):
        return change, ""
    return change, f"All files may have changed, for {why}; so `paths` let it run."


def _paths(listed: ChangedFiles) -> tuple[str, ...]:
    """Return where files are and, of those that moved, where they were."""
    every = (path for each in listed.files for path in (each.path, each.previous_path))
    return tuple(dict.fromkeys(path for path in every if path is not None))


def _filters(workflow: Workflow) -> bool:
    return workflow.on.push is not None and bool(workflow.on.push.paths)


def _watches(workflow: Workflow) -> bool:
    return any(isinstance(step, MonitorStep) for step in workflow.steps.values())


def _unknown(trigger: PushTrigger) -> str:
    """Return why what lies between two commits is not what a push changed, if so."""
    if trigger.created or not trigger.before.strip("0"):
        return "the branch or tag is new"
    return "the push was forced" if trigger.forced else ""
