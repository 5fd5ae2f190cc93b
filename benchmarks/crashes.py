"""Workers that are killed, paused past their lease, or busy for longer: ``benchmarks crashes``.

Workers are processes of their own on one Redis. What is counted of each step: how often an agent
began it, whether its run succeeded, how often a result of it was stored and its review written.
"""

import argparse
import asyncio
import os
import signal
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, pairwise

import structlog
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import noop
from benchmarks.engine import SHOP, change, trigger
from benchmarks.lasting import SLOTS, lasting
from benchmarks.processes import ROOT
from pipelines.model import Conclusion
from pipelines.orchestration import keys
from pipelines.orchestration.changes import Changes, Plan
from tests.support.valkey import DURABLE, Server

TAKING = 0.75
"""Leases that a step lasts: done while its worker is paused, not before its worker is killed."""
LONG = 3.0
RENEWALS = 3
"""How often a lease is renewed in its time."""
TENANT = SHOP.tenant


@dataclass(frozen=True)
class Effort:
    """How much is measured; the lease is in seconds."""

    lease: float
    steps: int
    rounds: int

    @property
    def goal(self) -> float:
        """Leases after which work in flight is to be started again."""
        return 1.25 + 1 / self.lease

    @property
    def patience(self) -> float:
        """Seconds after which what has not come is lost."""
        return 30 + 10 * self.lease


@dataclass(frozen=True)
class Note:
    """What a worker said."""

    what: str
    run: str
    pid: int
    at: float


@dataclass
class Fleet:
    """Worker processes, and everything that they said."""

    process: asyncio.subprocess.Process
    notes: list[Note] = field(default_factory=list[Note])
    heard: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def listen(self) -> None:
        """Take notes until all of them are gone."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            what, run, pid, at = line.decode().split()
            async with self.heard:
                self.notes.append(Note(what, run, int(pid), float(at)))
                self.heard.notify_all()

    async def until(self, true: Callable[[], bool]) -> None:
        """Return when what was said makes something true."""
        async with self.heard:
            await self.heard.wait_for(true)

    def said(self, what: str, *, by: int | None = None) -> list[Note]:
        """Return the notes of one kind, of all processes or of one."""
        return [note for note in self.notes if note.what == what and by in (None, note.pid)]


@asynccontextmanager
async def fleet(url: str, lease: float, number: int) -> AsyncGenerator[tuple[Fleet, list[int]]]:
    """Make so many workers that wait for their sign to begin; they are gone afterwards."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.lasting", url, str(lease), str(number)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    made = Fleet(process)
    listening = asyncio.create_task(made.listen())
    try:
        async with asyncio.timeout(60):
            await made.until(lambda: len(made.said("ready")) == number)
        yield made, [note.pid for note in made.said("ready")]
        async with asyncio.timeout(60):
            await listening
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.gather(listening, process.wait(), return_exceptions=True)


@dataclass(frozen=True)
class Case:
    """What was done to the workers of some runs, and when to whom if it was to one."""

    runs: Sequence[str]
    at: float = 0.0
    victim: int = 0


@dataclass(frozen=True)
class Fate:
    """What became of one step."""

    starts: int
    succeeded: bool
    results: int
    """How often one was stored."""
    effects: int
    """How often its review was written."""
    again: float | None = None
    """Leases from what was done to its worker until another one began it."""
    late: bool = False
    """Whether its first worker brought a result as well, once its lease had run out."""
    late_stored: bool = False

    @property
    def lost(self) -> bool:
        return not (self.succeeded and self.results and self.effects)


@dataclass
class Trial:
    """One fleet, the process that gives it work, and what is done to its workers."""

    effort: Effort
    fleet: Fleet
    office: noop.Orchestra
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    async def killed(self, victim: int, successor: int, delay: float) -> Case:
        """Kill a worker with its slots full, and have another one there."""
        runs = await self._in_flight(victim, successor, delay)
        at = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        await self._over(runs)
        return Case(runs, at, victim)

    async def paused(self, victim: int, successor: int) -> Case:
        """Pause a worker until another has begun all that it had, and let it go on."""
        runs = await self._in_flight(victim, successor, self.effort.lease / RENEWALS / 2)
        at = time.monotonic()
        os.kill(victim, signal.SIGSTOP)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.effort.patience):
                await self.fleet.until(lambda: self._begun(successor, runs))
        os.kill(victim, signal.SIGCONT)
        await self._over(runs)
        return Case(runs, at, victim)

    async def long(self) -> Case:
        """Have steps take three leases, while a trickle of others keeps all workers claiming."""
        runs = await self._start(self.effort.steps, LONG * self.effort.lease)
        trickle: list[str] = []
        for _ in range(int(4 * LONG)):
            trickle += await self._start(1, 0.0)
            await asyncio.sleep(self.effort.lease / 4)
        await self._over([*runs, *trickle])
        return Case(runs)

    async def fates(self, *cases: Case) -> list[Fate]:
        """Return what became of their steps; asked when all workers are gone."""
        return [await self._fate(case, run) for case in cases for run in case.runs]

    async def _fate(self, case: Case, run_id: str) -> Fate:
        state, step = self.office.parts.state, lasting(0.0).name
        run, result = await state.get(TENANT, run_id), await state.result(TENANT, run_id, step)
        record = await state.record(keys.result_key(TENANT, run_id, step))
        notes = [note for note in self.fleet.notes if note.run == run_id]
        begun = [note for note in notes if note.what == "began"]
        again = [note.at for note in begun if case.victim not in (0, note.pid)]
        late = ("ended", case.victim) in [(n.what, n.pid) for n in notes if n.at > case.at]
        return Fate(
            starts=len(begun),
            succeeded=run is not None and run.conclusion is Conclusion.SUCCESS,
            # A record's version counts how often it was written.
            results=record.version if record else 0,
            effects=sum(note.what == "wrote" for note in notes),
            again=(again[0] - case.at) / self.effort.lease if again else None,
            late=late,
            late_stored=late and result is not None and result.summary == str(case.victim),
        )

    async def _start(self, number: int, seconds: float) -> list[str]:
        """Start so many runs of one step each."""
        numbers = [next(self.numbers) for _ in range(number)]

        async def start(changes: Changes) -> list[str]:
            runs: list[str] = []
            for each in numbers:
                plan = Plan("last", f"last/pr/{each}", (lasting(seconds),), budget_usd=1.0)
                runs.append((await changes.start(plan, trigger(each), change(each), "")).run_id)
            return runs

        return await self.office.parts.coordinator.decide(start)

    async def _in_flight(self, victim: int, successor: int, delay: float) -> list[str]:
        """Return runs that the first worker is at, for some seconds, with the second one idle."""
        runs = await self._start(self.effort.steps, TAKING * self.effort.lease)
        async with asyncio.timeout(self.effort.patience):
            await self.fleet.until(lambda: self._begun(victim, runs))
        os.kill(successor, signal.SIGUSR1)
        await asyncio.sleep(delay)
        return runs

    def _begun(self, worker: int, runs: Sequence[str]) -> bool:
        return {note.run for note in self.fleet.said("began", by=worker)}.issuperset(runs)

    async def _over(self, runs: Sequence[str]) -> None:
        """Return when all of them are over; what is not in time is lost."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.effort.patience):
                while await self._live(runs):  # noqa: ASYNC110  (other processes end them)
                    await asyncio.sleep(0.05)

    async def _live(self, runs: Sequence[str]) -> bool:
        return any([run.id in runs async for run in self.office.parts.state.live()])


async def measured(effort: Effort) -> dict[str, list[Fate]]:
    """Return what became of the steps, by what was done to their workers.

    Each victim's successor is the next one's victim, so that work in flight is always all of one.
    """
    with Server(DURABLE).start() as server:
        async with noop.orchestra(server.url) as office:
            async with fleet(server.url, effort.lease, effort.rounds + 2) as (workers, pids):
                trial = Trial(effort, workers, office)
                os.kill(pids[0], signal.SIGUSR1)
                *pairs, last = pairwise(pids)
                spread = effort.lease / RENEWALS / len(pairs)
                killed = [
                    await trial.killed(*pair, turn * spread) for turn, pair in enumerate(pairs)
                ]
                paused, long = await trial.paused(*last), await trial.long()
                for pid in last:
                    os.kill(pid, signal.SIGTERM)
            return {
                f"killed with -9, {effort.rounds} x": await trial.fates(*killed),
                "paused past its lease": await trial.fates(paused),
                f"busy for {LONG:.0f} leases": await trial.fates(long),
            }


def table(found: dict[str, list[Fate]], effort: Effort) -> Table:
    """Return the table, with what each line is to come to."""
    columns = ("a worker is", "steps", "starts each", "lost", "doubled results", "effects")
    title = f"{effort.steps} steps in flight on Redis, leases of {effort.lease:g} s"
    shown = Table(*columns, "again p50", "max", "goal", title=title)
    for name, fates in found.items():
        lost, again = sum(fate.lost for fate in fates), _again(fates)
        goal = f"{effort.goal:.2f} leases" if again else "1 start each"
        times = (f"{statistics.median(again):.2f}", f"{max(again):.2f}") if again else ("-", "-")
        doubled = (_doubled(fate.results for fate in fates), _doubled(f.effects for f in fates))
        starts = _span([fate.starts for fate in fates])
        shown.add_row(name, str(len(fates)), starts, str(lost), *doubled, *times, goal)
    late = [fate for fates in found.values() for fate in fates if fate.late]
    shown.caption = (
        "Goal of all: 0 lost, 0 doubled. Again: leases until another worker had begun it.\n"
        f"The paused worker came back with {len(late)} results, of which "
        f"{sum(fate.late_stored for fate in late)} were stored."
    )
    return shown


def _again(fates: Sequence[Fate]) -> list[float]:
    return [fate.again for fate in fates if fate.again is not None]


def _doubled(numbers: Iterable[int]) -> str:
    return str(sum(max(0, number - 1) for number in numbers))


def _span(numbers: Sequence[int]) -> str:
    least, most = min(numbers), max(numbers)
    return str(least) if least == most else f"{least}-{most}"


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser("benchmarks crashes", description=__doc__)
    parser.add_argument("--lease", type=float, default=3.0, help="seconds")
    parser.add_argument("--steps", type=int, default=SLOTS, help=f"in flight, at most {SLOTS}")
    parser.add_argument("--rounds", type=int, default=3, help="workers that are killed")
    chosen = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    effort = Effort(chosen.lease, min(chosen.steps, SLOTS), chosen.rounds)
    found = uvloop.run(measured(effort))
    Console(width=120).print(table(found, effort))
