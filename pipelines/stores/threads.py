"""One thread that does blocking work in groups, and answers coroutines."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar, cast

from pipelines.errors import NotStored

C = TypeVar("C")
T = TypeVar("T")

Job = Callable[[C], Any]
Outcome = tuple[bool, Any]
"""Whether the job failed, and what it returned or raised."""

_GROUP = 512


class GroupThread(Generic[C]):
    """Runs jobs in the order in which they came, together with all that wait at that moment."""

    def __init__(self, name: str, work: Callable[[Sequence[Job[C]]], Sequence[Outcome]]) -> None:
        self._work = work
        self._queue: SimpleQueue[tuple[Job[C], asyncio.Future[Any]] | None] = SimpleQueue()
        self._closed: asyncio.Future[None] | None = None
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()

    async def run(self, job: Callable[[C], T]) -> T:
        """Return what the job returns; a cancelled caller does not stop a job that was accepted."""
        if self._closed is not None:
            raise NotStored("The store is closed.")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.put((job, future))
        return cast("T", await future)

    async def close(self) -> None:
        """Finish every accepted job, then end the thread."""
        if self._closed is None:
            self._closed = asyncio.get_running_loop().create_future()
            self._queue.put(None)
        await asyncio.shield(self._closed)
        self._thread.join()

    def _main(self) -> None:
        while group := self._take():
            outcomes = self._work([job for job, _ in group])
            answers = [
                (future, outcome) for (_, future), outcome in zip(group, outcomes, strict=True)
            ]
            loop = group[0][1].get_loop()
            loop.call_soon_threadsafe(_answer, answers)
        closed = self._closed
        if closed is not None:
            closed.get_loop().call_soon_threadsafe(closed.set_result, None)

    def _take(self) -> list[tuple[Job[C], asyncio.Future[Any]]]:
        """Wait for one job and take the others that are there; empty at the end."""
        first = self._queue.get()
        if first is None:
            return []
        group = [first]
        while len(group) < _GROUP:
            try:
                item = self._queue.get_nowait()
            except Empty:
                break
            if item is None:
                self._queue.put(None)
                break
            group.append(item)
        return group


def _answer(answers: Sequence[tuple[asyncio.Future[Any], Outcome]]) -> None:
    for future, (failed, value) in answers:
        if future.cancelled():
            continue
        if failed:
            future.set_exception(value)
        else:
            future.set_result(value)
