"""An event loop in which waiting takes no time: when nothing else can happen, its clock jumps."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

from pipelines.ports import Clock
from tests.support.clock import EPOCH

T = TypeVar("T")


class _Jumping(selectors.DefaultSelector):
    def __init__(self, jump: Callable[[float], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        assert timeout is not None, "nothing will ever happen again"
        self._jump(timeout)
        return []


class WarpLoop(asyncio.SelectorEventLoop):
    """Only for code that waits for timers; a thread or a process would find its time gone."""

    def __init__(self) -> None:
        self._ahead = 0.0
        super().__init__(_Jumping(self._jump))

    def _jump(self, seconds: float) -> None:
        self._ahead += seconds

    def time(self) -> float:
        return super().time() + self._ahead


class LoopClock(Clock):
    """The loop's own time, so that timeouts and sleepers agree about it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return self._loop.time() - self._began

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


def warped(work: Coroutine[Any, Any, T]) -> T:
    """Return what the work returns, however long it waits."""
    with asyncio.Runner(loop_factory=WarpLoop) as runner:
        return runner.run(work)
