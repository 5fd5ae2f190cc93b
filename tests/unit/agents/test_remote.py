"""A workplace through the pipe: the same answers, the same failures, an end when the task ends."""

import asyncio
import sys
from datetime import UTC, datetime

import pytest

from pipelines.agents.registry import AGENTS
from pipelines.agents.runner import LocalRunner
from pipelines.errors import Parked, Retryable, UserError
from pipelines.model import SandboxJob, SandboxResult, Task
from tests.support.asker import COMMAND, Asker
from tests.support.clock import VirtualClock
from tests.support.models import ScriptedModel
from tests.support.workplace import MemoryWorkplace
from tests.unit.agents.test_process import running, task

HEAD, BASE = {"app.py": "x = 2\n"}, {"app.py": "x = 1\n"}
ASKER = [sys.executable, "-c", COMMAND]


def asking(what: str, number: int = 1) -> Task:
    return task(number, agent="asker").model_copy(update={"options": {"ask": what}})


def workplace() -> MemoryWorkplace:
    place = MemoryWorkplace(HEAD, BASE)
    place.deploys_to("staging")
    place.service_log = "one\ntwo\nthree"
    return place


class Hanging(MemoryWorkplace):
    """Its sandbox never comes to an end, unless the command is ``true``."""

    def __init__(self) -> None:
        super().__init__(HEAD)
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

    async def run(self, job: SandboxJob) -> SandboxResult:
        if job.command == "true":
            return await super().run(job)
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()
        raise AssertionError


async def test_every_question_is_answered_through_the_pipe_as_in_the_same_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(AGENTS, Asker.name, Asker)
    near, far = workplace(), workplace()
    asked = asking("everything")
    local = LocalRunner(lambda _: ScriptedModel(), VirtualClock(datetime.now(UTC)))
    here = await local.run(asked, near)
    async with running(command=ASKER) as runner:
        there = await runner.run(asked, far)
    assert here.status == "completed", here
    assert len(here.outputs) == 14
    assert there.outputs == here.outputs
    assert len(near.kept) == len(far.kept) == 1
    assert near.effects == far.effects != []
    assert near.jobs[0].command == far.jobs[0].command == "make test"
    assert far.jobs[0].edits[0].content == "x = 1"


async def test_the_same_task_draws_the_same_numbers_and_another_one_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(AGENTS, Asker.name, Asker)
    runner = LocalRunner(lambda _: ScriptedModel(), VirtualClock(datetime.now(UTC)))
    first, again, other = [
        (await runner.run(asking("everything", number), workplace())).outputs["luck"]
        for number in (1, 1, 2)
    ]
    assert first == again != other


async def test_more_questions_than_may_be_open_wait_for_their_turn() -> None:
    async with running(command=ASKER) as runner:
        result = await runner.run(asking("many"), workplace())
    assert result.outputs == {"read": "500"}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (UserError("There is no sandbox here."), "user"),
        (Retryable("The engine is gone.", dependency="docker"), "retry"),
        (Parked("Wait.", until=datetime(2100, 1, 1, tzinfo=UTC), scope="x"), "park"),
        (KeyError("/srv/secret"), "ours"),
    ],
)
async def test_what_goes_wrong_in_the_workplace_reaches_the_agent_as_what_it_was(
    error: Exception, kind: str
) -> None:
    place = workplace()

    def fail(job: SandboxJob) -> SandboxResult:
        raise error

    place.on_run = fail
    async with running(command=ASKER) as runner:
        result = await runner.run(asking("everything"), place)
    assert result.failure
    assert result.failure.kind == kind
    assert "/srv/secret" not in result.model_dump_json()


async def test_cancelling_a_task_ends_what_its_workplace_does_for_it() -> None:
    place = Hanging()
    async with running(command=ASKER) as runner:
        call = asyncio.ensure_future(runner.run(asking("hang"), place))
        await place.begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert place.ended.is_set()
        assert (await runner.run(asking("everything", 2), workplace())).status == "completed"


async def test_an_agent_that_waits_no_longer_ends_what_it_asked_for_and_goes_on() -> None:
    place = Hanging()
    async with running(command=ASKER) as runner:
        result = await runner.run(asking("impatient"), place)
        assert place.ended.is_set()
    assert "exit_code=0" in str(result.outputs["then"])


async def test_a_process_that_dies_ends_what_the_workplace_does_for_its_tasks() -> None:
    place = Hanging()
    async with running(command=ASKER) as runner:
        call = asyncio.ensure_future(runner.run(asking("hang"), place))
        await place.begun.wait()
        await runner.close()
        with pytest.raises(Retryable):
            await call
        assert place.ended.is_set()
