from typing import Any

import pytest

from bot.reporting.publisher import GitHubReporter
from pipelines.errors import Ambiguous, Parked
from pipelines.model import (
    Conclusion,
    Coverage,
    Failure,
    Severity,
    StepState,
    Unseen,
    Usage,
    WorkflowRun,
)
from pipelines.ports import CheckState
from tests.support.github_stub import GitHubStub, Reply
from tests.unit.reporting.samples import EPOCH, HEAD, done, finding, result, run, step

CHECKS = "/repos/octo/shop/check-runs"
LISTED = f"/repos/octo/shop/commits/{HEAD}/check-runs"


@pytest.fixture(autouse=True)
def routes(stub: GitHubStub) -> None:
    stub.on("POST", CHECKS, Reply({"id": 31}, 201), Reply({"id": 32}, 201), Reply({"id": 33}, 201))
    for number in (31, 32, 33):
        stub.on("PATCH", f"{CHECKS}/{number}", Reply({"id": number}))


async def show(
    reporter: GitHubReporter,
    shown_run: WorkflowRun,
    last: Any = None,
    results: Any = None,
    *,
    repeated: bool = False,
) -> Any:
    return await reporter.report(shown_run, results or {}, last or {}, repeated=repeated)


async def test_a_queued_step_has_a_check_at_once(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    shown = await show(reporter, run())
    (created,) = stub.calls("POST", CHECKS)
    assert created.json == {
        "head_sha": HEAD,
        "name": "conductor / pull-request / review",
        "external_id": "run1/review",
        "status": "queued",
        "output": {"title": "Queued", "summary": "Queued."},
        "actions": [{"label": "Cancel", "description": "Stop this run", "identifier": "cancel"}],
        "details_url": "https://conductor.example/runs/run1",
    }
    assert shown["review"].check_run_id == 31
    assert not shown["review"].completed


async def test_a_step_goes_through_its_states_on_one_check_run(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    last: Any = {}
    for now in (step(), step(StepState.RUNNING, started_at=EPOCH), done(started_at=EPOCH)):
        last = await show(reporter, run(now), last, {"review": result()} if now.done else {})
    assert len(stub.calls("POST", CHECKS)) == 1
    started, ended = (seen.json for seen in stub.calls("PATCH", f"{CHECKS}/31"))
    assert (started["status"], started["started_at"]) == ("in_progress", "2026-01-05T09:00:00Z")
    assert (ended["status"], ended["conclusion"]) == ("completed", "success")
    assert ended["actions"][0]["identifier"] == "retry"
    assert last["review"].completed


async def test_what_did_not_change_costs_no_call(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    two = run(step(), step(StepState.PENDING, name="tests"))
    last = await show(reporter, two)
    assert len(stub.seen) == 3
    again = await show(reporter, two.model_copy(update={"version": 9, "updated_at": EPOCH}), last)
    assert again == last
    assert len(stub.seen) == 3


async def test_an_approval_is_asked_for_with_a_button_and_goes_on_in_a_new_check(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    last = await show(reporter, run(step(StepState.WAITING, queued_at=EPOCH)))
    waiting = stub.calls("POST", CHECKS)[0].json
    assert (waiting["status"], waiting["conclusion"]) == ("completed", "action_required")
    assert [one["identifier"] for one in waiting["actions"]] == ["approve", "cancel"]
    last = await show(reporter, run(step()), last)
    assert last["review"].check_run_id == 32
    assert stub.calls("PATCH", f"{CHECKS}/31") == []


async def test_a_check_somebody_deleted_is_made_again(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    last = await show(reporter, run())
    stub.on("PATCH", f"{CHECKS}/31", Reply({"message": "Not Found"}, 404))
    last = await show(reporter, run(step(StepState.RUNNING)), last)
    assert last["review"].check_run_id == 32


@pytest.mark.parametrize("conclusion", list(Conclusion))
async def test_a_conclusion_is_github_s_own_word(
    stub: GitHubStub, reporter: GitHubReporter, conclusion: Conclusion
) -> None:
    await show(reporter, run(done(conclusion)))
    assert stub.calls("POST", CHECKS)[0].json["conclusion"] == conclusion.value


async def test_a_success_that_did_not_see_everything_is_neutral_and_says_so(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    coverage = Coverage(seen=("a",), unseen=(Unseen(path="b", reason="budget spent"),))
    found = {"review": result(coverage=coverage)}
    await show(reporter, run(done(title="No problems.")), results=found)
    body = stub.calls("POST", CHECKS)[0].json
    assert body["conclusion"] == "neutral"
    assert body["output"]["title"] == "No problems. Looked at 1 of 2 files."
    assert "- `b`: budget spent" in body["output"]["summary"]


async def test_the_summary_tells_result_failure_reason_and_cost(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    found = result(
        summary="Looked **hard** at hunter_2.",
        failure=Failure(kind="user", message="Set `budget`."),
        usage=Usage(calls=2, input_tokens=10, output_tokens=5, cost_usd=0.5, models=("m:x",)),
    )
    shown = run(done(Conclusion.FAILURE), reason="Superseded by @ada's push.")
    await show(reporter, shown, results={"review": found})
    summary = stub.calls("POST", CHECKS)[0].json["output"]["summary"]
    assert summary.split("\n\n") == [
        "Superseded by `@ada's` push.",
        "Looked **hard** at \\[redacted\\].",
        "Set `budget`.",
        "Looked at 1 of 1 files.",
        "2 model calls with `m:x`, 15 tokens, 0.5000 USD.",
    ]


async def test_a_result_that_is_being_written_down_costs_no_call_of_its_own(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    running = await show(reporter, run(step(StepState.RUNNING)))
    before = len(stub.seen)
    publishing = run(step(StepState.PUBLISHING, title="1 new finding", has_result=True))
    assert await show(reporter, publishing, running, {"review": result(finding())}) == running
    assert len(stub.seen) == before


async def test_annotations_go_in_batches_the_most_important_first(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    many = [finding(severity=Severity.LOW, title=f"low {n}") for n in range(119)]
    found = {"review": result(*many, finding(severity=Severity.CRITICAL, title="worst"))}
    last = await show(reporter, run(done()), results=found)
    batches = [stub.calls("POST", CHECKS)[0], *stub.calls("PATCH", f"{CHECKS}/31")]
    annotations = [seen.json["output"]["annotations"] for seen in batches]
    assert [len(batch) for batch in annotations] == [50, 50, 20]
    assert annotations[0][0]["title"] == "worst"
    assert annotations[0][0]["annotation_level"] == "failure"
    assert await show(reporter, run(done()), last, found) == last
    assert len(stub.calls("PATCH", f"{CHECKS}/31")) == 2


async def test_annotations_stopped_half_way_go_on_where_they_stopped(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    found = {"review": result(*(finding(title=f"n {n}") for n in range(120)))}
    stub.on(
        "PATCH",
        f"{CHECKS}/31",
        Reply({"message": "You have exceeded a secondary rate limit"}, 403),
        Reply({"id": 31}),
    )
    with pytest.raises(Parked) as caught:
        await show(reporter, run(done()), results=found)
    reported = caught.value.reported
    assert reported["review"].check_run_id == 31
    assert reported["review"].digest.endswith("+50")
    await reporter_after_pause(stub, reporter, found, reported)
    titles = [
        one["title"]
        for seen in (stub.calls("POST", CHECKS) + stub.calls("PATCH", f"{CHECKS}/31")[1:])
        for one in seen.json["output"].get("annotations", [])
    ]
    assert titles == [f"n {n}" for n in range(120)]


async def reporter_after_pause(
    stub: GitHubStub, reporter: GitHubReporter, found: Any, reported: Any
) -> None:
    clock: Any = stub.clock
    await clock.advance(61)
    await show(reporter, run(done()), reported, found)


@pytest.mark.parametrize("unfit", [{"side": "LEFT"}, {"start_line": 9, "line": 3}, {"path": ""}])
async def test_an_annotation_github_would_refuse_is_counted_instead(
    stub: GitHubStub, reporter: GitHubReporter, unfit: dict[str, Any]
) -> None:
    await show(reporter, run(done()), results={"review": result(finding(**unfit))})
    output = stub.calls("POST", CHECKS)[0].json["output"]
    assert "annotations" not in output
    assert "1 of 1 findings have no annotation." in output["summary"]


async def test_an_interrupted_report_hands_over_what_was_done(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    stub.on("POST", CHECKS, Reply({"id": 31}, 201), Reply(cut=True))
    with pytest.raises(Ambiguous) as caught:
        await show(reporter, run(step(), step(name="tests")))
    assert list(caught.value.reported) == ["review"]
    assert isinstance(caught.value.reported["review"], CheckState)


async def test_a_check_that_was_made_but_never_noted_is_found_by_our_own_number(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    listed = [
        {"id": 30, "external_id": "run1/review", "status": "queued", "app": {"id": 77}},
        {"id": 31, "external_id": "run1/review", "status": "queued", "app": {"id": 77}},
        {"id": 40, "external_id": "run1/review", "status": "queued", "app": {"id": 666}},
        {"id": 41, "external_id": "run2/review", "status": "queued", "app": {"id": 77}},
        {"id": 42, "external_id": None, "status": "queued", "app": None},
    ]
    stub.on("GET", LISTED, Reply({"total_count": 5, "check_runs": listed}))
    last = await show(reporter, run(), repeated=True)
    assert stub.calls("POST", CHECKS) == []
    assert last["review"].check_run_id == 31
    assert stub.calls("PATCH", f"{CHECKS}/31")[0].json["status"] == "queued"


async def test_nothing_is_looked_up_when_everything_was_noted(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    last = await show(reporter, run())
    await show(reporter, run(step(StepState.RUNNING)), last, repeated=True)
    assert stub.calls("GET", LISTED) == []


async def test_texts_and_buttons_stay_within_github_s_limits(
    stub: GitHubStub, reporter: GitHubReporter
) -> None:
    long = result(finding(title="t" * 900, explanation="é" * 90_000), summary="é" * 200_000)
    for state in StepState:
        stub.seen.clear()
        now = step(state, title="x" * 900, queued_at=EPOCH, conclusion=Conclusion.SUCCESS)
        await show(reporter, run(now), results={"review": long})
        body = stub.calls("POST", CHECKS)[0].json
        assert len(body["output"]["title"]) <= 255
        assert len(body["output"]["summary"].encode()) <= 65_535
        for one in body["output"].get("annotations", []):
            assert len(one["message"].encode()) <= 64_000
            assert len(one["title"]) <= 255
        assert 1 <= len(body["actions"]) <= 3
        for button in body["actions"]:
            assert len(button["label"]) <= 20
            assert len(button["description"]) <= 40
            assert len(button["identifier"]) <= 20
