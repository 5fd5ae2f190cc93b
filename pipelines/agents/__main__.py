"""The agent process: takes tasks on its standard input and runs them here.

It holds the model keys that it finds in its environment and no other credential; whatever else it
needs it asks of its parent. It ends when its input ends or its parent dies.
"""

import asyncio
import ctypes
import itertools
import logging
import os
import signal
import sys
from collections.abc import Mapping
from functools import partial
from typing import BinaryIO

import structlog

from pipelines.agents.base import log_fault
from pipelines.agents.frames import (
    FROM_PARENT,
    Ask,
    Called,
    Cancel,
    Done,
    FrameTooLarge,
    Noted,
    Reply,
    Run,
    Spent,
    ToChild,
    Trouble,
    Withdraw,
    encode,
    read_frame,
)
from pipelines.agents.remote import RemoteWorkplace
from pipelines.agents.requests import Request
from pipelines.agents.runner import LocalRunner
from pipelines.errors import UserError
from pipelines.integrations.llm.base import LanguageModel
from pipelines.integrations.llm.chain import CallRecord
from pipelines.integrations.llm.factory import ProviderSettings, build_chain
from pipelines.integrations.llm.http import Limits, new_client
from pipelines.model import Frozen, Note, Usage
from pipelines.system import SystemClock

_PR_SET_PDEATHSIG = 1


class Worker:
    """Runs the parent's tasks side by side until its input ends."""

    def __init__(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        self._source = source
        self._sink = sink
        self._settings = ProviderSettings.from_environment(os.environ)
        self._clock = SystemClock()
        self._limits = Limits()
        self._http = new_client(self._limits)
        self._runner = LocalRunner(self._models, self._clock)
        self._calls = itertools.count(1)
        self._open: dict[int, asyncio.Future[Reply]] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._sending = asyncio.Lock()

    async def serve(self) -> None:
        """Take frames until there are no more, then cancel what is still running."""
        try:
            while (body := await read_frame(self._source)) is not None:
                self._take(FROM_PARENT.validate_json(body))
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            await self._runner.close()
            await self._http.aclose()
            self._sink.close()

    async def ask(self, task_id: int, request: Request) -> str:
        """Ask the parent and return its answer as JSON; raises what went wrong there."""
        call = next(self._calls)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._open[call] = future
        try:
            await self._send(Ask(id=task_id, call=call, request=request))
            reply = await future
        except asyncio.CancelledError:
            self._sink.write(encode(Withdraw(id=task_id, call=call)))
            raise
        finally:
            del self._open[call]
        if reply.trouble:
            raise reply.trouble.error()
        return reply.answer

    def _take(self, message: ToChild) -> None:
        match message:
            case Run():
                running = asyncio.ensure_future(self._work(message))
                self._tasks[message.id] = running
                running.add_done_callback(lambda _: self._tasks.pop(message.id))
            case Cancel():
                if message.id in self._tasks:
                    self._tasks[message.id].cancel()
            case Reply():
                waiting = self._open.get(message.call)
                if waiting and not waiting.done():
                    waiting.set_result(message)

    async def _work(self, order: Run) -> None:
        number, task = order.id, order.task
        notes = partial(self._note, number) if order.noted else None
        try:
            workplace = RemoteWorkplace(partial(self.ask, number))
            tally = partial(self._tell, number)
            result = await self._runner.run(task, workplace, tally=tally, notes=notes)
            await self._send(Done(id=number, result=result))
        except FrameTooLarge as error:
            refusal = UserError(f"The agent's result is too large ({error.size} bytes).")
            await self._send(Done(id=number, trouble=Trouble.of(refusal)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent must learn of it
            log_fault(task, error)
            await self._send(Done(id=number, trouble=Trouble.of(error)))

    def _models(self, names: tuple[str, ...]) -> LanguageModel:
        return build_chain(
            names,
            self._settings,
            clock=self._clock,
            recorder=self._record,
            limits=self._limits,
            http=self._http,
        )

    def _tell(self, number: int, usage: Usage) -> None:
        self._sink.write(encode(Spent(id=number, usage=usage)))

    def _note(self, number: int, note: Note) -> None:
        self._sink.write(encode(Noted(id=number, note=note)))

    def _record(self, record: CallRecord) -> None:
        self._sink.write(encode(Called(record=record)))

    async def _send(self, message: Frozen) -> None:
        frame = encode(message)
        async with self._sending:
            self._sink.write(frame)
            await self._sink.drain()


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, where the kernel can (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def log_to_parent(environ: Mapping[str, str]) -> None:
    """Write each log event as one line of JSON to standard error, which the parent passes on."""
    wanted = environ.get("CONDUCTOR_LOG_LEVEL", "").upper()
    level = logging.getLevelNamesMapping().get(wanted, logging.INFO)
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def claim_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Take the two pipes for frames alone; a stray print goes to standard error instead."""
    source, sink = os.dup(0), os.dup(1)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device, for its descriptor
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return os.fdopen(source, "rb", 0), os.fdopen(sink, "wb", 0)


async def main(source: BinaryIO, sink: BinaryIO) -> None:
    """Connect the pipes to the event loop and serve."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
    flow = asyncio.StreamReaderProtocol(asyncio.StreamReader())
    transport, _ = await loop.connect_write_pipe(lambda: flow, sink)
    await Worker(reader, asyncio.StreamWriter(transport, flow, None, loop)).serve()


if __name__ == "__main__":
    die_with_parent()
    log_to_parent(os.environ)
    asyncio.run(main(*claim_pipes()))
