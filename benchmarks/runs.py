"""A run of seven steps that do nothing, beside floors and peers: ``python -m benchmarks runs``.

What is durable when a run returns: every transition. Floors are written in ``benchmarks/floors``,
peers run in a virtual environment of their own (``make bench`` makes it; without it they are named
as left out). Everything of one table ran in turn on the same machine: compare only within it.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import noop
from benchmarks.floors import sqlite, streams
from benchmarks.measuring import Run, measure
from benchmarks.processes import ROOT
from tests.support.valkey import DURABLE, Server

PEERS = ROOT / ".bench" / "bin" / "python"


@dataclass(frozen=True)
class Found:
    """What was measured of one engine; milliseconds, and runs a second."""

    p50: float
    p99: float
    rate: float


@dataclass(frozen=True)
class Effort:
    """How long each engine is measured."""

    serial: int
    seconds: float


Opening = Callable[[], AbstractAsyncContextManager[Run]]


@asynccontextmanager
async def floor_on_sqlite() -> AsyncGenerator[Run]:
    with tempfile.TemporaryDirectory() as folder:
        floor = sqlite.Floor(Path(folder))
        try:
            yield floor.run
        finally:
            await floor.close()


@asynccontextmanager
async def floor_on_redis(workers: int) -> AsyncGenerator[Run]:
    with Server(DURABLE).start() as server:
        preparing = streams.connect(server.url)
        await streams.prepare(preparing)
        await preparing.aclose()
        async with _processes("benchmarks.floors.streams", server.url, workers):
            floor = streams.Floor(server.url)
            try:
                yield floor.run
            finally:
                await floor.close()


@asynccontextmanager
async def conductor_alone(kind: str) -> AsyncGenerator[Run]:
    with tempfile.TemporaryDirectory() as folder:
        url = "memory://" if kind == "memory" else f"sqlite:///{folder}/bench.db"
        async with noop.orchestra(url) as process, noop.working(process.worker):
            yield process.run


@asynccontextmanager
async def conductor_on_redis(workers: int) -> AsyncGenerator[Run]:
    with Server(DURABLE).start() as server:
        async with (
            _processes("benchmarks.noop", server.url, workers),
            noop.orchestra(server.url) as process,
        ):
            yield process.run


@asynccontextmanager
async def _processes(module: str, url: str, number: int) -> AsyncGenerator[None]:
    """Run so many workers, each a process of its own, while the context is open."""
    async with AsyncExitStack() as opened:
        for _ in range(number):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", module, url), cwd=ROOT, stdout=asyncio.subprocess.PIPE
            )
            opened.push_async_callback(process.wait)
            opened.callback(process.kill)
            assert process.stdout is not None
            async with asyncio.timeout(30):
                assert await process.stdout.readline() == b"ready\n"
        yield


async def peer(module: str, effort: Effort, *arguments: str) -> Found:
    """Return what a peer measured of itself."""
    process = await asyncio.create_subprocess_exec(
        *(PEERS, "-m", f"benchmarks.peers.{module}", *arguments),
        *(str(effort.serial), str(effort.seconds)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    said, _ = await process.communicate()
    return Found(**json.loads(said.splitlines()[-1]))


async def docket(effort: Effort) -> Found:
    """Return what pydocket measured of itself, with a worker in a process of its own."""
    with Server(DURABLE).start() as server:
        return await peer("docket_redis", effort, "main", server.url, "bench")


async def ours(opening: Opening, effort: Effort) -> Found:
    """Return what an engine of this repository does."""
    async with opening() as run:
        return Found(**await measure(run, serial=effort.serial, seconds=effort.seconds))


ENGINES: dict[str, Opening] = {
    "floor, SQLite (FULL)": floor_on_sqlite,
    "Conductor, memory": partial(conductor_alone, "memory"),
    "Conductor, SQLite (FULL)": partial(conductor_alone, "sqlite"),
    "floor, Redis (everysec), 1 worker": partial(floor_on_redis, 1),
    "Conductor, Redis, 1 worker": partial(conductor_on_redis, 1),
    "Conductor, Redis, 2 workers": partial(conductor_on_redis, 2),
    "Conductor, Redis, 4 workers": partial(conductor_on_redis, 4),
}
FLOORS = {"SQLite": "floor, SQLite (FULL)", "Redis": "floor, Redis (everysec), 1 worker"}


async def measured(effort: Effort, only: str, rounds: int) -> dict[str, Found]:
    """Return the median of each engine over the rounds; peers only beside all of ours."""
    measuring: dict[str, Callable[[Effort], Awaitable[Found]]] = {
        name: partial(ours, opening) for name, opening in ENGINES.items() if only in name
    }
    if PEERS.exists() and not only:
        measuring["LangGraph, SQLite saver"] = partial(peer, "langgraph_sqlite")
        measuring["DBOS, SQLite"] = partial(peer, "dbos_sqlite")
        measuring["pydocket, Redis, 1 worker"] = docket
    found = [{name: await of(effort) for name, of in measuring.items()} for _ in range(rounds)]
    return {name: median([each[name] for each in found]) for name in measuring}


def median(found: Sequence[Found]) -> Found:
    """Return the median of each figure."""
    return Found(
        p50=statistics.median(each.p50 for each in found),
        p99=statistics.median(each.p99 for each in found),
        rate=statistics.median(each.rate for each in found),
    )


def table(found: dict[str, Found]) -> Table:
    """Return the table, each engine beside the floor on the same store."""
    columns = ("engine", "serial p50 ms", "p99", "x floor", "runs/s at 64", "of floor")
    shown = Table(*columns, title="Runs of seven steps that do nothing, every transition durable")
    for name, each in found.items():
        floor = next((found.get(FLOORS[kind]) for kind in FLOORS if kind in name), None)
        ratio = f"{each.p50 / floor.p50:.1f}" if floor else "-"
        share = f"{each.rate / floor.rate:.0%}" if floor else "-"
        row = (f"{each.p50:.2f}", f"{each.p99:.1f}", ratio, f"{each.rate:,.0f}", share)
        shown.add_row(name, *row)
    return shown


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser("benchmarks runs", description=__doc__)
    parser.add_argument("--serial", type=int, default=200, help="runs one after the other")
    parser.add_argument("--seconds", type=float, default=5.0, help="with 64 at once, each")
    parser.add_argument("--only", default="", help="engines whose name holds this")
    parser.add_argument("--rounds", type=int, default=1, help="medians of so many, in turn")
    chosen = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    effort = Effort(chosen.serial, chosen.seconds)
    found = uvloop.run(measured(effort, chosen.only, chosen.rounds))
    console = Console(width=110)
    console.print(table(found))
    if not PEERS.exists():
        console.print(
            f"Peers left out: there is no {PEERS.relative_to(ROOT)}; `make bench` makes it."
        )
