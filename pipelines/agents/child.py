"""One agent process as its parent sees it: pipes, tasks in flight, and its end."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.agents.frames import (
    Ask,
    BrokenProtocol,
    Called,
    Cancel,
    Done,
    FrameTooLarge,
    Noted,
    Reply,
    Run,
    Spent,
    ToParent,
    Trouble,
    Withdraw,
    decode_from_child,
    encode,
    read_frame,
)
from pipelines.errors import Retryable, UserError
from pipelines.integrations.llm.chain import Recorder
from pipelines.integrations.llm.deadline import DeadlinePassed, within
from pipelines.model import Task, TaskResult
from pipelines.ports import Clock, Notes, Tally, Workplace

MAX_ASKS = 64
"""Questions that a task may have open at once; an honest one keeps to fewer."""
MAX_LINE = 8192


@dataclass(slots=True)
class _Job:
    task: Task
    workplace: Workplace
    tally: Tally | None
    notes: Notes | None
    result: asyncio.Future[TaskResult]
    asks: dict[int, asyncio.Task[None]] = field(default_factory=dict[int, asyncio.Task[None]])
    """By call: what its workplace is doing for it."""


class Child:
    """Made by ``start``; after ``gone`` every task fails and only ``stop`` makes sense.

    ``overtime_seconds`` after its deadline a silent task shows that the process is stuck.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        *,
        clock: Clock,
        log: Callable[[str], None],
        recorder: Recorder | None,
        grace_seconds: float,
        overtime_seconds: float,
    ) -> None:
        self._process = process
        self._clock = clock
        self._log = log
        self._recorder = recorder
        self._grace_seconds = grace_seconds
        self._overtime_seconds = overtime_seconds
        self._numbers = itertools.count(1)
        self._jobs: dict[int, _Job] = {}
        self._writing = asyncio.Lock()
        self._gone = False
        self._tasks = [asyncio.ensure_future(self._listen()), asyncio.ensure_future(self._hear())]

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        clock: Clock,
        log: Callable[[str], None],
        recorder: Recorder | None,
        grace_seconds: float,
        overtime_seconds: float,
    ) -> "Child":
        """Start the process; raises Retryable if it cannot be started."""
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment,
                # A Ctrl-C on the terminal is for the parent, which then stops its children in turn.
                start_new_session=True,
            )
        except OSError as error:
            raise Retryable(f"The agent process could not be started: {error.strerror}.") from error
        return cls(
            process,
            clock=clock,
            log=log,
            recorder=recorder,
            grace_seconds=grace_seconds,
            overtime_seconds=overtime_seconds,
        )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def gone(self) -> bool:
        """Whether the process ended or may not be trusted any more."""
        return self._gone

    async def run(
        self,
        task: Task,
        workplace: Workplace,
        tally: Tally | None = None,
        notes: Notes | None = None,
    ) -> TaskResult:
        """Hand a task over and wait for its result; see ProcessRunner.run."""
        number = next(self._numbers)
        job = _Job(task, workplace, tally, notes, asyncio.get_running_loop().create_future())
        self._jobs[number] = job
        left = (task.deadline - self._clock.now()).total_seconds()
        try:
            return await within(
                self._clock, max(0.0, left) + self._overtime_seconds, self._carry_out(number, job)
            )
        except DeadlinePassed as error:
            self._give_up("The agent process is stuck")
            raise self._broken("did not answer in time") from error
        except asyncio.CancelledError:
            self._tell(Cancel(id=number))
            raise
        finally:
            del self._jobs[number]
            await _ended(job.asks)

    async def _carry_out(self, number: int, job: _Job) -> TaskResult:
        if self._gone:
            raise self._broken("ended")
        try:
            await self._send(Run(id=number, task=job.task, noted=job.notes is not None))
        except FrameTooLarge as error:
            raise UserError(
                f"The task is too large for an agent ({error.size} bytes): make the change smaller."
            ) from error
        result = await job.result
        if result.task_id != job.task.id:
            self._give_up("The agent process answered for another task")
            raise self._broken("answered for another task")
        return result

    async def stop(self) -> None:
        """End the process: by closing its input, then TERM, then KILL; reap it and all tasks."""
        self._gone = True
        if self._process.stdin:
            self._process.stdin.close()
        for sign in (self._process.terminate, self._process.kill):
            if await self._ends_within(self._grace_seconds):
                break
            with contextlib.suppress(ProcessLookupError):
                sign()
        await self._process.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._fail_jobs("was stopped")

    async def _ends_within(self, seconds: float) -> bool:
        try:
            await within(self._clock, seconds, self._process.wait())
        except DeadlinePassed:
            return False
        return True

    # --- from the child --------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Take frames until the process ends or sends what it may not send."""
        assert self._process.stdout is not None
        try:
            while (body := await read_frame(self._process.stdout)) is not None:
                self._take(decode_from_child(body))
        except (BrokenProtocol, OSError) as error:
            self._give_up(f"The agent process broke the protocol: {error}")
        except Exception as error:  # noqa: BLE001 - else its tasks would wait for ever
            self._give_up(f"A message of the agent process could not be taken: {error!r}")
        code = await self._process.wait()
        self._gone = True
        self._fail_jobs(f"ended with code {code}")

    def _take(self, message: ToParent) -> None:
        match message:
            case Spent():
                job = self._jobs.get(message.id)
                if job and job.tally:
                    job.tally(message.usage)
            case Noted():
                job = self._jobs.get(message.id)
                if job and job.notes:
                    job.notes(message.note)
            case Called():
                if self._recorder:
                    self._recorder(message.record)
            case Done():
                self._finish(message)
            case Ask():
                self._open(message)
            case Withdraw():
                job = self._jobs.get(message.id)
                if job and message.call in job.asks:
                    job.asks[message.call].cancel()

    def _open(self, ask: Ask) -> None:
        job = self._jobs.get(ask.id)
        if job is None:
            return  # asked before the process saw that the task was cancelled
        if len(job.asks) >= MAX_ASKS or ask.call in job.asks:
            raise BrokenProtocol(f"more than {MAX_ASKS} questions are open, or one is asked twice")
        answering = asyncio.ensure_future(self._answer(ask, job.workplace))
        job.asks[ask.call] = answering
        answering.add_done_callback(lambda _: job.asks.pop(ask.call, None))

    def _finish(self, message: Done) -> None:
        job = self._jobs.get(message.id)
        if job is None or job.result.done():
            return
        if message.result is not None:
            job.result.set_result(message.result)
        elif message.trouble is not None:
            job.result.set_exception(message.trouble.error())
        else:
            raise BrokenProtocol("a task is done without a result")

    async def _answer(self, ask: Ask, workplace: Workplace) -> None:
        """Have a task's own workplace answer, and no other."""
        reply = await _reply(ask, workplace)
        try:
            try:
                await self._send(reply)
            except FrameTooLarge as error:
                refusal = UserError(f"What the agent asked for is too large ({error.size} bytes).")
                await self._send(Reply(call=ask.call, trouble=Trouble.of(refusal)))
        except Retryable as error:
            self._log(f"An answer had no reader any more: {error}")

    async def _hear(self) -> None:
        """Pass on what the process writes to its standard error, a line at a time."""
        assert self._process.stderr is not None
        rest = b""
        while chunk := await self._process.stderr.read(MAX_LINE):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._log(line[:MAX_LINE].decode("utf-8", "replace"))
            rest = rest[:MAX_LINE]
        if rest:
            self._log(rest.decode("utf-8", "replace"))

    # --- to the child ----------------------------------------------------------------------------

    async def _send(self, message: Run | Reply) -> None:
        assert self._process.stdin is not None
        frame = encode(message)
        async with self._writing:
            try:
                self._process.stdin.write(frame)
                await self._process.stdin.drain()
            except (ConnectionError, RuntimeError) as error:
                raise self._broken("ended") from error

    def _tell(self, message: Cancel) -> None:
        """Send without waiting, for use while being cancelled."""
        stdin = self._process.stdin
        if stdin is not None and not self._gone and not stdin.is_closing():
            stdin.write(encode(message))

    # --- its end ---------------------------------------------------------------------------------

    def _give_up(self, why: str) -> None:
        """Kill a process that cannot be trusted to end by itself; ``_listen`` reaps it."""
        self._log(why)
        self._gone = True
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _fail_jobs(self, how: str) -> None:
        for job in self._jobs.values():
            if not job.result.done():
                job.result.set_exception(self._broken(how))

    def _broken(self, how: str) -> Retryable:
        return Retryable(f"The agent process {how}; the task can be tried again.")


async def _reply(ask: Ask, workplace: Workplace) -> Reply:
    try:
        return Reply(call=ask.call, answer=await ask.request.answer(workplace))
    except Exception as error:  # noqa: BLE001 - every failure of a workplace is the asker's answer
        return Reply(call=ask.call, trouble=Trouble.of(error))


async def _ended(asks: Mapping[int, asyncio.Task[None]]) -> None:
    """End what a workplace still does for a task that is over."""
    open_ones = list(asks.values())
    for task in open_ones:
        task.cancel()
    await asyncio.gather(*open_ones, return_exceptions=True)
