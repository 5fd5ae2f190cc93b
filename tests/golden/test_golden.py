"""Every run on record goes the same way again; one that does not is a change to look at.

If it was meant: ``python -m tests.golden.record`` and look at what changed.
"""

import re
from pathlib import Path

import pytest

from pipelines.agents.registry import AGENTS
from pipelines.ports import Batch
from pipelines.replay.replay import replay_run
from pipelines.replay.tape import Tape
from pipelines.stores.memory import MemoryBackend
from tests.golden.record import FOLDER, Golden, file_of, read, recorded
from tests.golden.scenarios import SCENES
from tests.support.clock import VirtualClock

HISTORIES = sorted(FOLDER.glob("*.json"))


def test_every_scene_is_recorded_and_nothing_else() -> None:
    assert sorted(file_of(name) for name in SCENES) == HISTORIES


def test_every_agent_has_a_history() -> None:
    agents = {SCENES[name]().task.agent for name in SCENES}
    assert agents >= set(AGENTS), "an agent without a golden history: add scenes"


@pytest.mark.parametrize("file", HISTORIES, ids=lambda file: file.stem)
async def test_a_run_on_record_goes_the_same_way_again(file: Path) -> None:
    golden = read(file)
    tape = await stored(golden)

    report = await replay_run(tape, golden.run)

    (step,) = report.steps
    assert report.note == ""
    assert report.engine is None, str(report.engine)
    assert step.difference is None, str(step.difference)
    assert (step.outcome, step.drift) == ("equal", ())


async def test_a_run_of_real_tests_is_recorded_the_same_on_every_machine() -> None:
    name = "test sees the suite pass"

    again = await recorded(name)

    assert again == read(file_of(name))


@pytest.mark.parametrize("file", HISTORIES, ids=lambda file: file.stem)
def test_no_history_names_a_folder_of_the_machine_it_was_recorded_on(file: Path) -> None:
    assert re.findall(r"/(?:home|root|tmp|work|Users|var)/[\w./-]*", file.read_text()) == []


async def stored(golden: Golden) -> Tape:
    """The history and the recordings as they would be in a store."""
    store = MemoryBackend(VirtualClock())
    tape = Tape(store)
    for recording in golden.recordings:
        await store.commit(Batch(writes=tape.recorded(recording, golden.run.updated_at)))
    for passage in golden.history:
        before = golden.run.model_copy(update={"version": passage.version - 1})
        start = passage.start or golden.run
        write = tape.passed(None if passage.start else before, start, passage.happened)
        await store.commit(Batch(writes=[write]))
    return tape
