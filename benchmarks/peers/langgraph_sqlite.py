"""LangGraph with its SQLite saver: every super-step is a checkpoint."""

import asyncio
import itertools
import operator
import sys
import tempfile
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph

from benchmarks.dag import NEEDS, ROOTS, THEN
from benchmarks.measuring import measure, tell


class State(TypedDict):
    """What the steps hand on."""

    done: Annotated[list[str], operator.add]


def graph() -> Any:
    building: Any = StateGraph(State)
    for step in NEEDS:
        building.add_node(step, _node(step))
    for step in ROOTS:
        building.add_edge(START, step)
    for step, needs in NEEDS.items():
        if needs:
            building.add_edge(list(needs), step)
        if not THEN[step]:
            building.add_edge(step, END)
    return building


def _node(step: str) -> Any:
    async def nothing(state: State) -> dict[str, list[str]]:
        del state
        return {"done": [step]}

    return nothing


async def main(serial: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncSqliteSaver.from_conn_string(f"{folder}/graph.db") as saver:
            compiled, numbers = graph().compile(checkpointer=saver), itertools.count()

            async def run() -> None:
                config = {"configurable": {"thread_id": str(next(numbers))}}
                state = await compiled.ainvoke({"done": []}, config, durability="sync")
                assert len(state["done"]) == len(NEEDS)

            tell(await measure(run, serial=serial, seconds=seconds))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
