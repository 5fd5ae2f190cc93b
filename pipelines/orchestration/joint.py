"""Decisions about one run that come at the same time are stored in one step.

The first steps of a run are claimed in the same moment, and each claim changes the same record: one
after the other, they would wait for the disk as often as there are steps.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pipelines.errors import Conflict
from pipelines.orchestration.changes import Changes
from pipelines.orchestration.turns import OneAtATime

T = TypeVar("T")
Deciding = Callable[[Changes], Awaitable[T]]


class Alone(Exception):
    """Nothing of it was stored: it is to be decided by itself, on the run as it is stored now."""


class _Gathering:
    """Those who decide together, one after the other, each on what those before have decided."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._turn = asyncio.Lock()
        self._opened = asyncio.Event()
        self._deciding = 0
        self._quiet = asyncio.Event()
        self._shared = False
        self._spoilt = False
        """Somebody's decision failed and may have left half of itself behind, or is not stored."""
        self._ended = asyncio.Event()
        self._storing: asyncio.Task[None] | None = None

    async def lead(self, decision: Deciding[T]) -> T:
        """Return the outcome of the first decision, after which the others take their turns."""
        outcome = await self._decide(decision)
        self._opened.set()
        # Whoever was woken in the same moment joins.
        await asyncio.sleep(0)
        return outcome

    async def join(self, decision: Deciding[T]) -> T:
        """Return the outcome of a further decision once it is stored; raises Alone."""
        self._shared = True
        self._deciding += 1
        try:
            await self._opened.wait()
            async with self._turn:
                outcome = await self._decide(decision)
        finally:
            self._deciding -= 1
            if not self._deciding:
                self._quiet.set()
        await self._ended.wait()
        self._check()
        return outcome

    async def store(self) -> None:
        """Store what was decided, now that nobody can join; raises Alone."""
        while self._deciding:
            self._quiet.clear()
            await self._quiet.wait()
        self._check()
        if not self._shared:
            await self._commit()
            return
        # If the first goes away now, it must not take along what the others have decided.
        self._storing = asyncio.create_task(self._commit())
        await asyncio.shield(self._storing)

    def end(self) -> None:
        """Let nobody wait for what will not come."""
        if self._storing is None and not self._ended.is_set():
            self._spoilt = True
            self._opened.set()
            self._ended.set()

    async def _decide(self, decision: Deciding[T]) -> T:
        self._check()
        try:
            return await decision(self._changes)
        except BaseException as error:
            self._spoilt = True
            if isinstance(error, Conflict):
                raise Alone from error
            raise

    def _check(self) -> None:
        if self._spoilt:
            raise Alone

    async def _commit(self) -> None:
        try:
            await self._changes.commit()
        except BaseException as error:
            self._spoilt = True
            if isinstance(error, Exception if self._shared else Conflict):
                raise Alone from error
            raise
        finally:
            self._ended.set()


class JointDecisions:
    """Gathers decisions by the run that they are about; those about one run never overlap."""

    def __init__(self, changes: Callable[[], Changes]) -> None:
        self._changes = changes
        self._open: dict[str, _Gathering] = {}
        self._one_at_a_time = OneAtATime()

    async def decide(self, about: str, decision: Deciding[T]) -> T:
        """Return the decision's outcome once it is stored; raises Alone if it was not."""
        if about in self._open:
            return await self._open[about].join(decision)
        gathering = self._open[about] = _Gathering(self._changes())
        try:
            async with self._one_at_a_time(about):
                outcome = await gathering.lead(decision)
                del self._open[about]
                await gathering.store()
                return outcome
        finally:
            if self._open.get(about) is gathering:
                del self._open[about]
            gathering.end()

    async def alone(self, about: str, decision: Callable[[], Awaitable[T]]) -> T:
        """Return what is decided while nobody else of this process decides about the run."""
        async with self._one_at_a_time(about):
            return await decision()
