"""Claims that wait for work: one is woken at a time, the one that has waited longest."""

import asyncio
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager

from pipelines.orchestration.bus.timers import Timers


class Bell:
    """Rings once, when there may be work for the claim that holds it."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._ends: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    @property
    def rung(self) -> bool:
        """Whether it rang before the time was over."""
        return self._ends.done() and not self._ends.cancelled() and self._ends.result()

    @property
    def ended(self) -> bool:
        """Whether it has no further use."""
        return self._ends.done()

    def ring(self) -> None:
        """Wake the claim, now or as soon as it waits."""
        self._end(rung=True)

    async def wait(self, seconds: float) -> None:
        """Return when it rings or after so many seconds."""
        timer = self._timers.after(seconds, lambda: self._end(rung=False))
        try:
            await self._ends
        finally:
            self._timers.cancel(timer)

    def _end(self, *, rung: bool) -> None:
        if not self._ends.done():
            self._ends.set_result(rung)


class Waiting:
    """Who waits for which queues."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._bells: dict[str, dict[Bell, None]] = {}
        self._rings: Counter[str] = Counter()
        self._rings_of_all = 0

    @contextmanager
    def bell(self, queues: Sequence[str]) -> Generator[Bell]:
        """Hold a bell for these queues while the context is open."""
        bell = Bell(self._timers)
        for queue in queues:
            self._bells.setdefault(queue, {})[bell] = None
        try:
            yield bell
        finally:
            for queue in set(queues):
                self._bells[queue].pop(bell)
                if not self._bells[queue]:
                    del self._bells[queue]

    def rings(self, queues: Iterable[str]) -> int:
        """Return a number that grows whenever somebody was to be woken for one of these queues."""
        return self._rings_of_all + sum(self._rings[queue] for queue in queues)

    def wake(self, queue: str, number: int = 1) -> None:
        """Wake the claims that have waited longest for this queue."""
        self._rings[queue] += 1
        self.pass_on(queue, number)

    def pass_on(self, queue: str, number: int = 1) -> None:
        """Wake others in the place of a claim that was woken and may leave something behind."""
        for bell in tuple(self._bells.get(queue, ())):
            if number <= 0:
                return
            if not bell.ended:
                bell.ring()
                number -= 1

    def wake_all(self) -> None:
        """Wake everybody."""
        self._rings_of_all += 1
        for queue in tuple(self._bells):
            self.wake(queue, len(self._bells[queue]))
