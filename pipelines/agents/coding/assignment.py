"""What a coding task is about and where its commit may go, from what triggered it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipelines.agents.branches import own_branch, unwritable
from pipelines.agents.fence import presentable
from pipelines.agents.hidden import strip_comments
from pipelines.model import (
    Change,
    CheckTrigger,
    CommandTrigger,
    FailedFix,
    FeedbackTrigger,
    IssueTrigger,
    PriorFinding,
    Task,
)

_MAX_TITLE = 500
_MAX_TEXT = 8_000
_MAX_FINDINGS = 30
_MAX_PATHS = 300
_MIN_PREFIX = 4


@dataclass(frozen=True, slots=True)
class Assignment:
    """The material, by kind of data block, and the answer to where the commit goes."""

    subject: str
    """What it is, in a few words for people, e.g. ``issue #12``."""
    material: tuple[tuple[str, str], ...]
    branch: str
    pull_request_into: str | None
    """The branch that a new pull request goes into; None if the commit joins an open one."""
    answers_issue: int | None = None


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is nothing that could or should be done; ``why`` is half a sentence."""

    why: str


def assignment_of(task: Task) -> Assignment | Nothing:
    """Return what to do, or why nothing; no model has been asked by then."""
    trigger, change = task.trigger, task.change
    match trigger:
        case FeedbackTrigger():
            incident = _incident(trigger)
            return _for_issue(task, trigger.number, "incident", [("incident", incident)])
        case IssueTrigger():
            return _for_issue(task, trigger.number, "issue", [("issue", _description(change))])
        case CommandTrigger(on_pull_request=False):
            asked = [("request", _request(task)), ("issue", _description(change))]
            return _for_issue(task, trigger.number, "issue", asked)
        case _:
            return _for_code(task)


def _for_issue(
    task: Task, number: int, what: str, material: list[tuple[str, str]]
) -> Assignment | Nothing:
    change = task.change
    into = change.base_ref or change.repository.default_branch
    return Assignment(
        subject=f"{what} #{number}",
        material=(*material, *_common(task)),
        branch=own_branch(task, f"{what}-{number}"),
        pull_request_into=into,
        answers_issue=number,
    )


def _for_code(task: Task) -> Assignment | Nothing:
    """Work on a pull request, or on a branch that was pushed: findings, or what a person asks."""
    change = task.change
    findings = _findings(task)
    asked = _request(task) if isinstance(task.trigger, CommandTrigger) else ""
    if not (findings or asked or _reported(task)):
        return Nothing("there is no open finding and nothing was asked for")
    if why := unwritable(change):
        return Nothing(why)
    material = [("request", asked)] if asked else []
    material += [("findings", _json(findings))] if findings else []
    material += [("change", _description(change))]
    what = f"pull request #{change.number}" if change.number is not None else "the pushed commit"
    own = change.number is not None and change.head_ref not in _kept(change)
    return Assignment(
        subject=what,
        material=(*material, *_common(task)),
        branch=change.head_ref if own else own_branch(task, change.head_sha[:12]),
        pull_request_into=None if own else change.base_ref or change.repository.default_branch,
    )


def _kept(change: Change) -> tuple[str, str]:
    return (change.repository.default_branch, change.base_ref)


def _request(task: Task) -> str:
    """Return what a person wrote, with the finding that it names, if it names one."""
    said = {"asked": presentable(task.instruction)[:_MAX_TEXT]}
    named = _named(task)
    if named:
        said["means the finding"] = presentable(f"{named.path}: {named.title}")[:_MAX_TITLE]
    return _json(said) if task.instruction.strip() or named else ""


def _named(task: Task) -> PriorFinding | None:
    trigger = task.trigger
    words = trigger.arguments if isinstance(trigger, CommandTrigger) else ()
    keys = {word.strip("`#").lower() for word in words if len(word) >= _MIN_PREFIX}
    matches = [f for f in task.change.prior_findings if any(map(f.fingerprint.startswith, keys))]
    return matches[0] if len(matches) == 1 else None


def _findings(task: Task) -> list[dict[str, object]]:
    """Return the named finding, or every open one."""
    named = _named(task)
    open_ones = [f for f in task.change.prior_findings if not (f.resolved or f.answered)]
    return [
        {"path": presentable(f.path), "line": f.line, "problem": presentable(f.title)[:_MAX_TITLE]}
        for f in ([named] if named else open_ones)[:_MAX_FINDINGS]
    ]


def _reported(task: Task) -> bool:
    """Whether an earlier step reported something to work on, or a button asked for work."""
    if isinstance(task.trigger, CheckTrigger):
        return True
    outputs = (value for value in task.inputs.values() if isinstance(value, Mapping))
    return any(
        isinstance(count := each.get(key), int) and count > 0
        for each in outputs
        for key in ("new", "open", "new_failures")
    )


def _common(task: Task) -> Iterator[tuple[str, str]]:
    if task.inputs:
        yield "results", presentable(_json(task.inputs))[:_MAX_TEXT]


def _incident(trigger: FeedbackTrigger) -> str:
    """Return the numbers alone, names and texts of a service are strangers' words; and what was
    merged against it so far and did not help.
    """
    payload = trigger.payload
    breaches = [
        breach.model_dump(mode="json", exclude={"points"}, exclude_none=True)
        for breach in payload.breaches
    ]
    said: dict[str, object] = {
        "fingerprint": payload.fingerprint,
        "environment": payload.environment,
        "severity": payload.severity,
        "occurrences": trigger.occurrences,
        "breaches": breaches,
        "suspected commit": payload.suspected_sha,
        "suspected paths": [presentable(path) for path in payload.suspected_paths],
    }
    if trigger.failed:
        said["fixes that were deployed and did not help"] = [_fix(each) for each in trigger.failed]
    return _json(said)


def _fix(fix: FailedFix) -> dict[str, object]:
    return {
        "pull request": fix.number,
        "title": presentable(fix.title),
        "changed files": [presentable(path) for path in fix.paths],
        "patch": presentable(fix.patch),
    }


def _description(change: Change) -> str:
    body, _ = strip_comments(change.body)
    words: dict[str, object] = {
        "title": presentable(change.title)[:_MAX_TITLE],
        "body": presentable(body)[:_MAX_TEXT],
    }
    if change.paths:
        words["changed files"] = [presentable(path) for path in change.paths[:_MAX_PATHS]]
    return _json(words)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)
