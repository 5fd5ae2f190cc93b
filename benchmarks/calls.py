"""How often GitHub is asked for one review: ``python -m benchmarks calls``.

A pull request of ten changed files is opened, and pushed to once more after its review. Whatever is
asked at the start is asked once a process; the first review also pays for the tokens of an hour.
"""

import argparse
import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

from rich.console import Console
from rich.table import Table

from benchmarks.installation import Installation, installation, quiet, until
from bot.simulator.record import ApiCall
from bot.simulator.state import PullRequest

FILES = 10


def files(version: int) -> Mapping[str, str]:
    return {
        f"shop/part_{n}.py": f"def part() -> int:\n    return {version}\n" for n in range(FILES)
    }


async def first_two(at: Installation, branch: str) -> tuple[Sequence[ApiCall], Sequence[ApiCall]]:
    """The calls for a new pull request's review, and those for its second push."""
    before = len(at.calls())
    pull = await at.pull_request(branch, files(1))
    await _reviewed(at, pull)
    between = len(at.calls())
    await at.github.push(at.repository, branch, files(2), at.author)
    await _reviewed(at, pull)
    return at.calls()[before:between], at.calls()[between:]


async def _reviewed(at: Installation, pull: PullRequest) -> None:
    await until("the review", partial(_is_over, at, pull))
    await quiet(at)  # something may follow from the end of the check


def _is_over(at: Installation, pull: PullRequest) -> bool:
    checks = at.checks(pull.head_sha)
    return bool(checks) and all(check.status == "completed" for check in checks)


async def measure() -> Table:
    async with installation(files(0)) as at:
        await quiet(at)
        start = list(at.calls())
        first, push = await first_two(at, "first")
        later, _ = await first_two(at, "second")
    columns = {
        "start": _by_operation(start),
        "first review": _by_operation(first),
        "a later one": _by_operation(later),
        "second push": _by_operation(push),
    }
    shown = Table("operation", *columns, title=f"GitHub calls: {FILES} changed files")
    for operation in dict.fromkeys(name for counts in columns.values() for name in counts):
        shown.add_row(operation, *(str(counts[operation] or "") for counts in columns.values()))
    shown.add_section()
    shown.add_row("together", *(str(counts.total()) for counts in columns.values()))
    return shown


def _by_operation(calls: Sequence[ApiCall]) -> Counter[str]:
    return Counter(f"{call.method} {call.template} → {call.status}" for call in calls)


def main(arguments: Sequence[str] = ()) -> None:
    argparse.ArgumentParser("benchmarks calls", description=__doc__).parse_args(arguments)
    Console(width=110).print(asyncio.run(measure()))
