"""Random histories: what is durable, restarted at will, never differs from plain dictionaries."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from pipelines.errors import ConductorError
from pipelines.ports import Append, Batch, Lease, Message, Write
from pipelines.stores.backend import StorageBackend
from pipelines.stores.memory import MemoryBackend
from pipelines.stores.sqlite import SqliteBackend
from tests.contracts.conftest import Servers, over
from tests.contracts.make import lease, message
from tests.support.clock import VirtualClock
from tests.support.valkey import Server

KEYS = ["a", "a/1", "a/2", "b", "b/%", "b/_"]
LOGS = ["log", "log/2"]

writes = st.builds(
    Write,
    key=st.sampled_from(KEYS),
    value=st.none() | st.binary(max_size=4),
    expect=st.none() | st.integers(0, 3),
    ttl=st.none() | st.integers(1, 20),
)
appends = st.builds(
    Append, log=st.sampled_from(LOGS), item=st.binary(max_size=4), keep=st.integers(1, 4)
)
messages = st.builds(
    message,
    st.sampled_from("xyz"),
    attempts=st.integers(0, 2),
    body=st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=2),
)


def unique(items: st.SearchStrategy[Any], by: str) -> st.SearchStrategy[list[Any]]:
    return st.lists(items, max_size=4, unique_by=lambda item: getattr(item, by))


def leases(held: st.SearchStrategy[Message]) -> st.SearchStrategy[list[Lease]]:
    return unique(held, "id").map(lambda items: [lease(item) for item in items[:2]])


batches = st.builds(
    Batch,
    writes=unique(writes, "key"),
    appends=st.lists(appends, max_size=2),
    messages=unique(messages, "id"),
    settled=st.just([]) | leases(messages),
)


class Agreement(RuleBasedStateMachine):
    """With a SQLite file; below, with a server."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = VirtualClock()
        self.plain = MemoryBackend(self.clock)
        self.durable = self.open()

    def open(self) -> StorageBackend:
        return SqliteBackend(Path(self.folder.name) / "conductor.db", self.clock)

    @rule(batch=batches)
    def commit(self, batch: Batch) -> None:
        assert self.attempt(self.plain, batch) == self.attempt(self.durable, batch)

    def attempt(self, backend: StorageBackend, batch: Batch) -> str:
        try:
            self.runner.run(backend.commit(batch))
        except ConductorError as error:
            return f"{type(error).__name__}: {error}"
        return "stored"

    @rule(seconds=st.integers(1, 15))
    def wait(self, seconds: int) -> None:
        self.runner.run(self.clock.advance(seconds))

    @rule()
    def sweep(self) -> None:
        assert self.runner.run(self.plain.sweep()) == self.runner.run(self.durable.sweep())

    @rule()
    def restart(self) -> None:
        self.runner.run(self.durable.close())
        self.durable = self.open()

    @invariant()
    def both_hold_the_same(self) -> None:
        assert self.runner.run(contents(self.plain)) == self.runner.run(contents(self.durable))

    def teardown(self) -> None:
        self.runner.run(self.durable.close())
        self.runner.close()
        self.folder.cleanup()


async def contents(backend: StorageBackend) -> tuple[Any, ...]:
    return (
        [item async for item in backend.scan("")],
        [item async for item in backend.scan("a/", after="a/1")],
        dict(await backend.get_many(KEYS)),
        [list(await backend.read_log(log, after=1)) for log in LOGS],
        await backend.messages(),
    )


class ServerAgreement(Agreement):
    server: ClassVar[Server]

    def __init__(self) -> None:
        self.server.command("FLUSHALL")
        super().__init__()

    def open(self) -> StorageBackend:
        return over(self.server.url, self.clock)


SETTINGS = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_a_file_agrees_with_dictionaries() -> None:
    run_state_machine_as_test(Agreement, settings=SETTINGS)


@pytest.mark.parametrize("kind", ["valkey", "redis"])
def test_a_server_agrees_with_dictionaries(servers: Servers, kind: str) -> None:
    ServerAgreement.server = servers.empty(kind)
    run_state_machine_as_test(ServerAgreement, settings=SETTINGS)
