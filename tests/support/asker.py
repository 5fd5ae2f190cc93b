"""An agent that asks its workplace for everything there is; runs in a process of its own, too."""

import asyncio
from typing import ClassVar

from pipelines.agents import registry
from pipelines.agents.__main__ import claim_pipes, main
from pipelines.agents.base import BaseAgent
from pipelines.agents.context import AgentContext
from pipelines.errors import ConductorError
from pipelines.model import (
    Conclusion,
    FileEdit,
    Measurement,
    Notify,
    SandboxJob,
    Series,
    SignalRequest,
    Task,
    TaskResult,
)

COMMAND = "from tests.support import asker; asker.serve()"


class Asker(BaseAgent):
    """``options.ask`` says what; the answers are its outputs, as their models print themselves."""

    name: ClassVar[str] = "asker"

    async def _execute(self, task: Task, context: AgentContext) -> TaskResult:
        ask = {
            "everything": self._everything,
            "many": self._many,
            "hang": self._hang,
            "impatient": self._impatient,
        }[str(task.options["ask"])]
        outputs = await ask(task, context)
        return TaskResult(
            task_id=task.id,
            status="completed",
            conclusion=Conclusion.SUCCESS,
            title="Asked",
            outputs=dict(outputs),
        )

    async def _everything(self, task: Task, context: AgentContext) -> dict[str, str]:
        place, now = context.workplace, context.clock.now()
        signal = SignalRequest(name="errors", start=now, end=now)
        measurement = Measurement(environment="staging", series=Series(name="errors"), at=now)
        edit = FileEdit(path="a.py", content="x = 1")
        await place.keep([measurement])
        answers = {
            "changed": await place.changed_files(),
            "read": (await place.read(["app.py"], at="base"))["app.py"],
            "tree": await place.tree(at="base"),
            "sandbox": await place.sandbox(),
            "run": await place.run(SandboxJob(command="make test", edits=(edit,))),
            "build": await place.build("Dockerfile", [edit]),
            "perform": await place.perform(Notify(title="hello", occasion="o")),
            "environment": await place.environment(),
            "state": await place.release_state(),
            "log": await place.release_log(2),
            "probe": await place.probe(),
            "series": tuple(await place.series([signal, signal])),
            "traces": await place.traces(signal),
            "luck": context.rng.random(),
        }
        return {name: repr(answer) for name, answer in answers.items()}

    async def _many(self, task: Task, context: AgentContext) -> dict[str, str]:
        reads = (context.workplace.read([f"{n}"]) for n in range(500))
        texts = await asyncio.gather(*reads)
        return {"read": str(sum(len(one) for one in texts))}

    async def _hang(self, task: Task, context: AgentContext) -> dict[str, str]:
        await context.workplace.run(SandboxJob(command="sleep 1000"))
        return {}

    async def _impatient(self, task: Task, context: AgentContext) -> dict[str, str]:
        """Give one command little time and then do another."""
        try:
            async with asyncio.timeout(0.05):
                await context.workplace.run(SandboxJob(command="sleep 1000"))
        except TimeoutError:
            return {"then": repr(await context.workplace.run(SandboxJob(command="true")))}
        except ConductorError as error:
            return {"then": str(error)}
        return {}


def serve() -> None:
    """Be an agent process that has this agent as well."""
    registry.AGENTS[Asker.name] = Asker
    asyncio.run(main(*claim_pipes()))
