"""Conductor's inside on one store: all of it real but the forge, the agents and the clock."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from bot.deliveries.delivery import Delivery, DeliveryStatus
from bot.deliveries.inbox import Accepted, Inbox, Triaged
from bot.events.filters import AppIdentity
from bot.intake import build_intake
from pipelines.model import Repository, WorkflowRun
from pipelines.orchestration.assembly import Outside, orchestrate
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.bus.local import LocalBus
from pipelines.orchestration.dispatch import Dispatcher
from pipelines.orchestration.state import BusJournal
from pipelines.ports import Batch, Lease, Message, Versioned
from pipelines.stores.archive import Archive
from pipelines.stores.backend import StorageBackend
from pipelines.stores.memory import MemoryBackend
from pipelines.stores.sqlite import SqliteBackend
from pipelines.system import SortableIds
from tests.support.agents import Script, ScriptedAgents, review
from tests.support.clock import VirtualClock
from tests.support.forge import ALICE, REPOSITORY, Faults, Forge, sha
from tests.support.harbor import Harbor

IDENTITY = AppIdentity(app_id=99, bot_user_id=98, slug="conductor")
LANES = ("deliveries", "effects", "reports", "timers")


class FaultyBackend(StorageBackend):
    """A store whose every commit may be the last thing that happens, before or after it took."""

    def __init__(self, inner: StorageBackend, faults: Faults) -> None:
        self.inner = inner
        self._faults = faults

    async def get(self, key: str) -> Versioned | None:
        return await self.inner.get(key)

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, Versioned]:
        return await self.inner.get_many(keys)

    def scan(self, prefix: str, *, after: str = "") -> AsyncIterator[tuple[str, Versioned]]:
        return self.inner.scan(prefix, after=after)

    async def read_log(
        self, log: str, *, after: int = 0, limit: int = 1000
    ) -> Sequence[tuple[int, bytes]]:
        return await self.inner.read_log(log, after=after, limit=limit)

    async def messages(self) -> Sequence[Message]:
        return await self.inner.messages()

    async def commit(self, batch: Batch) -> None:
        self._faults.point("before commit")
        await self.inner.commit(batch)
        self._faults.point("after commit")

    async def sweep(self) -> int:
        return await self.inner.sweep()

    async def ping(self) -> None:
        await self.inner.ping()

    async def close(self) -> None:
        await self.inner.close()


class World:
    """One installation of Conductor that can crash and start again on what it stored."""

    identity = IDENTITY

    def __init__(
        self,
        forge: Forge,
        clock: VirtualClock,
        path: Path | None = None,
        *,
        agents: Collection[str] = ("review",),
        script: Script = review,
    ) -> None:
        self.known_agents = frozenset(agents)
        self.forge = forge
        self.clock = clock
        self.path = path
        self.rng = random.Random(7)
        self.agents = ScriptedAgents(forge.faults, script)
        self.harbor = Harbor(forge.faults)
        self.accepted: set[str] = set()
        self.comments: list[str] = []
        self.installed = True
        self.tenant = "7/42"
        """Whose turn deliveries take: not that of the runs, so that neither waits for the other."""
        self._kept = MemoryBackend(clock) if path is None else None
        self._ids = SortableIds(clock, self.rng)
        self._deliveries = 0
        self._sent: dict[str, tuple[str, bytes]] = {}

    @classmethod
    async def started(cls, forge: Forge, **options: Any) -> "World":
        """A world in memory that has begun."""
        world = cls(forge, VirtualClock(), **options)
        await world.start()
        return world

    async def start(self) -> None:
        """Open the store and put every part together, as at the start of the process."""
        self.store = FaultyBackend(self.opened(), self.forge.faults)
        self.bus: MessageBus = LocalBus(self.store, self.clock)
        await self.bus.start()
        self._wire()
        await self.coordinator.tick_all()

    def opened(self) -> StorageBackend:
        """Return the store: the one in memory outlives a crash as a file does."""
        if self._kept is not None:
            return self._kept
        assert self.path is not None
        return SqliteBackend(self.path, self.clock)

    def outside(self) -> Outside:
        """What orchestration is given; called at each start."""
        return Outside(
            store=self.store,
            bus=self.bus,
            source=self.forge,
            reporter=self.forge,
            runner=self.agents,
            clock=self.clock,
            ids=self._ids,
            rng=self.rng,
            agents=self.known_agents,
            worker="test",
            targets=lambda plan: self.harbor,
            memory=self.archive,
            together=timedelta(),
        )

    def _wire(self) -> None:
        clock, forge, bus = self.clock, self.forge, self.bus
        self.archive = Archive(self.store, clock)
        parts = orchestrate(self.outside())
        self.state, self.coordinator = parts.state, parts.coordinator
        self.standing, self.errors = parts.standing, parts.errors
        self.execution, self.roster = parts.execution, parts.roster
        self.intake = build_intake(
            coordinator=self.coordinator,
            state=self.state,
            standing=self.standing,
            source=forge,
            permissions=forge,
            store=self.store,
            bus=bus,
            clock=clock,
            identity=self.identity,
            repositories=self._repository,
        )
        handlers = {**parts.handlers, "deliveries": self.intake}
        self.dispatcher = Dispatcher(handlers, bus=bus, errors=self.errors, clock=clock)

    async def _repository(self, full_name: str) -> Repository | None:
        return REPOSITORY if self.installed and full_name == REPOSITORY.full_name else None

    async def close(self) -> None:
        """End the process in good order."""
        await self.bus.close()
        if self._kept is None:
            await self.store.inner.close()

    # --- what happens outside --------------------------------------------------------------------

    async def deliver(self, event: str, guid: str | None = None, **payload: Any) -> Accepted:
        """Hand a webhook to the inbox, as the web process does once the signature is right."""
        self._deliveries += 1
        guid = guid or f"guid-{self._deliveries}"
        body = json.dumps(
            {
                "installation": {"id": REPOSITORY.installation_id},
                "repository": repository_json(),
                "sender": {"id": ALICE.id, "login": ALICE.login, "type": "User"},
                **payload,
            }
        ).encode()
        self._sent[guid] = (event, body)
        return await self.redeliver(guid)

    async def redeliver(self, guid: str) -> Accepted:
        """Send a delivery again as it was."""
        event, body = self._sent[guid]
        inbox = Inbox(BusJournal(self.store, self.bus), self.clock, lambda *_: Triaged(self.tenant))
        accepted = await inbox.accept(guid, event, body)
        self.accepted.add(guid)
        return accepted

    async def pull_request(self, action: str, number: int, head: str, **fields: Any) -> Accepted:
        """Deliver a pull request event as of a head."""
        guid = fields.pop("guid", None)
        pull = {
            "number": number,
            "head": {"sha": sha(head), "ref": "topic", "repo": repository_json()},
            "base": {"sha": sha("base"), "ref": "main", "repo": repository_json()},
            "user": {"id": ALICE.id, "login": ALICE.login, "type": "User"},
            "draft": False,
            "labels": [],
            "state": "open",
            "nonce": self._deliveries,
            "updated_at": self.clock.now().isoformat(),
        } | fields
        return await self.deliver(
            "pull_request", guid, action=action, number=number, pull_request=pull
        )

    async def comment(self, number: int, text: str, by: Any = ALICE, **fields: Any) -> Accepted:
        """Deliver a comment on a pull request."""
        user = {"id": by.id, "login": by.login, "type": by.type}
        guid = fields.pop("guid", None) or f"comment-{self._deliveries}"
        comment = {
            "id": 1000 * number + 1 + sorted({*self.comments, guid}).index(guid),
            "user": user,
            "body": text,
            "created_at": self.clock.now().isoformat(),
            "updated_at": self.clock.now().isoformat(),
        }
        self.comments.append(guid)
        issue = {
            "number": number,
            "user": user,
            "labels": [],
            "pull_request": {"url": "https://forge.test/pr"},
            "updated_at": self.clock.now().isoformat(),
        } | fields
        return await self.deliver(
            "issue_comment", guid, action="created", comment=comment, issue=issue, sender=user
        )

    async def check(self, action: str, external_id: str, head: str, **fields: Any) -> Accepted:
        """Deliver that somebody pressed something on a check."""
        self._deliveries += 1
        check = {
            "id": 1,
            "external_id": external_id,
            "head_sha": sha(head),
            "app": {"id": IDENTITY.app_id},
            "nonce": self._deliveries,
        }
        return await self.deliver("check_run", action=action, check_run=check, **fields)

    # --- what happens inside ---------------------------------------------------------------------

    async def claim(self, *queues: str) -> Lease | None:
        """Take the next due message, if there is one."""
        wanted = queues or (*LANES, *self.coordinator.queues)
        leases = await self.bus.claim(wanted, limit=1, wait=0.0, lease=60.0)
        return leases[0] if leases else None

    async def work(self, *queues: str) -> int:
        """Handle what is due, one message after the other; return how many there were."""
        count = 0
        while (lease := await self.claim(*queues)) is not None:
            await self.dispatcher.handle(lease)
            count += 1
            assert count < 500, "the work never ends"
        return count

    async def settle(self, *, hours: float = 1.0) -> None:
        """Work until nothing is left that is due within so many hours."""
        left = hours * 3600
        while True:
            await self.work()
            due = await self._next_due()
            if due is None or due > left:
                return
            await self.clock.advance(due + 0.01)
            left -= due

    async def _next_due(self) -> float | None:
        await asyncio.sleep(0)
        now = self.clock.now()
        waits = [
            (message.not_before - now).total_seconds() if message.not_before else 60.0
            for message in await self.store.messages()
        ]
        return min((max(wait, 0.0) for wait in waits), default=None)

    # --- what tests ask --------------------------------------------------------------------------

    async def deliveries(self) -> dict[str, Delivery]:
        """Every delivery on record."""
        return {
            record.guid: record
            async for _, stored in self.store.scan("delivery/")
            for record in [Delivery.model_validate_json(stored.value)]
        }

    async def runs(self) -> list[WorkflowRun]:
        """Every run that is not Conductor's own, oldest first."""
        recent = (await self.state.recent(1000)).runs
        found = [await self.state.get(line.tenant, line.run_id) for line in recent]
        runs = [run for run in found if run is not None]
        ours = [run for run in runs if not run.workflow.startswith(("/", ".", "("))]
        return sorted(ours, key=lambda run: (run.created_at, run.generation))

    async def check_accounts(self) -> None:
        """Accepted = done + failed + dead + ignored + superseded; no check spins for ever."""
        statuses = Counter(d.status for d in (await self.deliveries()).values())
        assert statuses[DeliveryStatus.ACCEPTED] == 0, statuses
        assert statuses.total() == len(self.accepted)
        live = [run async for run in self.state.live() if run.steps[0].state != "waiting"]
        assert not live, live
        assert not self.forge.unfinished()
        doubled = {key: n for key, n in self.forge.written().items() if n > 1}
        assert not doubled, doubled


def repository_json() -> dict[str, Any]:
    """The repository as GitHub's payloads have it."""
    return {
        "id": REPOSITORY.id,
        "name": REPOSITORY.name,
        "owner": {"login": REPOSITORY.owner, "id": 5, "type": "Organization"},
        "default_branch": "main",
        "private": True,
        "full_name": REPOSITORY.full_name,
    }
