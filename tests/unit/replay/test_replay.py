"""A recorded task and a recorded run come out the same again, and what changed is named."""

import sys
from datetime import timedelta

import pytest

from pipelines.agents.registry import AGENTS
from pipelines.errors import Retryable, UserError
from pipelines.integrations.llm.mock import Script
from pipelines.model import Conclusion
from pipelines.ports import Batch, Write
from pipelines.redaction import find_secrets
from pipelines.replay.masking import mask
from pipelines.replay.player import replay
from pipelines.replay.recording import Recorder, Recording
from pipelines.replay.replay import fold, replay_run
from pipelines.replay.tape import CHUNK, Tape
from pipelines.stores.backend import StorageBackend
from pipelines.stores.memory import MemoryBackend
from pipelines.stores.shelf import DAY, Keep
from pipelines.stores.tenancy import Scope, delete, tenant_of
from tests.support.asker import COMMAND, Asker
from tests.support.clock import EPOCH, VirtualClock
from tests.support.models import proposal
from tests.support.takes import Take, record, take
from tests.support.workplace import MemoryWorkplace
from tests.unit.agents.material import review_task
from tests.unit.agents.test_process import running
from tests.unit.agents.test_remote import asking, workplace

PATH, LINE = "shop/cart.py", "    return sum(prices) / len(prices)"
HEAD = {PATH: f"def mean(prices):\n{LINE}\n"}
BASE = {PATH: "def mean(prices):\n    return 0\n"}
TENANT = "1/2"


def script(*replies: dict[str, object]) -> Script:
    return Script.model_validate({"rules": [{"replies": list(replies)}]})


FOUND = script({"json": {"findings": [proposal(PATH, 2, LINE)]}})


async def reviewed(head: dict[str, str] | None = None, model: Script = FOUND) -> Recording:
    return await record(review_task(run_id="run-1"), MemoryWorkplace(head or HEAD, BASE), model)


def altered(recording: Recording, **changes: object) -> Recording:
    return recording.model_copy(update=changes)


async def test_a_task_comes_out_the_same_again() -> None:
    recording = await reviewed()
    assert recording.result is not None
    assert [finding.path for finding in recording.result.findings] == [PATH]
    assert [asked.kind for asked in recording.asked] == ["changed_files", "read"]
    assert len(recording.said) == 1

    replayed = await replay(recording)

    assert replayed.drift == ()
    assert replayed.result == recording.result


@pytest.mark.parametrize(
    "model",
    [
        script({"status": 529, "message": "overloaded"}),
        script({"status": 401, "message": "no key"}),
        script({"broken": True}),
        script({"text": "no JSON at all"}),
        script({"text": "{", "stop": "length"}, {"json": {"findings": []}}),
        script({"text": "I will not", "stop": "refusal"}),
    ],
    ids=["overloaded", "key", "broken", "garbage", "repaired", "refused"],
)
async def test_what_went_wrong_with_a_model_goes_wrong_again(model: Script) -> None:
    recording = await reviewed(model=model)
    replayed = await replay(recording)
    assert (replayed.result, replayed.drift) == (recording.result, ())


async def test_what_the_workplace_refused_is_refused_again() -> None:
    class Refusing(MemoryWorkplace):
        async def changed_files(self):
            raise Retryable("GitHub is away", retry_after=7.0, dependency="github")

    recording = await record(review_task(run_id="run-1"), Refusing(HEAD), FOUND)
    assert recording.result is not None
    assert recording.result.failure is not None
    assert recording.result.failure.retry_after == 7.0
    assert (await replay(recording)).result == recording.result


async def test_every_kind_of_question_is_recorded_and_answered_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(AGENTS, Asker.name, Asker)
    task = asking("everything").model_copy(update={"deadline": EPOCH + timedelta(hours=1)})
    recording = await record(task, workplace(), FOUND)
    assert recording.result is not None
    assert recording.result.status == "completed"
    assert len(recording.asked) == 14
    replayed = await replay(recording)
    assert (replayed.result, replayed.drift) == (recording.result, ())


async def test_notes_come_through_the_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(AGENTS, Asker.name, Asker)
    task = asking("everything")
    recorder = Recorder(task, workplace())
    async with running(command=[sys.executable, "-c", COMMAND]) as runner:
        result = await runner.run(task, recorder.workplace, notes=recorder.note)
    recording = recorder.recording(result)
    assert recording.readings
    replayed = await replay(recording)
    assert (replayed.result, replayed.drift) == (result, ())


async def test_another_decision_of_the_code_is_a_difference() -> None:
    recording = await reviewed()
    assert recording.result is not None
    kept = recording.result.model_copy(update={"conclusion": Conclusion.SUCCESS})
    told = await told_of(altered(recording, result=kept))
    assert told.outcome == "diverged"
    assert str(told.difference) == "conclusion: recorded 'success', now 'neutral'"


async def test_a_changed_prompt_is_drift_and_the_recorded_answer_is_used() -> None:
    recording = await reviewed()
    (said,) = recording.said
    other = said.exchange.model_copy(update={"digest": "0" * 64})
    drifted = altered(recording, said=(said.model_copy(update={"exchange": other}),))

    told = await told_of(drifted)

    assert told.outcome == "drifted"
    assert told.difference is None
    assert "`review` changed (000000000000 → " in told.drift[0]


async def test_a_question_that_was_not_recorded_is_named() -> None:
    recording = await reviewed()
    told = await told_of(altered(recording, asked=recording.asked[:1]))
    assert told.outcome == "diverged"
    assert "`read` was asked for, and nothing was recorded that answers it" in told.drift


async def test_answers_that_nobody_asks_for_any_more_are_named() -> None:
    recording = await reviewed()
    more = (*recording.asked, recording.asked[0])
    told = await told_of(altered(recording, asked=more))
    assert told.outcome == "drifted"
    assert told.drift == ("`changed_files` was not asked for again",)


async def told_of(recording: Recording):
    store = MemoryBackend(VirtualClock())
    tape = Tape(store)
    staged = await take(review_task(run_id="run-1"), MemoryWorkplace(HEAD, BASE), FOUND)
    await keep(store, tape, staged, [recording])
    (told,) = (await replay_run(tape, staged.run)).steps
    return told


async def keep(
    store: StorageBackend, tape: Tape, staged: Take, recordings: list[Recording] | None = None
) -> None:
    """Store a run's history and its recordings, or these instead."""
    for recording in recordings or staged.recordings:
        await store.commit(Batch(writes=tape.recorded(recording, EPOCH)))
    for passage in staged.history:
        before = staged.run.model_copy(update={"version": passage.version - 1})
        run = passage.start or staged.run
        write = tape.passed(before if passage.start is None else None, run, passage.happened)
        await store.commit(Batch(writes=[write]))


# --- runs ----------------------------------------------------------------------------------------


@pytest.fixture
def store() -> MemoryBackend:
    return MemoryBackend(VirtualClock())


@pytest.fixture
def tape(store: MemoryBackend) -> Tape:
    return Tape(store)


@pytest.fixture
async def staged(store: MemoryBackend, tape: Tape) -> Take:
    staged = await take(review_task(run_id="run-1"), MemoryWorkplace(HEAD, BASE), FOUND)
    await keep(store, tape, staged)
    return staged


async def test_a_run_comes_out_the_same_again(tape: Tape, staged: Take) -> None:
    report = await replay_run(tape, staged.run)
    assert report.engine is None
    assert report.note == ""
    assert report.transitions == len(staged.history) == 4
    assert [step.outcome for step in report.steps] == ["equal"]
    assert report.ok()


async def test_an_engine_that_decides_otherwise_is_noticed(tape: Tape, staged: Take) -> None:
    other = staged.run.model_copy(update={"conclusion": Conclusion.SUCCESS})
    report = await replay_run(tape, other)
    assert report.engine is not None
    assert report.engine.where == "conclusion"
    assert not report.ok(allow_drift=True)


async def test_a_history_with_a_hole_says_so(staged: Take) -> None:
    assert fold([*staged.history[:1], *staged.history[2:]], staged.run) == (
        None,
        "a part of the history of this run is missing",
    )
    assert fold(staged.history[1:], staged.run)[1].endswith("does not begin at its start")


async def test_policy_is_asked_again_for_each_effect() -> None:
    store = MemoryBackend(VirtualClock())
    tape = Tape(store)
    staged = await take(review_task(run_id="run-1"), MemoryWorkplace(HEAD, BASE), FOUND)
    await keep(store, tape, staged)

    async def allowed(*_: object) -> str:
        return "allow"

    async def denied(*_: object) -> str:
        return "deny: not any more"

    same = await replay_run(tape, staged.run, judge=allowed, verdicts=allowed)
    assert [effect.same for step in same.steps for effect in step.effects] == [True]
    changed = await replay_run(tape, staged.run, judge=denied, verdicts=allowed)
    assert not changed.ok()


async def test_a_run_of_which_nothing_is_recorded_says_so(tape: Tape, staged: Take) -> None:
    other = staged.run.model_copy(update={"id": "run-2"})
    with pytest.raises(UserError, match="Nothing is recorded of run run-2"):
        await replay_run(tape, other)


# --- the tape ------------------------------------------------------------------------------------


async def test_a_large_recording_is_stored_in_pieces_and_whole_again(
    store: MemoryBackend, tape: Tape
) -> None:
    noise = "\n".join(f"# {n * 7919 % 1_000_003:x}" for n in range(120_000))
    recording = await reviewed({**HEAD, "noise.py": noise})
    writes = tape.recorded(recording, EPOCH)
    assert len(writes) > 1
    assert all(len(write.value or b"") < 2 * CHUNK for write in writes)

    await store.commit(Batch(writes=writes))
    assert await tape.recordings(TENANT, "run-1") == [recording]

    await store.commit(Batch(writes=[Write(writes[0].key, None)]))
    with pytest.raises(UserError, match="is missing"):
        await tape.recordings(TENANT, "run-1")


async def test_an_attempt_that_saw_too_much_says_so_and_is_not_replayed() -> None:
    recorder = Recorder(review_task(run_id="run-1"), MemoryWorkplace(HEAD, BASE), limit=10)
    await recorder.workplace.changed_files()
    recording = recorder.recording((await reviewed()).result)
    assert (recording.complete, recording.asked) == (False, ())
    told = await told_of(recording)
    assert (told.outcome, told.note) == (
        "not replayed",
        "it saw more than is recorded of one task",
    )


async def test_recordings_end_with_their_time_and_their_number(staged: Take) -> None:
    clock = VirtualClock()
    store = MemoryBackend(clock)
    tape = Tape(store, recordings=Keep(30 * DAY, 2), histories=Keep(60 * DAY, 100))
    for attempt in range(1, 5):
        task = review_task(run_id="run-1", attempt=attempt)
        recording = Recorder(task, MemoryWorkplace(HEAD)).recording(None)
        await store.commit(
            Batch(writes=tape.recorded(recording, EPOCH + timedelta(seconds=attempt)))
        )
    assert await tape.prune() == 2
    assert [r.task.attempt for r in await tape.recordings(TENANT, "run-1")] == [3, 4]
    await clock.advance(31 * DAY)
    assert await tape.recordings(TENANT, "run-1") == []


async def test_recordings_and_histories_go_with_their_tenant(
    store: MemoryBackend, staged: Take
) -> None:
    assert {tenant_of(key) async for key, _ in store.scan("")} == {TENANT}
    await delete(store, Scope(1, 2))
    assert [key async for key, _ in store.scan("")] == []


# --- secrets -------------------------------------------------------------------------------------

SECRETS = [
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "a1B2" * 9,
    "sk-ant-" + "api03-a1B2c3D4e5F6g7H8",
    "AKIA" + "Z9" * 8,
    "xoxb-" + "123456789012-abcdefABCDEF",
    "aws_secret_access_key = " + "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "https://bob:hunter22@example.org/",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_masked_secret_is_gone_but_still_looks_like_one(secret: str) -> None:
    text = f"before\nKEY = '{secret}'\nafter"
    clean, count = mask(text)
    assert count == 1
    assert clean != text
    assert len(clean) == len(text)
    (old,), (new,) = find_secrets(text), find_secrets(clean)
    assert (new.kind, new.start) == (old.kind, old.start)
    assert text[old.start : old.end] not in clean


async def test_a_secret_in_the_code_is_not_recorded_and_still_found_again() -> None:
    secret = SECRETS[0]
    recording = await reviewed({**HEAD, "settings.py": f"TOKEN = '{secret}'\n"})
    assert secret not in recording.model_dump_json()
    assert recording.masked
    assert recording.result is not None
    replayed = await replay(recording)
    assert [f.title for f in replayed.result.findings] == [
        f.title for f in recording.result.findings
    ]
    assert any("settings.py" in f.path for f in replayed.result.findings)
