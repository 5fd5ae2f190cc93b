"""Which workflows a trigger starts, and for each other one the reason why not."""

from collections.abc import Iterable, Sequence

from pipelines import globs
from pipelines.config import triggers as on
from pipelines.config.schema import ConductorFile, Workflow
from pipelines.config.steps import DeployStep
from pipelines.model import (
    AlertTrigger,
    Change,
    CheckTrigger,
    CommandTrigger,
    DeploymentStatusTrigger,
    DeploymentTrigger,
    Frozen,
    IssueTrigger,
    PullRequestTrigger,
    PushTrigger,
    ScheduleTrigger,
    Trigger,
)


class Match(Frozen):
    """The trigger starts this workflow."""

    workflow: str


class NoMatch(Frozen):
    """The trigger does not start this workflow, because of ``reason``: one sentence."""

    workflow: str
    reason: str


def workflows_for(
    file: ConductorFile, trigger: Trigger, change: Change
) -> tuple[Match | NoMatch, ...]:
    """Return an answer for each workflow of the file, in its order."""
    return tuple(
        NoMatch(workflow=name, reason=reason) if reason else Match(workflow=name)
        for name, workflow in file.workflows.items()
        for reason in [
            _objection(name, workflow.on, trigger, change) or _elsewhere(workflow, trigger)
        ]
    )


def _objection(name: str, triggers: on.Triggers, trigger: Trigger, change: Change) -> str | None:
    """Return why the trigger does not start a workflow with these triggers."""
    section = getattr(triggers, trigger.kind)
    if section is None:
        return f"It is not started by `{trigger.kind}`."
    reason: str | None = None
    match trigger, section:
        case PullRequestTrigger() as it, on.PullRequest() as wanted:
            reason = _pull_request(wanted, it, change)
        case PushTrigger() as it, on.Push() as wanted:
            reason = _push(wanted, it, change)
        case DeploymentTrigger() as it, on.Deployment() as wanted:
            reason = _outside("environment", it.environment, wanted.environments)
        case DeploymentStatusTrigger() as it, on.DeploymentStatus() as wanted:
            reason = _not_one_of("state", it.state, wanted.states)
            reason = reason or _outside("environment", it.environment, wanted.environments)
        case IssueTrigger() as it, on.Issues() as wanted:
            reason = _issue(wanted, it)
        case CommandTrigger() as it, on.Command() as wanted:
            reason = _not_one_of("command", it.verb, wanted.verbs) if wanted.verbs else None
        case CheckTrigger() as it, on.CheckRun() as wanted:
            reason = _not_one_of("button", it.button or "", wanted.buttons)
        case ScheduleTrigger() as it, on.Schedule() as wanted:
            reason = None if it.workflow == name else "Another workflow's schedule came due."
            if reason is None and it.cron != wanted.cron:
                reason = f"Its schedule is `{wanted.cron}` by now."
        case AlertTrigger() as it, on.Alert() as wanted:
            reason = _alert(wanted, it)
        case _:
            assert trigger.kind == "feedback", "every other kind has a case"
    return reason


def _pull_request(
    section: on.PullRequest, trigger: PullRequestTrigger, change: Change
) -> str | None:
    if reason := _not_one_of("type", trigger.action, section.types):
        return reason
    if not change.open and trigger.action != "closed":
        return "The pull request is closed."
    if change.draft and not section.drafts and trigger.action != "converted_to_draft":
        return "The pull request is a draft."
    base = change.base_ref or trigger.base_ref
    return _outside("base branch", base, section.branches) or _no_path(section.paths, change)


def _push(section: on.Push, trigger: PushTrigger, change: Change) -> str | None:
    branch = trigger.branch
    if branch is None:
        if section.branches and not section.tags:
            return "A tag was pushed, and it is started by branches only."
        tag = trigger.ref.removeprefix("refs/tags/")
        return _outside("tag", tag, section.tags) or _no_path(section.paths, change)
    if section.tags and not section.branches:
        return "A branch was pushed, and it is started by tags only."
    return _outside("branch", branch, section.branches) or _no_path(section.paths, change)


def _issue(section: on.Issues, trigger: IssueTrigger) -> str | None:
    if reason := _not_one_of("type", trigger.action, section.types):
        return reason
    added = trigger.action == "labeled" and trigger.label is not None
    present = {trigger.label} if added else set(trigger.labels)
    if section.labels and not present.intersection(section.labels):
        return f"The issue has none of the labels {_listed(section.labels)}."
    return None


def _elsewhere(workflow: Workflow, trigger: Trigger) -> str | None:
    """Return why a command that names an environment does not mean this workflow."""
    if not isinstance(trigger, CommandTrigger) or trigger.verb not in ("deploy", "rollback"):
        return None
    wanted = trigger.arguments[0] if trigger.arguments else ""
    steps = [step for step in workflow.steps.values() if isinstance(step, DeployStep)]
    if not steps or any(step.environment in (None, wanted) for step in steps):
        return None
    return f"It deploys to {_listed(step.environment or '' for step in steps)}."


def _alert(section: on.Alert, trigger: AlertTrigger) -> str | None:
    if not trigger.firing:
        return "The alert is resolved."
    if section.severities and trigger.severity not in section.severities:
        return f"The severity is none of {_listed(section.severities)}."
    return _outside("alert", trigger.name, section.names) or _outside(
        "environment", trigger.environment, section.environments
    )


def _not_one_of(what: str, value: str, allowed: Sequence[str]) -> str | None:
    return None if value in allowed else f"The {what} is none of {_listed(allowed)}."


def _outside(what: str, value: str, patterns: Sequence[str]) -> str | None:
    if not patterns or globs.any_match(globs.compile_all(patterns), value):
        return None
    return f"The {what} is outside {_listed(patterns)}."


def _no_path(patterns: Sequence[str], change: Change) -> str | None:
    """Return why no path matches; a listing that is cut short gets the benefit of the doubt."""
    if not patterns or not change.paths_complete:
        return None
    compiled = globs.compile_all(patterns)
    if any(globs.any_match(compiled, path) for path in change.paths):
        return None
    return f"No changed file is in {_listed(patterns)}."


def _listed(values: Iterable[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)
