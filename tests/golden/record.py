"""Records the golden histories anew: ``python -m tests.golden.record [NAME…]``.

Do that when a prompt or a decision was changed on purpose, and look at the difference: every file
that changes is a run that would now go another way.
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.model import Frozen, WorkflowRun
from pipelines.replay.recording import Recording
from pipelines.replay.tape import Passage
from tests.golden.scenarios import SCENES
from tests.support.takes import Voice, take

FOLDER = Path(__file__).parent / "histories"


class Golden(Frozen):
    """One run on record: how it ended, what happened to it, what its attempts saw."""

    run: WorkflowRun
    history: tuple[Passage, ...]
    recordings: tuple[Recording, ...]


def file_of(name: str) -> Path:
    return FOLDER / f"{name.replace(' ', '-')}.json"


def read(file: Path) -> Golden:
    """What a file holds; fields that it is older than have their defaults."""
    return Golden.model_validate_json(file.read_text())


async def recorded(name: str) -> Golden:
    """Play the scene of that name."""
    scene = SCENES[name]()
    taken = await take(scene.task, scene.workplace, Voice(*scene.says), scene.clock)
    return Golden(run=taken.run, history=tuple(taken.history), recordings=tuple(taken.recordings))


async def main(names: Sequence[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in names or SCENES:
        golden = await recorded(name)
        changed = not file_of(name).exists() or read(file_of(name)) != golden
        if changed:
            file_of(name).write_text(golden.model_dump_json() + "\n")
        (recording,) = golden.recordings
        print(f"{'* ' if changed else '  '}{name}: {recording.result and recording.result.title}")
    for stale in set(FOLDER.glob("*.json")) - {file_of(name) for name in SCENES}:
        print(f"- {stale.name}")
        stale.unlink()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
