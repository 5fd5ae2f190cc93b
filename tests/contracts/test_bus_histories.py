"""Random histories of a bus: nothing lost, nothing held twice, nothing settled twice."""

import random
from datetime import timedelta

import pytest

from pipelines.errors import LeaseLost
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.bus.dead import DeadLetters
from pipelines.ports import Batch, Lease
from pipelines.stores.backend import StorageBackend
from tests.contracts.conftest import Stores
from tests.contracts.make import message

QUEUES = ("deliveries", "agent.review", "effects")


class History:
    """Does random things to a bus and knows what must be true after each."""

    def __init__(self, stores: Stores, seed: int) -> None:
        self.stores = stores
        self.clock = stores.clock
        self.rng = random.Random(seed)
        self.backend: StorageBackend = stores.open()
        self.bus: MessageBus = stores.bus(self.backend)
        self.pending: dict[str, int] = {}
        """Unsettled messages by id, with a number that each putting of one gets."""
        self.held: dict[str, tuple[Lease, float]] = {}
        """Leases that must hold, with the time at which they run out."""
        self.stale: list[Lease] = []
        self.sent = self.ended = 0

    async def run(self, turns: int) -> None:
        await self.bus.start()
        actions = [self.send] * 4 + [self.claim] * 4 + [self.settle] * 3
        actions += [self.release, self.renew, self.bury, self.replace, self.wait, self.zombie]
        for turn in range(turns):
            await (self.rng.choice(actions) if turn % 40 else self.restart)()
            self.expire()
            assert sum((await self.bus.depth()).values()) == len(self.pending)
        await self.drain()
        await self.bus.close()

    async def send(self) -> None:
        self.sent += 1
        await self.put(f"m{self.sent}")

    async def replace(self) -> None:
        if self.pending:
            identity = self.rng.choice(list(self.pending))
            await self.put(identity)
            self.lose(identity)

    async def put(self, identity: str) -> None:
        number = self.pending[identity] = self.rng.getrandbits(60)
        delay = self.rng.choice([None, None, 0, 5, 50])
        made = message(
            identity,
            queue=self.rng.choice(QUEUES),
            tenant=self.rng.choice(["1/1", "2/2", "3/3"]),
            priority=self.rng.randrange(10),
            body={"number": number},
            not_before=None if delay is None else self.clock.now() + timedelta(seconds=delay),
        )
        await self.bus.commit(Batch(messages=[made]))

    async def claim(self) -> None:
        queues = self.rng.sample(QUEUES, self.rng.randint(1, 3))
        limit, seconds = self.rng.randint(1, 5), self.rng.choice([3.0, 30.0])
        early = self.rng.random() < 0.5
        leases = await self.bus.claim(queues, limit=limit, wait=0, lease=seconds, early=early)
        assert len(leases) <= limit
        for lease in leases:
            held = lease.message
            assert held.id not in self.held, "held by two at a time"
            assert held.queue in queues
            assert held.body["number"] == self.pending[held.id], "neither settled nor replaced"
            assert held.not_before is None or held.not_before <= self.clock.now()
            self.held[held.id] = (lease, self.clock.monotonic() + seconds)

    async def settle(self) -> None:
        if lease := self.some_lease():
            await self.bus.commit(Batch(settled=[lease]))
            self.end(lease)

    async def bury(self) -> None:
        if lease := self.some_lease():
            await self.bus.bury(lease, "why")
            self.end(lease)

    async def release(self) -> None:
        if lease := self.some_lease():
            await self.bus.release(lease, delay=self.rng.choice([0, 10]))
            self.lose(lease.message.id)

    async def renew(self) -> None:
        if lease := self.some_lease():
            self.held[lease.message.id] = (
                await self.bus.renew(lease, 20),
                self.clock.monotonic() + 20,
            )

    async def zombie(self) -> None:
        if self.stale:
            with pytest.raises(LeaseLost):
                await self.bus.commit(Batch(settled=[self.rng.choice(self.stale)]))

    async def wait(self) -> None:
        await self.clock.advance(self.rng.choice([0.5, 4, 40]))

    async def restart(self) -> None:
        await self.bus.close()
        for identity in list(self.held):
            self.lose(identity)
        # Leases do not outlive their process.
        self.stale.clear()
        self.backend = await self.stores.reopen(self.backend)
        self.bus = self.stores.bus(self.backend)
        await self.bus.start()

    def some_lease(self) -> Lease | None:
        return self.rng.choice(list(self.held.values()))[0] if self.held else None

    def expire(self) -> None:
        now = self.clock.monotonic()
        for identity in [i for i, (_, until) in self.held.items() if until <= now]:
            self.lose(identity)

    def lose(self, identity: str) -> None:
        if identity in self.held:
            self.stale.append(self.held.pop(identity)[0])

    def end(self, lease: Lease) -> None:
        self.lose(lease.message.id)
        del self.pending[lease.message.id]
        self.ended += 1

    async def drain(self) -> None:
        """Whatever is left is claimed within the longest delay and lease, and then all is done."""
        await self.clock.advance(120)
        self.expire()
        while leases := await self.bus.claim(QUEUES, limit=10, wait=0, lease=60):
            for lease in leases:
                await self.bus.commit(Batch(settled=[lease]))
                self.end(lease)
        letters = await DeadLetters(self.backend, self.bus, self.clock).list(limit=10_000)
        assert self.pending == {}
        assert self.ended == self.sent
        assert len(letters) <= self.ended
        assert await self.backend.messages() == []


@pytest.mark.parametrize("seed", range(25))
async def test_no_history_loses_or_doubles_a_message(stores: Stores, seed: int) -> None:
    await History(stores, seed).run(turns=200)


class SharedHistory(History):
    """The same with three processes on one server, one of which does each thing."""

    def __init__(self, stores: Stores, seed: int) -> None:
        super().__init__(stores, seed)
        self.others = [stores.bus(stores.open()) for _ in range(2)]
        self.holders: dict[str, MessageBus] = {}
        """Which process has a lease: it alone can renew that."""

    async def run(self, turns: int) -> None:
        for bus in self.others:
            await bus.start()
        await super().run(turns)
        for bus in self.others:
            await bus.close()

    def turn(self) -> None:
        at = self.rng.randrange(2)
        self.bus, self.others[at] = self.others[at], self.bus

    async def put(self, identity: str) -> None:
        self.turn()
        await super().put(identity)

    async def claim(self) -> None:
        self.turn()
        before = dict(self.held)
        await super().claim()
        for identity in self.held.keys() - before.keys():
            self.holders[identity] = self.bus

    async def renew(self) -> None:
        for identity, (lease, _) in list(self.held.items())[:1]:
            until = self.clock.monotonic() + 20
            self.held[identity] = (await self.holders[identity].renew(lease, 20), until)

    async def restart(self) -> None:
        """A process gives back what it holds and ends, and another begins."""
        self.turn()
        for identity in [i for i, bus in self.holders.items() if bus is self.bus]:
            del self.holders[identity]
            if identity in self.held:
                await self.bus.release(self.held[identity][0])
                self.lose(identity)
        await self.bus.close()
        self.bus = self.stores.bus(self.stores.open())
        await self.bus.start()


@pytest.mark.parametrize("seed", range(15))
async def test_no_history_of_several_processes_does_either(shared: Stores, seed: int) -> None:
    await SharedHistory(shared, seed).run(turns=200)
