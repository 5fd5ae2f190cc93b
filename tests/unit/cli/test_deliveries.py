"""``conductor deliveries`` and ``dead-letters`` on a real store and a real way to GitHub."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from bot.cli import dead_letters, deliveries
from bot.deliveries.delivery import Delivery, DeliveryStatus, delivery_key
from bot.deliveries.inbox import batch_of
from bot.simulator import NewApp, Simulator
from pipelines.errors import ConductorError
from pipelines.orchestration.bus.dead import burial
from pipelines.orchestration.bus.local import LocalBus
from pipelines.ports import Batch, Write
from pipelines.stores.sqlite import SqliteBackend
from pipelines.system import SystemClock


@dataclass
class Done:
    code: int
    said: str


class Books:
    """The store of a server, opened as the server does."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'conductor.db'}"
        self.clock = SystemClock()
        self.store = SqliteBackend(folder / "conductor.db", self.clock)
        self.bus = LocalBus(self.store, self.clock)
        self.environment = dict[str, str]()

    async def add(self, guid: str, *, age: int = 0, **fields: object) -> None:
        """Store a delivery, with its body and message if it is not over."""
        values = {"guid": guid, "event": "push", **fields}
        values["received_at"] = self.clock.now() - timedelta(seconds=age)
        delivery = Delivery.model_validate(values)
        await self.bus.commit(batch_of(delivery, "7/42", guid.encode()))

    async def give_up(self, guid: str, reason: str) -> None:
        """Bury the delivery's message."""
        (lease,) = await self.bus.claim(["deliveries"], limit=1, wait=0.0, lease=60.0)
        found = await self.store.get(delivery_key(guid))
        assert found
        dead = Delivery.model_validate_json(found.value).model_copy(
            update={"status": DeliveryStatus.DEAD, "reason": reason}
        )
        record = Write(delivery_key(guid), dead.model_dump_json().encode())
        letter = burial(lease.message, reason, self.clock)
        await self.bus.commit(Batch(writes=[record, letter], settled=[lease]))

    async def close(self) -> None:
        await self.bus.close()
        await self.store.close()

    async def typed(self, *arguments: str) -> Done:
        """Type a command; exit code 2 and the message for an error that is explained."""
        app = typer.Typer()
        deliveries.add_to(app)
        dead_letters.add_to(app)
        environment = {"CONDUCTOR_STORAGE_URL": self.url, **self.environment}
        done = await asyncio.to_thread(CliRunner().invoke, app, arguments, env=environment)
        if isinstance(done.exception, ConductorError):
            return Done(2, str(done.exception))
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return Done(done.exit_code, done.stdout)


@pytest.fixture
async def books(tmp_path: Path) -> AsyncIterator[Books]:
    made = Books(tmp_path)
    yield made
    await made.close()


async def test_the_newest_deliveries_are_listed_beside_a_running_server(books: Books) -> None:
    await books.add("old", age=60, event="issues")
    await books.add("new", status="ignored", reason="Nothing is done about it.")
    listed = await books.typed("deliveries", "list")
    assert [line.split()[:3] for line in listed.said.splitlines()] == [
        ["new", "push", "ignored"],
        ["old", "issues", "accepted"],
    ]
    only = await books.typed("deliveries", "list", "--status", "accepted", "--json")
    assert [one["guid"] for one in json.loads(only.said)] == ["old"]
    assert (await books.typed("deliveries", "list", "--limit", "1")).said.startswith("new")
    nothing = await books.typed("deliveries", "list", "--event", "fork")
    assert nothing.said == "There are no such deliveries.\n"


async def test_what_was_given_up_is_listed_shown_and_requeued(books: Books) -> None:
    assert (await books.typed("dead-letters", "list")).said == "Nothing was given up.\n"
    await books.add("lost")
    await books.give_up("lost", "It failed three times.")
    listed = await books.typed("dead-letters", "list")
    assert listed.said.split()[:3] == ["delivery/lost", "deliveries", "7/42"]
    shown = await books.typed("dead-letters", "show", "delivery/lost")
    assert "It failed three times." in shown.said
    refused = await books.typed("dead-letters", "requeue", "delivery/lost")
    assert (refused.code, "SQLite lets one process write" in refused.said) == (2, True)

    await books.close()
    done = await books.typed("dead-letters", "requeue", "delivery/lost", "--json")
    assert json.loads(done.said) == {"message": "delivery/lost", "queue": "deliveries"}
    again = SqliteBackend(Path(books.url.removeprefix("sqlite:///")), books.clock)
    assert [message.id for message in await again.messages()] == ["delivery/lost"]
    await again.close()


async def test_a_letter_that_is_not_there_is_said_to_be_missing(books: Books) -> None:
    await books.close()
    for verb in ("show", "requeue"):
        done = await books.typed("dead-letters", verb, "nothing")
        assert (done.code, "There is no dead letter 'nothing'" in done.said) == (2, True)


async def test_without_an_app_only_what_was_given_up_can_come_again(books: Books) -> None:
    unknown = await books.typed("deliveries", "redeliver", "gone")
    assert (unknown.code, "no App is configured" in unknown.said) == (2, True)
    await books.add("done", status="done")
    finished = await books.typed("deliveries", "redeliver", "done")
    assert (finished.code, "would be answered as a duplicate" in finished.said) == (2, True)
    await books.add("lost")
    await books.give_up("lost", "It failed three times.")
    await books.close()
    again = await books.typed("deliveries", "redeliver", "lost")
    assert again.said == "delivery/lost is in the queue deliveries again.\n"


def configured(github: Simulator, app: NewApp) -> dict[str, str]:
    return {
        "GITHUB_APP_ID": str(app.app.id),
        "GITHUB_PRIVATE_KEY": app.private_key,
        "GITHUB_API_URL": github.base_url,
    }


async def test_github_is_asked_for_what_is_not_on_record(books: Books, tmp_path: Path) -> None:
    async with Simulator(tmp_path / "github", rng=random.Random(7)) as github:
        app = await github.create_app(github.create_organization("acme"))
        app.app.webhook_url = "http://127.0.0.1:1/nobody"
        github.ping(app.app)
        await github.settled()
        (missed,) = github.deliveries
        books.environment = configured(github, app)
        done = await books.typed("deliveries", "redeliver", missed.guid)
        assert done.said == f"GitHub sends delivery {missed.guid} again.\n"
        await github.settled()
        assert [one.guid for one in github.deliveries] == [missed.guid] * 2
        unknown = await books.typed("deliveries", "redeliver", "0" * 32)
        assert (unknown.code, "no longer has it" in unknown.said) == (2, True)
