"""Check runs, annotations and check suites."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from bot.simulator import events
from bot.simulator.errors import Refused, invalid, not_found
from bot.simulator.protocol import Answer, Body, Call, Operation
from bot.simulator.state import CheckRun, CheckSuite
from bot.simulator.views import checks
from bot.simulator.world import Json

MAX_ANNOTATIONS = 50
MAX_TEXT = 65_535
"""Characters of a summary or text."""
MAX_MESSAGE = 64 * 1024
"""Bytes of an annotation's message or details."""

Status = Literal["queued", "in_progress", "completed", "waiting", "requested", "pending"]
Conclusion = Literal[
    "success", "failure", "neutral", "cancelled", "skipped", "timed_out", "action_required"
]
Text = Annotated[str, Field(max_length=MAX_TEXT)]


class Annotation(Body):
    """A remark on lines of a file."""

    path: Annotated[str, Field(min_length=1)]
    start_line: Annotated[int, Field(ge=0)]
    end_line: Annotated[int, Field(ge=0)]
    start_column: int | None = None
    end_column: int | None = None
    annotation_level: Literal["notice", "warning", "failure"]
    message: str
    title: Annotated[str, Field(max_length=255)] | None = None
    raw_details: str | None = None


class Output(Body):
    """What the check has to say; a summary is needed, a title only for a new run."""

    title: str | None = None
    summary: Text
    text: Text | None = None
    annotations: list[Annotation] = Field(default_factory=list[Annotation])
    images: list[Json] = Field(default_factory=list[Json])


class Action(Body):
    """A button."""

    label: Annotated[str, Field(min_length=1, max_length=20)]
    description: Annotated[str, Field(min_length=1, max_length=40)]
    identifier: Annotated[str, Field(min_length=1, max_length=20)]


class Fields(Body):
    """What a new run and a change have in common."""

    details_url: str | None = None
    external_id: str | None = None
    status: Status | None = None
    started_at: Annotated[datetime, Field(strict=False)] | None = None
    conclusion: Conclusion | None = None
    completed_at: Annotated[datetime, Field(strict=False)] | None = None
    output: Output | None = None
    actions: Annotated[list[Action], Field(max_length=3)] | None = None


class Change(Fields):
    """What to change about a run."""

    name: str | None = None


class NewRun(Fields):
    """A new run."""

    name: str
    head_sha: str


def _check_output(output: Output) -> None:
    count = len(output.annotations)
    if count > MAX_ANNOTATIONS:
        words = f"No more than {MAX_ANNOTATIONS} items are allowed; {count} were supplied."
        raise invalid(f"Invalid request.\n\n{words}")
    for one in output.annotations:
        if one.end_line < one.start_line:
            raise invalid("Invalid request.\n\nend_line must not be before start_line.")
        columns = one.start_column is not None or one.end_column is not None
        if columns and one.start_line != one.end_line:
            raise invalid("Invalid request.\n\nColumns need start_line and end_line to be equal.")
        if max(len(one.message.encode()), len((one.raw_details or "").encode())) > MAX_MESSAGE:
            raise invalid("Invalid request.\n\nAn annotation's text is longer than 64 KB.")


def _apply(run: CheckRun, change: Fields, now: datetime) -> bool:
    """Carry out a change; returns whether it completed the run. Raises Refused (422)."""
    status = "completed" if change.conclusion else change.status
    if status == "completed" and not (change.conclusion or run.conclusion):
        raise invalid("Invalid request.\n\nA completed check run needs a conclusion.")
    if run.status == "completed" and status not in (None, "completed"):
        raise invalid("Invalid request.\n\nA completed check run cannot be opened again.")
    if change.output:
        _check_output(change.output)
    completed = status == "completed" and run.status != "completed"
    run.status = status or run.status
    run.started_at = change.started_at or run.started_at
    if change.conclusion:
        run.conclusion = change.conclusion
        run.completed_at = change.completed_at or run.completed_at or now
    if change.details_url is not None:
        run.details_url = change.details_url
    if change.external_id is not None:
        run.external_id = change.external_id
    if change.actions is not None:
        run.actions = [action.model_dump() for action in change.actions]
    if output := change.output:
        run.title = output.title if output.title is not None else run.title
        run.summary, run.text = output.summary, output.text
        run.annotations += [one.model_dump(exclude_unset=True) for one in output.annotations]
    run.suite.updated_at = now
    return completed


def _suite(call: Call, sha: str, app_id: int) -> CheckSuite:
    for suite in call.repo.suites:
        if suite.head_sha == sha and suite.app_id == app_id:
            return suite
    branches = [p.head_ref for p in call.repo.pulls if p.head_sha == sha and p.head is call.repo]
    now = call.world.now()
    suite = CheckSuite(
        call.world.next_id(wide=True), app_id, sha, branches[0] if branches else None, now, now
    )
    call.repo.suites.append(suite)
    return suite


def _app_id(call: Call) -> int:
    assert call.token, "the operation is for installation tokens"
    return call.token.installation.app.id


async def create_run(call: Call) -> Answer:
    """A new check run on a commit."""
    body, repo, now = call.read(NewRun), call.repo, call.world.now()
    if await repo.git.kind(body.head_sha) != "commit":
        raise invalid(f"No commit found for SHA: {body.head_sha}")
    if body.output and body.output.title is None:
        raise invalid('Invalid request.\n\n"title" wasn\'t supplied.')
    suite = _suite(call, body.head_sha, _app_id(call))
    run = CheckRun(
        call.world.next_id(wide=True), suite, body.name, body.head_sha, "queued", now, now
    )
    completed = _apply(run, body, now)
    repo.checks[run.id] = run
    await events.check_run(call.world, repo, run, "created", call.actor)
    if completed:
        await events.check_run(call.world, repo, run, "completed", call.actor)
    return Answer(checks.run(call.world, repo, run), status=201)


def _run(call: Call) -> CheckRun:
    found = call.repo.checks.get(call.number("check_run_id"))
    if not found:
        raise not_found()
    return found


async def get_run(call: Call) -> Answer:
    """One check run."""
    return Answer(checks.run(call.world, call.repo, _run(call)))


async def update_run(call: Call) -> Answer:
    """Change a run; only the App that made it may."""
    run = _run(call)
    if run.suite.app_id != _app_id(call):
        words = (
            f"Invalid app_id `{_app_id(call)}` - check run can only be modified by the GitHub App "
            "that created it."
        )
        raise Refused(403, words)
    change = call.read(Change)
    completed = _apply(run, change, call.world.now())
    run.name = change.name or run.name
    if completed:
        await events.check_run(call.world, call.repo, run, "completed", call.actor)
    return Answer(checks.run(call.world, call.repo, run))


async def list_annotations(call: Call) -> Answer:
    """A run's annotations."""
    run = _run(call)
    return call.page(
        run.annotations, lambda one: checks.annotation(call.world, call.repo, run, one)
    )


def _filtered(call: Call, runs: list[CheckRun]) -> Answer:
    name, status, app = (call.query.get(k) for k in ("check_name", "status", "app_id"))
    found = [
        run
        for run in runs
        if (not name or run.name == name)
        and (not status or run.status == status)
        and (not app or str(run.suite.app_id) == app)
    ]
    if call.choice("filter", ("latest", "all"), "latest") == "latest":
        found = list({(run.suite.app_id, run.name): run for run in found}.values())
    found.sort(key=lambda run: -run.id)
    window, headers = call.window(len(found))
    rows = [checks.run(call.world, call.repo, run) for run in found[window]]
    return Answer({"total_count": len(found), "check_runs": rows}, headers=headers)


async def runs_for_ref(call: Call) -> Answer:
    """The check runs of a commit, by default the newest of each name."""
    sha = await call.repo.git.resolve(call.path["ref"])
    if not sha:
        raise invalid(f"No commit found for SHA: {call.path['ref']}")
    return _filtered(call, [r for r in call.repo.checks.values() if r.head_sha == sha])


async def runs_for_suite(call: Call) -> Answer:
    """The check runs of a suite."""
    suite = _find_suite(call)
    return _filtered(call, [r for r in call.repo.checks.values() if r.suite is suite])


def _find_suite(call: Call) -> CheckSuite:
    wanted = call.number("check_suite_id")
    found = next((suite for suite in call.repo.suites if suite.id == wanted), None)
    if not found:
        raise not_found()
    return found


async def get_suite(call: Call) -> Answer:
    """One check suite."""
    suite = _find_suite(call)
    head = await call.repo.git.commit(suite.head_sha)
    return Answer(checks.suite(call.world, call.repo, suite, head))


async def suites_for_ref(call: Call) -> Answer:
    """The check suites of a commit, one an App."""
    sha = await call.repo.git.resolve(call.path["ref"])
    if not sha:
        raise invalid(f"No commit found for SHA: {call.path['ref']}")
    found = [suite for suite in call.repo.suites if suite.head_sha == sha]
    window, headers = call.window(len(found))
    head = await call.repo.git.commit(sha)
    rows = [checks.suite(call.world, call.repo, one, head) for one in found[window]]
    return Answer({"total_count": len(found), "check_suites": rows}, headers=headers)


_READ, _WRITE = ("checks=read",), ("checks=write",)
_REPO = "/repos/{owner}/{repo}"
_RUN, _SUITE = f"{_REPO}/check-runs/{{check_run_id}}", f"{_REPO}/check-suites/{{check_suite_id}}"

OPERATIONS = (
    Operation("POST", f"{_REPO}/check-runs", create_run, _WRITE),
    Operation("GET", _RUN, get_run, _READ),
    Operation("PATCH", _RUN, update_run, _WRITE),
    Operation("GET", f"{_RUN}/annotations", list_annotations, _READ),
    Operation("GET", f"{_REPO}/commits/{{ref}}/check-runs", runs_for_ref, _READ),
    Operation("GET", f"{_REPO}/commits/{{ref}}/check-suites", suites_for_ref, _READ),
    Operation("GET", _SUITE, get_suite, _READ),
    Operation("GET", f"{_SUITE}/check-runs", runs_for_suite, _READ),
)
