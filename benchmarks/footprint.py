"""What Conductor takes before it does anything: ``python -m benchmarks footprint``."""

import argparse
import asyncio
import itertools
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial

import httpx2
from rich.console import Console
from rich.table import Table

from benchmarks.calls import files
from benchmarks.installation import Installation, description, installation, until
from benchmarks.load import Order, send
from benchmarks.processes import ROOT, memory_mib
from bot.simulator.state import PullRequest

SERVER = "bot.cli.serving"
AGENTS = "pipelines.agents.child"
BARE = "sys"


def imported(module: str, repeats: int) -> tuple[float, float]:
    """Median wall and CPU seconds of a fresh interpreter that imports a module and ends."""
    walls: list[float] = []
    cpus: list[float] = []
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import {module}"], cwd=ROOT, check=True)
        walls.append(time.perf_counter() - started)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(walls), statistics.median(cpus)


async def running(seconds: float) -> dict[str, float]:
    """Mebibytes of the serving process and of its agents' one, at rest and after a review."""
    started = time.perf_counter()
    async with installation(files(0)) as at:
        found = {"start": await _first_answer(at.server.address) - started}
        await asyncio.sleep(min(seconds, 2.0))
        found["idle"] = at.server.memory_mib
        pull = await at.pull_request("topic", files(1), description())
        await until("the review", partial(_reviewed, at, pull))
        # Not before: until it runs a program of its own, a child is a copy of its parent.
        found["agents"] = sum(memory_mib(child) for child in at.server.children)
        found["reviewed"] = at.server.memory_mib
        order = Order(
            address=at.server.address,
            body=at.payload(pull),
            secret=at.app.webhook_secret,
            first=next(itertools.count(1)),
            seconds=seconds,
        )
        answers = await send(order)
        found["deliveries"], found["loaded"] = answers.count, at.server.memory_mib
    return found


async def _first_answer(address: str) -> float:
    async with httpx2.AsyncClient(trust_env=False) as client:
        (await client.get(f"{address}/healthz")).raise_for_status()
    return time.perf_counter()


def _reviewed(at: Installation, pull: PullRequest) -> bool:
    return any(check.status == "completed" for check in at.checks(pull.head_sha))


def measure(repeats: int, seconds: float) -> Table:
    shown = Table("footprint", "", title="Time to import and start, memory")
    for module in (BARE, SERVER):
        wall, cpu = imported(module, repeats)
        shown.add_row(f"python -c 'import {module}'", f"{wall:.2f} s, {cpu:.2f} s of CPU")
    found = asyncio.run(running(seconds))
    shown.add_row("conductor serve: from nothing to the first answer*", f"{found['start']:.2f} s")
    shown.add_row("resident, idle", f"{found['idle']:.0f} MiB")
    shown.add_row("resident, after a review", f"{found['reviewed']:.0f} MiB")
    shown.add_row("its agents' process", f"{found['agents']:.0f} MiB")
    load = f"resident, {found['deliveries']:,.0f} deliveries later, most of them waiting"
    shown.add_row(load, f"{found['loaded']:.0f} MiB")
    shown.caption = "* with the simulated GitHub's own start in it"
    return shown


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser("benchmarks footprint", description=__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="fresh interpreters")
    parser.add_argument("--seconds", type=float, default=3.0, help="of deliveries")
    options = parser.parse_args(arguments)
    Console(width=100).print(measure(options.repeats, options.seconds))
