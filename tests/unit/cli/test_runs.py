"""``conductor runs`` and ``conductor data`` on a real store, with and without a server on it."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from bot.cli import data, runs
from pipelines.errors import ConductorError
from pipelines.integrations.llm.mock import Script
from pipelines.model import RunState, Step, StepState, TaskResult, WorkflowRun
from pipelines.orchestration.bus.local import LocalBus
from pipelines.orchestration.keys import run_key
from pipelines.orchestration.state import StateManager
from pipelines.ports import Batch, Write
from pipelines.replay.tape import Tape
from pipelines.stores.archive import Archive
from pipelines.stores.codec import encode
from pipelines.stores.sqlite import SqliteBackend
from pipelines.system import SystemClock
from tests.support.command import conductor
from tests.support.models import proposal
from tests.support.records import a_full_result, a_task
from tests.support.samples import a_result, a_run
from tests.support.takes import Take, take
from tests.support.workplace import MemoryWorkplace
from tests.unit.agents.material import review_task

PATH, LINE = "shop/cart.py", "    return sum(prices) / len(prices)"
TREES = ({PATH: f"def mean(prices):\n{LINE}\n"}, {PATH: "def mean(prices):\n    return 0\n"})
FOUND = Script.model_validate(
    {"rules": [{"replies": [{"json": {"findings": [proposal(PATH, 2, LINE)]}}]}]}
)


class Books:
    """The store of a server, opened as the server does."""

    def __init__(self, folder: Path) -> None:
        self.clock = SystemClock()
        self.store = SqliteBackend(folder / "conductor.db", self.clock)
        self.bus = LocalBus(self.store, self.clock)
        self.state = StateManager(self.store, self.bus, self.clock)

    async def add(self, run: WorkflowRun, **results: TaskResult) -> None:
        await self.state.create(run, results=results)

    async def keep(self, recorded: Take) -> None:
        """Store a run with its history and recordings."""
        tape, run = Tape(self.store), recorded.run
        writes: list[Write] = []
        for recording in recorded.recordings:
            writes += tape.recorded(recording, self.clock.now())
        for passage in recorded.history:
            before = run.model_copy(update={"version": passage.version - 1})
            start = passage.start or run
            writes.append(tape.passed(None if passage.start else before, start, passage.happened))
        await self.store.commit(Batch(writes=writes))
        await self.add(run)
        for _ in recorded.history[1:]:
            key = run_key(run.change.repository.tenant, run.id)
            await self.store.commit(Batch(writes=[Write(key, encode(run))]))

    async def close(self) -> None:
        await self.bus.close()
        await self.store.close()


@pytest.fixture
async def books(tmp_path: Path) -> AsyncIterator[Books]:
    books = Books(tmp_path)
    yield books
    await books.close()


def live_run(identity: str = "run-9") -> WorkflowRun:
    step = Step(name="review", agent="review", state=StepState.QUEUED, attempt=1)
    return a_run(id=identity, steps=(step,), state=RunState.RUNNING, conclusion=None, group="live")


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


async def typed(*arguments: str, folder: Path) -> Done:
    """Type a command of the group ``runs``, in this process."""
    return await said("runs", *arguments, folder=folder)


async def said(*arguments: str, folder: Path) -> Done:
    app = typer.Typer()
    runs.add_to(app)
    data.add_to(app)
    url = f"sqlite:///{folder / 'conductor.db'}"
    environment = {"CONDUCTOR_STORAGE_URL": url}
    done = await asyncio.to_thread(CliRunner().invoke, app, arguments, env=environment)
    if isinstance(done.exception, ConductorError):  # as ``bot.cli.main`` ends then
        return Done(2, done.stdout, f"conductor: {done.exception}\n")
    return Done(done.exit_code, done.stdout, done.stderr)


async def test_runs_are_listed_and_shown_beside_a_running_server(
    books: Books, tmp_path: Path
) -> None:
    step = a_run().steps[0].model_copy(update={"has_result": True})
    await books.add(a_run(steps=(step,)), review=a_result())
    await books.add(live_run())

    listed = await typed("list", folder=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert sorted(line.split()[:3] for line in listed.stdout.splitlines()) == [
        ["run-1", "failure", "acme/shop"],
        ["run-9", "running", "acme/shop"],
    ]
    assert [
        line.split()[0]
        for line in (await typed("list", "--live", folder=tmp_path)).stdout.splitlines()
    ] == ["run-9"]

    shown = await typed("show", "run-1", folder=tmp_path)
    assert "review (review): failure  1 finding blocks" in shown.stdout
    assert "  shop/cart.py:3: high: An empty cart divides by zero" in shown.stdout
    told = json.loads((await typed("show", "run-1", "--json", folder=tmp_path)).stdout)
    assert told["run"]["id"] == "run-1"
    assert told["results"]["review"]["title"] == "1 finding blocks"


async def test_a_running_server_alone_changes_its_runs(books: Books, tmp_path: Path) -> None:
    await books.add(live_run())
    for verb in ("cancel", "retry"):
        done = await typed(verb, "run-9", folder=tmp_path)
        assert done.returncode == 2
        assert f"`/conductor {verb}`" in done.stderr
        assert done.stderr.count("\n") == 1


async def test_a_run_is_cancelled_while_no_server_runs(books: Books, tmp_path: Path) -> None:
    await books.add(live_run())
    await books.close()
    done = await typed("cancel", "run-9", "--reason", "Frozen.", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, "Run run-9 is cancelled.\n"), done.stderr
    assert "Frozen." in (await typed("show", "run-9", folder=tmp_path)).stdout
    again = await typed("cancel", "run-9", folder=tmp_path)
    assert (again.returncode, "is over already" in again.stderr) == (2, True)


async def test_a_retried_run_waits_for_a_server(books: Books, tmp_path: Path) -> None:
    await books.add(a_run())
    await books.close()
    done = await typed("retry", "run-1", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    new = json.loads(done.stdout)
    assert new["rerun_of"] == "run-1"
    told = json.loads((await typed("show", new["run"], "--json", folder=tmp_path)).stdout)["run"]
    assert (told["rerun_of"], told["generation"], told["state"]) == ("run-1", 2, "running")
    assert [step["state"] for step in told["steps"]] == ["queued"]


async def test_a_recorded_run_is_replayed_beside_a_running_server(
    books: Books, tmp_path: Path
) -> None:
    await books.keep(await take(review_task(run_id="run-1"), MemoryWorkplace(*TREES), FOUND))
    done = await typed("replay", "run-1", folder=tmp_path)
    assert done.stdout.splitlines() == [
        "run run-1",
        "engine, 4 transitions: equal",
        "review, attempt 1 (review): equal",
    ], done.stderr
    assert done.returncode == 0
    told = json.loads((await typed("replay", "run-1", "--json", folder=tmp_path)).stdout)
    assert told["steps"][0]["outcome"] == "equal"


async def test_drift_fails_unless_it_is_allowed(books: Books, tmp_path: Path) -> None:
    recorded = await take(review_task(run_id="run-1"), MemoryWorkplace(*TREES), FOUND)
    (recording,) = recorded.recordings
    (said,) = recording.said
    exchange = said.exchange.model_copy(update={"digest": "0" * 64})
    drifted = recording.model_copy(
        update={"said": (said.model_copy(update={"exchange": exchange}),)}
    )
    recorded.recordings = [drifted]
    await books.keep(recorded)

    done = await typed("replay", "run-1", folder=tmp_path)
    assert done.returncode == 1
    assert "`review` changed (000000000000 → " in done.stdout
    allowed = await typed("replay", "run-1", "--allow-prompt-drift", folder=tmp_path)
    assert allowed.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("show", "nothing"), "There is no run 'nothing'"),
        (("show", "run"), "2 runs begin with 'run'"),
        (("replay", "run-1"), "Nothing is recorded of run run-1"),
        (("retry", "run-9"), "A server is running"),
    ],
)
async def test_what_cannot_be_done_is_said_in_a_sentence(
    books: Books, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    await books.add(a_run())
    await books.add(live_run())
    done = await typed(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_a_store_there_is_one_sentence_and_no_new_file(tmp_path: Path) -> None:
    done = conductor("runs", "list", folder=tmp_path)
    assert done.returncode == 2
    assert "There is no database conductor.db" in done.stderr
    assert list(tmp_path.iterdir()) == []


async def test_every_command_has_an_example(tmp_path: Path) -> None:
    for verb in ("list", "show", "cancel", "retry", "replay"):
        assert "Example:" in (await typed(verb, "--help", folder=tmp_path)).stdout
    for verb in ("export", "delete"):
        assert "Example:" in (await said("data", verb, "--help", folder=tmp_path)).stdout


# --- data ----------------------------------------------------------------------------------------


async def full(books: Books) -> None:
    archive = Archive(books.store, books.clock)
    for tenant, canary in (("7/42", "canaryone"), ("7/43", "canarytwo"), ("8/42", "canarythree")):
        task = a_task(tenant, run_id=f"run-{canary}")
        await books.store.commit(Batch(writes=archive.left(task, a_full_result(canary))))
        installation, repository = tenant.split("/")
        body = {"installation": {"id": int(installation)}, "repository": {"id": int(repository)}}
        delivery = {"guid": canary, "event": "push", "received_at": "2026-01-05T09:00:00Z"}
        writes = [
            Write(f"body/{canary}", json.dumps(body | {"text": canary}).encode()),
            Write(f"delivery/{canary}", json.dumps(delivery).encode()),
        ]
        await books.store.commit(Batch(writes=writes))


async def test_an_export_is_private_and_holds_all_of_one_repository(
    books: Books, tmp_path: Path
) -> None:
    await full(books)
    target = tmp_path / "out.jsonl"
    arguments = ("data", "export", "7", "--repository", "42", "--output", str(target))
    done = await said(*arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    keys = [json.loads(line)["key"] for line in target.read_text().splitlines()]
    assert {"body/canaryone", "delivery/canaryone"} < set(keys)
    assert "canarytwo" not in target.read_text()
    again = await said(*arguments, folder=tmp_path)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)


async def test_deletion_leaves_no_canary_of_the_installation(books: Books, tmp_path: Path) -> None:
    await full(books)
    await books.close()
    done = await said("data", "delete", "7", "--yes", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    after = SqliteBackend(tmp_path / "conductor.db", books.clock)
    values = b"".join([key.encode() + record.value async for key, record in after.scan("")])
    await after.close()
    assert b"canaryone" not in values
    assert b"canarytwo" not in values
    assert b"canarythree" in values
