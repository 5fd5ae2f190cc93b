"""DBOS on SQLite: every step is a durable step of a durable workflow."""

import asyncio
import itertools
import os
import sys
import tempfile
from typing import Any

from dbos import DBOS, SetWorkflowID

from benchmarks.dag import NEEDS
from benchmarks.measuring import measure, tell


async def _nothing() -> str:
    return "done"


STEPS: dict[str, Any] = {step: DBOS.step(name=step)(_nothing) for step in NEEDS}


@DBOS.workflow()
async def deliver() -> int:
    """Run each step as soon as those that it needs are done."""

    async def after(step: str, *needs: "asyncio.Task[Any]") -> None:
        await asyncio.gather(*needs)
        await STEPS[step]()

    tasks: dict[str, asyncio.Task[Any]] = {}
    for step, needs in NEEDS.items():
        tasks[step] = asyncio.create_task(after(step, *(tasks[need] for need in needs)))
    await asyncio.gather(*tasks.values())
    return len(tasks)


async def main(serial: int, seconds: float) -> None:
    numbers = itertools.count()

    async def run() -> None:
        with SetWorkflowID(f"bench-{os.getpid()}-{next(numbers)}"):
            assert await deliver() == len(NEEDS)

    tell(await measure(run, serial=serial, seconds=seconds))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/dbos.db"
        DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR"})
        DBOS.launch()
        asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
        DBOS.destroy()
