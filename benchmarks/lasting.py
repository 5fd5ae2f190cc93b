"""Workers whose agents take as long as they are told, and say when they begin and end.

``python -m benchmarks.lasting URL LEASE NUMBER`` makes so many workers out of one interpreter, each
a process of its own. A worker prints that it is ready, works from SIGUSR1 on and ends with SIGTERM.
"""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
import uvloop

from benchmarks import noop
from bot.wiring import agent_lanes
from bot.worker import Lane, Worker
from pipelines import fence
from pipelines.model import Coverage, Effect, Step, SubmitReview, Task, TaskResult, WorkflowRun
from pipelines.orchestration.assembly import Outside, orchestrate
from pipelines.orchestration.bus.open import open_bus
from pipelines.orchestration.dispatch import Dispatcher
from pipelines.orchestration.work import EFFECTS, REPORTS, TIMERS
from pipelines.ports import Notes, Receipt, Tally, Workplace
from pipelines.stores.open import open_backend
from pipelines.system import SortableIds

SLOTS = 32
"""Agents that one worker has at work at once."""
AGENT = "review"
_OUTPUT = 1


def lasting(seconds: float) -> Step:
    """Return a step whose agent takes so long."""
    return Step(name="work", agent=AGENT, options={"seconds": seconds})


def say(what: str, run_id: str = "-") -> None:
    """Print one line: what, of which run, by which process, when on the clock they all share."""
    # One short write, so that the lines of several processes on one pipe stay whole.
    os.write(_OUTPUT, f"{what} {run_id} {os.getpid()} {time.monotonic()}\n".encode())


class Lasting(noop.NothingToDo):
    """Implements ``ports.AgentRunner`` by letting time pass; signs with its process's number."""

    async def run(
        self,
        task: Task,
        workplace: Workplace,
        *,
        tally: Tally | None = None,
        notes: Notes | None = None,
    ) -> TaskResult:
        say("began", task.run_id)
        await asyncio.sleep(float(str(task.options["seconds"])))
        say("ended", task.run_id)
        result = await super().run(task, workplace, tally=tally, notes=notes)
        assert task.change.number is not None
        review = SubmitReview(
            number=task.change.number,
            head_sha=task.change.head_sha,
            findings=(),
            summary="Nothing to do",
            coverage=Coverage(),
        )
        return result.model_copy(update={"summary": str(os.getpid()), "effects": (review,)})


class Telling(noop.Silence):
    """A forge that says what is written to it."""

    async def carry_out(self, run: WorkflowRun, effect: Effect, *, repeated: bool) -> Receipt:
        # As the client of GitHub does right before each write.
        fence.check()
        say("wrote", run.id)
        return await super().carry_out(run, effect, repeated=repeated)


@asynccontextmanager
async def opened(url: str, lease: float) -> AsyncGenerator[Worker]:
    """Open a worker with leases of so many seconds; it does not work before it runs."""
    async with AsyncExitStack() as stack:
        store = open_backend(url, noop.CLOCK)
        stack.push_async_callback(store.close)
        name = f"lasting/{os.getpid()}"
        bus = open_bus(store, noop.CLOCK, worker=name)
        stack.push_async_callback(bus.close)
        await bus.start()
        outside = Outside(
            store=store,
            bus=bus,
            source=noop.Silence(),
            reporter=Telling(),
            runner=Lasting(),
            clock=noop.CLOCK,
            ids=SortableIds(noop.CLOCK),
            rng=random.Random(1),
            agents=frozenset({AGENT}),
            worker=name,
        )
        parts = orchestrate(outside)
        yield Worker(
            name=name,
            lanes=(
                Lane("publishing", (EFFECTS, REPORTS, TIMERS), 8),
                *agent_lanes(parts.coordinator.queues, SLOTS),
            ),
            dispatcher=Dispatcher(parts.handlers, bus=bus, errors=parts.errors, clock=noop.CLOCK),
            bus=bus,
            store=store,
            clock=noop.CLOCK,
            listener=parts.execution.listening,
            lease_seconds=lease,
        )


async def work(url: str, lease: float) -> None:
    """Work from SIGUSR1 until SIGTERM, and finish what is under way."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    signalled, loop = asyncio.Event(), asyncio.get_running_loop()
    async with opened(url, lease) as worker:
        loop.add_signal_handler(signal.SIGUSR1, signalled.set)
        loop.add_signal_handler(signal.SIGTERM, worker.stop)
        say("ready")
        await signalled.wait()
        await worker.run()


def main(url: str, lease: float, number: int) -> None:
    """Make the workers and return when the last of them is gone."""
    for _ in range(number):
        if os.fork() == 0:
            uvloop.run(work(url, lease))
            # What the interpreter would take down in the end is the parent's.
            os._exit(0)
    os.close(_OUTPUT)
    for _ in range(number):
        os.wait()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
