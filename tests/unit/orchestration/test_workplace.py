"""A task's workplace: what it may ask for, and that it reaches nothing beyond its task."""

import asyncio
from typing import Any

import pytest

from pipelines.errors import LeaseLost, UserError
from pipelines.integrations.containers.base import Sandbox
from pipelines.integrations.containers.mock import MockRuntime
from pipelines.model import (
    FileEdit,
    Measurement,
    SandboxInfo,
    SandboxJob,
    SandboxResult,
    Series,
    SignalRequest,
    StepState,
)
from pipelines.orchestration.workplace import Builders, Sandboxes
from pipelines.ports import Snapshot, Write
from tests.simulation.plans import a_change, a_run, a_step
from tests.support.clock import EPOCH
from tests.support.forge import Pull
from tests.unit.orchestration.yard import Yard, created, deploying

JOB = SandboxJob(command="make test")
SIGNAL = SignalRequest(name="errors", start=EPOCH, end=EPOCH)


class Box(Sandbox):
    """Runs nothing; remembers what it was given."""

    def __init__(self) -> None:
        self.ran: list[tuple[SandboxJob, Snapshot]] = []
        self.trusted: list[bool] = []

    @property
    def info(self) -> SandboxInfo:
        return SandboxInfo(name="bubblewrap", level=1)

    async def run(self, job: SandboxJob, snapshot: Snapshot) -> SandboxResult:
        self.ran.append((job, snapshot))
        return SandboxResult(sandbox=self.info, exit_code=0)

    async def close(self) -> None:
        return None

    def provider(self, *, strangers: bool = True) -> Sandboxes:
        async def provide(trusted: bool) -> Sandbox | SandboxInfo:
            self.trusted.append(trusted)
            if trusted or strangers:
                return self
            return SandboxInfo(name="none", level=0, reason="only the host is there")

        return provide


class Keeper:
    """A memory that keeps measurements."""

    async def lessons(self, *_: Any) -> tuple[()]:
        return ()

    async def records(self, *_: Any) -> list[Write]:
        return []

    async def measured(self, task: Any, measurements: Any) -> list[Write]:
        return [Write(f"kept/{task.id}", str(len(measurements)).encode())]

    def learned(self, *_: Any) -> list[Write]:
        return []


@pytest.fixture
def pulled(yard: Yard) -> Yard:
    yard.forge.pulls[5] = Pull(5, "one")
    return yard


def a_tested_run(**change: Any) -> Any:
    step = a_step("tests", agent="test", attempt=1).model_copy(update={"state": StepState.RUNNING})
    return a_run(step, change=a_change(**change))


async def test_a_command_runs_over_the_files_of_its_side_which_are_loaded_once(
    pulled: Yard,
) -> None:
    run, box = await pulled.begun(a_tested_run()), Box()
    place, _ = await pulled.workplace(run, "tests", sandboxes=box.provider())
    assert (await place.sandbox()).name == "bubblewrap"
    at_base = JOB.model_copy(update={"at": "base"})
    await asyncio.gather(place.run(JOB), place.run(JOB), place.run(at_base))
    assert {snapshot.sha for _, snapshot in box.ran} == {run.change.head_sha, run.change.base_sha}
    assert pulled.forge.faults.passed.count("source.snapshot") == 2
    assert box.trusted == [True]


@pytest.mark.parametrize(
    "path", ["../up", "/etc/passwd", ".git/config", "a/../../b", "a\\b", "-rf"]
)
async def test_an_edit_lies_only_where_a_file_of_a_repository_can_lie(
    pulled: Yard, path: str
) -> None:
    run, box = await pulled.begun(a_tested_run()), Box()
    place, _ = await pulled.workplace(run, "tests", sandboxes=box.provider())
    job = JOB.model_copy(update={"edits": (FileEdit(path=path, content="x"),)})
    with pytest.raises(UserError, match="cannot be laid over"):
        await place.run(job)
    assert not box.ran


async def test_a_strangers_code_is_run_only_where_the_sandbox_is_strong_enough(
    pulled: Yard,
) -> None:
    run, box = await pulled.begun(a_tested_run(author_can_write=False)), Box()
    place, _ = await pulled.workplace(run, "tests", sandboxes=box.provider(strangers=False))
    assert (await place.sandbox()).name == "none"
    with pytest.raises(UserError, match="only the host is there"):
        await place.run(JOB)
    assert not box.ran
    assert box.trusted == [False]


def engine(runtime: MockRuntime) -> Builders:
    async def provide(trusted: bool) -> MockRuntime | SandboxInfo:
        return runtime if trusted else SandboxInfo(name="none", level=0, reason="too weak")

    return provide


async def test_an_image_is_built_over_the_edits_without_network_and_is_not_kept(
    pulled: Yard,
) -> None:
    run, runtime = await pulled.begun(a_tested_run()), MockRuntime()
    place, _ = await pulled.workplace(run, "tests", builders=engine(runtime))
    text = "FROM a:1 AS b\nFROM c:2\nCOPY --from=b / /\nCOPY --from=d:3 / /\n"
    built = await place.build("Dockerfile", [FileEdit(path="Dockerfile", content=text)])
    assert built.ok, built
    (order,) = runtime.builds
    assert (order.bases, order.network, order.keep) == (("a:1", "c:2", "d:3"), False, False)


@pytest.mark.parametrize(
    ("path", "text", "told"),
    [("../x", "FROM a:1", "cannot be laid over"), ("Dockerfile", "hello", "no instruction")],
)
async def test_what_cannot_be_built_reaches_no_engine(
    pulled: Yard, path: str, text: str, told: str
) -> None:
    run, runtime = await pulled.begun(a_tested_run()), MockRuntime()
    place, _ = await pulled.workplace(run, "tests", builders=engine(runtime))
    edits = [FileEdit(path=path, content=text)]
    if path.startswith(".."):
        with pytest.raises(UserError, match=told):
            await place.build("Dockerfile", edits)
    else:
        assert told in (await place.build("Dockerfile", edits)).reason
    assert runtime.builds == []


async def test_a_strangers_files_are_built_only_by_what_is_strong_enough(pulled: Yard) -> None:
    run, runtime = await pulled.begun(a_tested_run(author_can_write=False)), MockRuntime()
    place, _ = await pulled.workplace(run, "tests", builders=engine(runtime))
    assert (await place.build("Dockerfile", [])).reason == "too weak"
    assert runtime.builds == []


async def test_an_installation_without_anything_says_so_and_breaks_nothing(pulled: Yard) -> None:
    run = await pulled.begun(deploying("a"))
    pulled.outlets._targets = None
    change = run.change.model_copy(update={"number": 5})
    place, _ = await pulled.workplace(run.model_copy(update={"change": change}))
    assert not (await place.sandbox()).usable
    with pytest.raises(UserError, match="Nothing can be run here"):
        await place.run(JOB)
    with pytest.raises(UserError, match="deploys nowhere"):
        await place.release_state()
    assert not (await place.probe()).ok
    (series,) = await place.series([SIGNAL])
    assert (series.points, series.reason) == ((), "nothing is set up to measure with")
    assert (await place.traces(SIGNAL)).reason
    await place.keep([Measurement(environment="staging", series=Series(name="e"), at=EPOCH)])


async def test_a_task_without_an_environment_cannot_ask_about_any(pulled: Yard) -> None:
    place, _ = await pulled.workplace(await pulled.begun(a_tested_run()), "tests")
    asks = (
        place.environment(),
        place.release_state(),
        place.release_log(),
        place.probe(),
        place.series([SIGNAL]),
    )
    for ask in asks:
        with pytest.raises(UserError, match="no environment"):
            await ask


async def shipping(yard: Yard) -> Any:
    run = await yard.begun(deploying("a"))
    change = run.change.model_copy(update={"number": 5, "head_repository_id": 42})
    place, _ = await yard.workplace(run.model_copy(update={"change": change}), memory=Keeper())
    return run, place


async def test_a_denied_deed_is_a_receipt_and_a_repeated_one_is_done_once(pulled: Yard) -> None:
    run, place = await shipping(pulled)
    wrong = await place.perform(created(run, environment="production", production=True))
    assert (wrong.status, wrong.message) == (
        "denied",
        "This step does not deploy to `production`.",
    )
    first, again = await asyncio.gather(place.perform(created(run)), place.perform(created(run)))
    assert first.number == again.number
    assert len(pulled.forge.done) == 1
    seen = await place.environment()
    assert (seen.deployment_id, seen.deployment_sha) == (first.number, run.change.head_sha)


async def test_a_task_whose_run_went_on_without_it_does_nothing_more(pulled: Yard) -> None:
    run, place = await shipping(pulled)
    await pulled.ended(run)
    with pytest.raises(LeaseLost):
        await place.perform(created(run))
    assert not pulled.forge.done


async def test_measurements_outlive_the_attempt_that_took_them(pulled: Yard) -> None:
    _, place = await shipping(pulled)
    await place.keep([Measurement(environment="staging", series=Series(name="e"), at=EPOCH)] * 2)
    stored = await pulled.inner.get("kept/a/ship/1")
    assert stored
    assert stored.value == b"2"


async def test_a_services_log_is_cut_to_its_newest_part(pulled: Yard) -> None:
    _, place = await shipping(pulled)
    pulled.harbor.output = "ä" * 100_000 + "last"
    text = await place.release_log()
    assert text.endswith("last")
    assert len(text.encode()) <= 64 * 1024


async def test_a_snapshot_that_could_not_be_loaded_is_loaded_again(pulled: Yard) -> None:
    run, box = await pulled.begun(a_tested_run()), Box()
    place, _ = await pulled.workplace(run, "tests", sandboxes=box.provider())
    pulled.forge.faults.plan("source.snapshot", UserError("Too slow."))
    with pytest.raises(UserError, match="Too slow"):
        await place.run(JOB)
    assert (await place.run(JOB)).exit_code == 0
    await place.close()
