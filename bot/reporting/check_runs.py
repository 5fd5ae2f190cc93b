"""The calls that bring check runs in line with a run: only what changed costs one."""

from collections.abc import Mapping

from pydantic import Field

from bot.github.errors import NotFound
from bot.github.wire import Wire, parse
from bot.reporting.checks import BATCH, Check, check_of
from bot.reporting.held import waiting_diff
from bot.reporting.outlet import Outlet
from pipelines.errors import ConductorError
from pipelines.model import TaskResult, WorkflowRun
from pipelines.ports import CheckState

_PAGES = 5


class _App(Wire):
    id: int


class _CheckRun(Wire):
    id: int
    external_id: str | None = None
    status: str = ""
    app: _App | None = None


class _CheckRuns(Wire):
    check_runs: tuple[_CheckRun, ...] = Field(default=())


async def report(
    outlet: Outlet,
    run: WorkflowRun,
    results: Mapping[str, TaskResult],
    last: Mapping[str, CheckState],
    *,
    repeated: bool,
) -> Mapping[str, CheckState]:
    """Return the checks as they are now; an error carries them as far as it came."""
    shown = dict(last)
    try:
        known = await _look_up(outlet, run, shown) if repeated else {}
        for step in run.steps:
            result = results.get(step.name)
            held = await waiting_diff(outlet, step, result)
            check = check_of(outlet, run, step, result, held=held)
            await _show(outlet, check, step.name, known.get(step.name), shown)
    except ConductorError as error:
        error.reported = shown
        raise
    return shown


async def _show(
    outlet: Outlet,
    check: Check,
    name: str,
    found: CheckState | None,
    shown: dict[str, CheckState],
) -> None:
    """Create or update one check run, noting the outcome of each call.

    The digest of a check whose annotations are not all sent ends in how many are.
    """
    before = shown.get(name) or found
    digest = check.digest
    sent = _sent(before.digest, digest) if before is not None else 0
    if sent is None:
        return
    number = await _update(outlet, before, check, sent) if before is not None else None
    if number is None:
        number, sent = await _create(outlet, check), 0
    while True:
        sent += BATCH
        partial = sent < len(check.annotations)
        shown[name] = CheckState(
            check_run_id=number,
            digest=f"{digest}+{sent}" if partial else digest,
            completed=check.completed,
        )
        if not partial:
            return
        await outlet.patch(f"/check-runs/{number}", check.payload(sent))


def _sent(before: str, digest: str) -> int | None:
    """Return how many annotations of this very state were sent; None if nothing is left to do."""
    shown, _, count = before.partition("+")
    if shown != digest:
        return 0
    return int(count) if count else None


async def _create(outlet: Outlet, check: Check) -> int:
    answer = await outlet.post("/check-runs", {"head_sha": check.head_sha, **check.payload()})
    return parse(_CheckRun, answer, "a new check run").id


async def _update(outlet: Outlet, before: CheckState, check: Check, sent: int) -> int | None:
    """Return the check run's number, or None if it takes no update: deleted, or completed before.

    GitHub never opens a completed check run again: https://docs.github.com/rest/checks/runs
    """
    if before.completed and not check.completed:
        return None
    try:
        await outlet.patch(f"/check-runs/{before.check_run_id}", check.payload(sent))
    except NotFound:
        return None
    return before.check_run_id


async def _look_up(
    outlet: Outlet, run: WorkflowRun, known: Mapping[str, CheckState]
) -> dict[str, CheckState]:
    """Return the newest check run of each step that was made but perhaps never noted."""
    if all(step.name in known for step in run.steps):
        return {}
    app_id = await outlet.app_id()
    url = (
        f"{outlet.root}/commits/{run.change.head_sha}/check-runs"
        f"?app_id={app_id}&filter=all&per_page=100"
    )
    found = dict[str, CheckState]()
    async for page, _ in outlet.client.pages(url, most=_PAGES):
        listed = parse(_CheckRuns, page, "the check runs of a commit").check_runs
        for check in listed:
            run_id, _, step = (check.external_id or "").partition("/")
            newest = step not in found or found[step].check_run_id < check.id
            if run_id == run.id and check.app is not None and check.app.id == app_id and newest:
                found[step] = CheckState(
                    check_run_id=check.id, digest="", completed=check.status == "completed"
                )
    return found
