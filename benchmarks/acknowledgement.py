"""How fast deliveries are acknowledged: ``python -m benchmarks acknowledgement``.

A bare receiver that keeps nothing is the floor. Conductor's 202 means that the delivery is on
disk. Both are processes of their own, as is the load.
"""

import argparse
import asyncio
import itertools
import statistics
import tempfile
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.installation import Installation, description, installation, until
from benchmarks.load import Answers, Order, send
from benchmarks.processes import Server, server
from bot.simulator.state import PullRequest

SECRET = "It's a secret to everybody, a long one."
FILES = {"shop/cart.py": "PRICES = []\n"}
PACE = 50.0
REVIEWS = 5
CONNECTIONS = 32

_numbers = itertools.count(1, 1_000_000)
"""Each order's first delivery; no order has a million."""


@dataclass
class Case:
    """One server in one situation, and how it answered in each round."""

    name: str
    server: Server
    body: Path
    secret: str
    full: list[Answers] = field(default_factory=list[Answers])
    cpu_ms: list[float] = field(default_factory=list[float])
    paced: list[Answers] = field(default_factory=list[Answers])

    async def round(self, seconds: float) -> None:
        """Keep every connection busy."""
        before = self.server.cpu_seconds
        answers = await self._send(seconds, None)
        self.cpu_ms.append((self.server.cpu_seconds - before) / answers.count * 1000)
        self.full.append(answers)

    async def pace(self, seconds: float) -> None:
        """Send so many a second as a large organisation has at its busiest."""
        self.paced.append(await self._send(seconds, PACE))

    async def _send(self, seconds: float, rate: float | None) -> Answers:
        order = Order(
            address=self.server.address,
            body=self.body,
            secret=self.secret,
            first=next(_numbers),
            seconds=seconds,
            connections=CONNECTIONS,
            rate=rate,
        )
        answers = await send(order)
        assert set(answers.statuses) == {202}, f"{self.name} answered {answers.statuses}"
        return answers

    @property
    def rate(self) -> float:
        return statistics.median(answers.per_second for answers in self.full)


@asynccontextmanager
async def floor(folder: Path, body: Path) -> AsyncGenerator[Case]:
    async with server(
        "-m", "benchmarks.receiver", SECRET, folder=folder, environment={}
    ) as receiver:
        yield Case("floor: nothing kept", receiver, body, SECRET)


def conductor(name: str, at: Installation, pull: PullRequest) -> Case:
    return Case(f"Conductor, {name}", at.server, at.payload(pull), at.app.webhook_secret)


async def idle(seconds: float, rounds: int) -> tuple[Case, Case]:
    """Floor and Conductor by turns; Conductor cannot reach its GitHub, so it only stores."""
    with tempfile.TemporaryDirectory() as name:
        async with installation(FILES, reachable=False) as at:
            pull = await at.pull_request("topic", {"shop/cart.py": "PRICES = [1]\n"}, description())
            await at.github.settled()
            ours = conductor("idle", at, pull)
            async with floor(Path(name), ours.body) as bare:
                for case in (bare, ours):
                    await case.pace(seconds)
                for _ in range(rounds):
                    await bare.round(seconds)
                    await ours.round(seconds)
                return bare, ours


async def working(seconds: float, rounds: int) -> Case:
    """Conductor takes deliveries in while its worker handles those that came before."""
    async with installation(FILES) as at:
        pull = await _reviewed(at)
        case = conductor("worker busy", at, pull)
        await case.pace(seconds)
        for _ in range(rounds):
            await case.round(seconds)
        return case


async def reviewing(seconds: float, rounds: int) -> Case:
    """Five reviews wait for their model all the while, which is checked at the end."""
    async with installation(FILES, delay=(seconds + 2) * (rounds + 1) + 5) as at:
        pull = await at.pull_request("draft", {"README.md": "Shop\n"}, description())
        await at.github.close_pull_request(at.repository, pull, at.author)
        pulls = [
            await at.pull_request(f"topic-{n}", {"shop/cart.py": f"PRICES = [{n}]\n"})
            for n in range(REVIEWS)
        ]
        await until("five reviews at once", partial(_all_are, "in_progress", at, pulls))
        case = conductor(f"{REVIEWS} reviews running", at, pull)
        await case.pace(seconds)
        for _ in range(rounds):
            await case.round(seconds)
        assert _all_are("in_progress", at, pulls), "a review ended before the load did"
        return case


def _all_are(status: str, at: Installation, pulls: Sequence[PullRequest]) -> bool:
    checks = [at.checks(pull.head_sha) for pull in pulls]
    return all(found and all(c.status == status for c in found) for found in checks)


async def _reviewed(at: Installation) -> PullRequest:
    pull = await at.pull_request("topic", {"shop/cart.py": "PRICES = [1]\n"}, description())
    await until("the review", partial(_all_are, "completed", at, [pull]))
    return pull


def table(cases: Sequence[Case]) -> Table:
    title = f"Acknowledgement, 26 KB deliveries: {CONNECTIONS} busy connections; {PACE:g}/s"
    shown = Table(title=title, title_justify="left")
    shown.add_column("server", no_wrap=True)
    for column in ("req/s", "of floor", "p50 ms", "p99 ms", "CPU ms"):
        shown.add_column(column, justify="right", no_wrap=True)
    for column in ("p50", "p99", "longest"):
        shown.add_column(f"{column} at {PACE:g}/s", justify="right")
    for case in cases:
        shown.add_row(
            case.name,
            _spread([answers.per_second for answers in case.full], "{:,.0f}".format),
            f"{case.rate / cases[0].rate:.0%}",
            _spread([answers.p50 for answers in case.full], "{:.1f}".format),
            _spread([answers.p99 for answers in case.full], "{:.1f}".format),
            _spread(case.cpu_ms, "{:.2f}".format),
            *(f"{value:.1f}" for value in _paced(case)),
        )
    return shown


def _paced(case: Case) -> tuple[float, float, float]:
    return (
        statistics.median(answers.p50 for answers in case.paced),
        max(answers.p99 for answers in case.paced),
        max(answers.longest for answers in case.paced),
    )


def _spread(values: Sequence[float], form: Callable[[float], str]) -> str:
    return f"{form(statistics.median(values))} ({form(min(values))}-{form(max(values))})"


async def measure(seconds: float, rounds: int) -> Table:
    bare, ours = await idle(seconds, rounds)
    return table([bare, ours, await working(seconds, rounds), await reviewing(seconds, rounds)])


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser("benchmarks acknowledgement", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    Console(width=160).print(asyncio.run(measure(options.seconds, options.rounds)))
