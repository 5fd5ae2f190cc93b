"""Where recordings and histories are stored: beside their run, compressed, for a bounded time."""

import asyncio
import base64
import zlib
from collections.abc import Sequence
from datetime import datetime

from pydantic import AwareDatetime, Field

from pipelines.errors import UserError
from pipelines.model import Frozen, TaskResult, WorkflowRun
from pipelines.orchestration.transitions import RunEvent
from pipelines.ports import Batch, Write
from pipelines.replay.recording import Recorder, Recording
from pipelines.stores.backend import StorageBackend
from pipelines.stores.codec import decode, encode
from pipelines.stores.shelf import DAY, Keep, Shelf

RECORDINGS_KEPT = Keep(seconds=30 * DAY, count=4_000)
"""The count is of chunks: at most about 1 GB a repository."""
HISTORIES_KEPT = Keep(seconds=60 * DAY, count=100_000)

CHUNK = 256 * 1024
_SMALL = 128 * 1024
_MAX_RAW = 64 * 1024 * 1024
_PAGE = 100


class Chunk(Frozen):
    """A piece of a compressed recording."""

    number: int = Field(ge=0)
    of: int = Field(ge=1)
    data: str
    """In base 64."""
    at: AwareDatetime
    schema_version: int = 1


class Happening(Frozen):
    """One event of a run and when it was taken in."""

    event: RunEvent
    at: AwareDatetime


class Passage(Frozen):
    """What happened to a run in one stored transition; ``start`` is a new run before anything."""

    version: int = Field(ge=1)
    happened: tuple[Happening, ...]
    start: WorkflowRun | None = None
    at: AwareDatetime
    schema_version: int = 1


class Tape:
    """Writes for the batches of others, and what a replay reads."""

    def __init__(
        self,
        backend: StorageBackend,
        *,
        recordings: Keep = RECORDINGS_KEPT,
        histories: Keep = HISTORIES_KEPT,
    ) -> None:
        self._backend = backend
        self._chunks = Shelf(backend, "recording", Chunk, recordings, lambda chunk: chunk.at)
        self._passages = Shelf(backend, "history", Passage, histories, lambda passage: passage.at)

    async def taken(
        self, recorder: Recorder, result: TaskResult | None, at: datetime
    ) -> Sequence[Write]:
        """Return what stores what a recorder has; nothing else waits for a large one."""
        if recorder.size < _SMALL:
            return self.recorded(recorder.recording(result), at)
        return await asyncio.to_thread(lambda: self.recorded(recorder.recording(result), at))

    def recorded(self, recording: Recording, at: AwareDatetime) -> Sequence[Write]:
        """Return what stores a recording; of the same attempt it replaces the one before."""
        task = recording.task
        tenant = task.change.repository.tenant
        packed = zlib.compress(encode(recording), 6)
        pieces = [packed[start : start + CHUNK] for start in range(0, len(packed), CHUNK)]
        writes: list[Write] = []
        for number, piece in enumerate(pieces):
            place = (task.run_id, task.step, f"{task.attempt:06d}", f"{number:06d}")
            data = base64.b64encode(piece).decode()
            chunk = Chunk(number=number, of=len(pieces), data=data, at=at)
            writes.append(self._chunks.write(tenant, place, chunk))
        return writes

    def passed(
        self, before: WorkflowRun | None, run: WorkflowRun, happened: Sequence[Happening]
    ) -> Write:
        """Return what stores a transition of a run; ``run`` is a new one as it was at its start.

        ``before`` is the stored run that the transition began with, None for a new one.
        """
        passage = Passage(
            version=before.version + 1 if before else 1,
            happened=tuple(happened),
            start=None if before else run,
            at=happened[-1].at if happened else run.updated_at,
        )
        place = (run.id, f"{passage.version:08d}")
        return self._passages.write(run.change.repository.tenant, place, passage)

    async def recordings(self, tenant: str, run_id: str) -> Sequence[Recording]:
        """Return the recordings of a run, by step and attempt.

        Raises UserError for one of which a part is missing or that cannot be read.
        """
        chunks: dict[str, list[Chunk]] = {}
        prefix = self._chunks.key(tenant, run_id) + "/"
        async for key, record in self._backend.scan(prefix):
            attempt = key.removeprefix(prefix).rpartition("/")[0]
            chunks.setdefault(attempt, []).append(decode(Chunk, record.value))
        return [_joined(attempt, parts) for attempt, parts in chunks.items()]

    async def history(self, tenant: str, run_id: str) -> Sequence[Passage]:
        """Return what happened to a run, transition by transition."""
        return [passage async for passage in self._passages.all(tenant, run_id)]

    async def prune(self) -> int:
        """Delete what is more than each repository may have; return how many records that was."""
        surplus = [*await self._chunks.surplus(), *await self._passages.surplus()]
        for start in range(0, len(surplus), _PAGE):
            page = [Write(place, None) for place in surplus[start : start + _PAGE]]
            await self._backend.commit(Batch(writes=page))
        return len(surplus)


def _joined(attempt: str, chunks: Sequence[Chunk]) -> Recording:
    newest = chunks[0]
    parts = [chunk for chunk in chunks if (chunk.of, chunk.at) == (newest.of, newest.at)]
    if [chunk.number for chunk in parts] != list(range(newest.of)):
        raise UserError(f"A part of the recording of {attempt} is missing; it cannot be replayed.")
    packed = b"".join(base64.b64decode(chunk.data) for chunk in parts)
    unpacking = zlib.decompressobj()
    raw = unpacking.decompress(packed, _MAX_RAW)
    if not unpacking.eof:
        raise UserError(f"The recording of {attempt} is larger than {_MAX_RAW} bytes.")
    return decode(Recording, raw)
