"""What waits for an approval is shown as a diff; a fix is offered where one could be pushed."""

from typing import Any

import pytest

from bot.reporting.publisher import GitHubReporter
from pipelines.model import (
    Change,
    FileEdit,
    OpenPullRequest,
    PushCommit,
    Step,
    StepState,
    TaskResult,
    WorkflowRun,
)
from tests.support.github_stub import GitHubStub, Reply, graphql_data
from tests.unit.reporting.samples import CHANGE, HEAD, done, finding, result, run, step

CHECKS = "/repos/octo/shop/check-runs"
OLD = "c" * 40


@pytest.fixture(autouse=True)
def routes(stub: GitHubStub) -> None:
    stub.on("POST", CHECKS, Reply({"id": 31}, 201))
    stub.on_graphql("Blobs", graphql_data({"repository": {"b0": {"text": "one\ntwo\n"}}}))


async def shown(
    stub: GitHubStub, reporter: GitHubReporter, made: TaskResult, at: Step, **fields: Any
) -> dict[str, Any]:
    held = run(at).model_copy(update=fields)
    assert isinstance(held, WorkflowRun)
    await reporter.report(held, {at.name: made}, {}, repeated=False)
    (created,) = stub.calls("POST", CHECKS)
    return created.json


def commit(*edits: FileEdit) -> PushCommit:
    return PushCommit(head_sha=HEAD, branch="conductor/x", edits=edits, headline="Fix")


def waiting() -> Step:
    return step(StepState.WAITING, held=True)


EDITS = (
    FileEdit(path="a.py", content="one\nthree hunter_2\n", before_sha=OLD),
    FileEdit(path="new`.sh", content="x\n", executable=True),
    FileEdit(path="gone.py", content=None, before_sha="d" * 40),
)


@pytest.mark.parametrize("in_pull", [False, True])
async def test_held_commits_are_shown_with_their_buttons(
    stub: GitHubStub, reporter: GitHubReporter, in_pull: bool
) -> None:
    effect: Any = commit(*EDITS)
    if in_pull:
        effect = OpenPullRequest(head_sha=HEAD, commit=effect, base_ref="main", title="T", body="B")
    body = await shown(stub, reporter, result(effects=(effect,)), waiting())
    summary = body["output"]["summary"]
    assert "Approving changes `a.py`:" in summary
    assert " one\n-two\n+three [redacted]" in summary
    assert "Approving adds ``new`.sh``, executable:" in summary
    assert "Approving deletes `gone.py`:" in summary
    assert [one["identifier"] for one in body["actions"]] == ["approve", "cancel"]
    assert body["conclusion"] == "action_required"


async def test_without_the_old_text_the_new_one_is_shown(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    stub.on_graphql("Blobs", Reply({"message": "no"}, 502))
    body = await shown(stub, reporter, result(effects=(commit(*EDITS),)), waiting())
    assert "+one\n+three [redacted]" in body["output"]["summary"]


async def test_a_long_diff_is_cut_and_fits(stub: GitHubStub, reporter: GitHubReporter) -> None:
    long = tuple(
        FileEdit(path=f"{n}.py", content="".join(f"line {i} ```\n" for i in range(2000)))
        for n in range(20)
    )
    body = await shown(stub, reporter, result(effects=(commit(*long),)), waiting())
    summary = body["output"]["summary"]
    assert "1601 more lines are not shown." in summary
    assert "compared" not in summary
    assert len(summary.encode()) <= 65_535


async def test_what_is_beyond_the_limits_is_named(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    many = tuple(FileEdit(path=f"{n}.py", content="x\n" * 3001) for n in range(41))
    body = await shown(stub, reporter, result(effects=(commit(*many),)), waiting())
    assert "Only the first 3000 lines were compared." in body["output"]["summary"]
    short = tuple(FileEdit(path=f"{n}.py", content="x\n") for n in range(41))
    stub.seen.clear()
    body = await shown(stub, reporter, result(effects=(commit(*short),)), waiting())
    assert "Approving also adds `40.py`." in body["output"]["summary"]


@pytest.mark.parametrize(
    "at", [step(StepState.WAITING), step(StepState.RUNNING, held=True), done()]
)
async def test_nothing_is_read_while_nothing_is_held(
    stub: GitHubStub, reporter: GitHubReporter, at: Step
) -> None:
    body = await shown(stub, reporter, result(effects=(commit(*EDITS),)), at)
    assert "Approving" not in body["output"]["summary"]
    assert not stub.operations("Blobs")


FORK = CHANGE.model_copy(update={"head_repository_id": 5})
PUSH = Change(repository=CHANGE.repository, head_sha=HEAD, base_sha=HEAD)


@pytest.mark.parametrize(
    ("change", "findings", "buttons"),
    [
        (CHANGE, (finding(),), ["retry", "fix"]),
        (CHANGE, (), ["retry"]),
        (FORK, (finding(),), ["retry"]),
        (PUSH, (finding(),), ["retry"]),
    ],
)
async def test_a_fix_is_offered_where_one_could_be_pushed(
    stub: GitHubStub, reporter: GitHubReporter, change: Change, findings: Any, buttons: list[str]
) -> None:
    body = await shown(stub, reporter, result(*findings), done(), change=change)
    assert [one["identifier"] for one in body["actions"]] == buttons
