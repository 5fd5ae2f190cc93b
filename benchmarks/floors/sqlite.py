"""A bare engine in one SQLite file (WAL, FULL): one writer thread, group commit, nothing else."""

import asyncio
import itertools
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from benchmarks.dag import NEEDS, RESULT, ROOTS, THEN

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE steps (run INTEGER, step TEXT, missing INTEGER, state INTEGER, result BLOB,
                    PRIMARY KEY (run, step)) WITHOUT ROWID;
"""
_ARRIVED = "UPDATE steps SET missing = missing - 1 WHERE run = ? AND step = ? RETURNING missing"
Job = Callable[[sqlite3.Connection], Any]


class Writer:
    """Applies whatever waits at a moment in one transaction."""

    def __init__(self, path: Path) -> None:
        self._queue: SimpleQueue[tuple[Job, asyncio.Future[Any]] | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._main, args=(path,), daemon=True)
        self._thread.start()

    async def do(self, job: Job) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()
        self._queue.put((job, future))
        return await future

    def _main(self, path: Path) -> None:
        db = sqlite3.connect(path, isolation_level=None)
        db.executescript(_SCHEMA)
        while (first := self._queue.get()) is not None:
            group = [first]
            while not self._queue.empty() and (more := self._queue.get()) is not None:
                group.append(more)
            db.execute("BEGIN IMMEDIATE")
            outcomes = [(future, job(db)) for job, future in group]
            db.execute("COMMIT")
            self._loop.call_soon_threadsafe(_tell, outcomes)
        db.close()

    async def close(self) -> None:
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)


def _tell(outcomes: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, outcome in outcomes:
        future.set_result(outcome)


def _start(run: int) -> Job:
    rows = [(run, step, len(needs)) for step, needs in NEEDS.items()]

    def job(db: sqlite3.Connection) -> None:
        db.executemany("INSERT INTO steps VALUES (?, ?, ?, 0, NULL)", rows)

    return job


def _claim(run: int, step: str) -> Job:
    def job(db: sqlite3.Connection) -> None:
        db.execute("UPDATE steps SET state = 1 WHERE run = ? AND step = ?", (run, step))

    return job


def _complete(run: int, step: str) -> Job:
    def job(db: sqlite3.Connection) -> list[str]:
        changed = db.execute(
            "UPDATE steps SET state = 2, result = ? WHERE run = ? AND step = ? AND state = 1",
            (RESULT, run, step),
        )
        if not changed.rowcount:
            return []
        ready: list[str] = []
        for then in THEN[step]:
            if db.execute(_ARRIVED, (run, then)).fetchone() == (0,):
                ready.append(then)
        return ready

    return job


class Floor:
    """Runs seven steps, each claimed and completed durably."""

    def __init__(self, folder: Path) -> None:
        self._writer = Writer(folder / "floor.db")
        self._numbers = itertools.count(1)

    async def run(self) -> None:
        number = next(self._numbers)
        await self._writer.do(_start(number))
        await asyncio.gather(*(self._step(number, step) for step in ROOTS))

    async def _step(self, number: int, step: str) -> None:
        await self._writer.do(_claim(number, step))
        ready = await self._writer.do(_complete(number, step))
        await asyncio.gather(*(self._step(number, then) for then in ready))

    async def close(self) -> None:
        await self._writer.close()
