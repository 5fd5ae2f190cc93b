"""Which open pull requests are taken up after a loss, and what ends though its body is gone."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from bot.deliveries.delivery import DeliveryStatus
from bot.github.census import Installed, OpenPull
from bot.intake.convergence import WALK_EVERY, Convergence
from bot.intake.recovery import RECOVERIES
from pipelines.errors import Parked
from pipelines.model import Repository
from pipelines.orchestration.bus.local import LocalBus
from pipelines.orchestration.keys import run_key
from pipelines.ports import PATIENT, Batch, Write
from pipelines.stores.memory import MemoryBackend
from tests.support.accounting import assert_balanced, deliveries
from tests.support.clock import EPOCH, VirtualClock
from tests.support.forge import ALICE, Forge, Pull, sha
from tests.support.world import World


@dataclass
class City:
    """What the App sees: installations with repositories, and pull requests in the first."""

    repositories_of: dict[int, list[int]]
    pulls: list[OpenPull] = field(default_factory=list[OpenPull])
    parked: set[int] = field(default_factory=set[int])
    looked: list[int] = field(default_factory=list[int])

    async def installations(self) -> AsyncIterator[Installed]:
        for number in self.repositories_of:
            yield Installed(id=number, since=EPOCH - timedelta(days=1))

    async def repositories(self, installation: int) -> AsyncIterator[Repository]:
        for number in self.repositories_of[installation]:
            yield Repository(installation_id=installation, id=number, owner="acme", name="shop")

    async def open_pulls(self, repository: Repository) -> AsyncIterator[OpenPull]:
        if repository.id in self.parked:
            raise Parked("Wait.", until=EPOCH, scope="github/1")
        self.looked.append(repository.id)
        for pull in self.pulls if repository.id == 42 else []:
            yield pull


def pull(number: int, **fields: Any) -> OpenPull:
    values: dict[str, Any] = {
        "repository": Repository(installation_id=7, id=42, owner="acme", name="shop"),
        "number": number,
        "opened_at": EPOCH - timedelta(days=30),
        "draft": False,
        "head_sha": sha(f"{number}"),
        "head_ref": "topic",
        "head_repository_id": 42,
        "base_sha": sha("base"),
        "base_ref": "main",
        "author": ALICE,
        "checks": 0,
        "unfinished": (),
        "own": False,
    }
    return OpenPull.model_validate(values | fields)


PULLS = [
    pull(1),
    pull(2, own=True),
    pull(3, own=True, checks=1),
    pull(4, checks=2, unfinished=("lost/review",)),
    pull(5, checks=1, unfinished=("known/review",)),
    pull(6, opened_at=EPOCH - timedelta(hours=1)),
    pull(7, opened_at=EPOCH - timedelta(days=2)),
]


class Place:
    def __init__(self, city: City) -> None:
        self.city, self.clock = city, VirtualClock()
        self.store = MemoryBackend(self.clock)
        self.bus = LocalBus(self.store, self.clock)
        self.convergence = Convergence(city, self.store, self.bus, self.clock)

    async def taken(self) -> list[int]:
        """The pull requests in the queue, all of them patient."""
        messages = await self.store.messages()
        assert {(each.queue, each.priority) for each in messages} <= {(RECOVERIES, PATIENT)}
        bodies = [await self.store.get(f"body/{each.body['guid']}") for each in messages]
        found = [body.value.decode().split('"number":')[1] for body in bodies if body]
        return sorted(int(text.partition(",")[0]) for text in found)


async def test_only_what_is_owed_something_is_taken_up() -> None:
    place = Place(City({7: [42]}, PULLS))
    await place.store.commit(Batch(writes=[Write(run_key("7/42", "known"), b"{}")]))
    assert await place.convergence.sweep() == 3
    assert await place.taken() == [2, 4, 6]
    assert await place.convergence.sweep() == 0
    await place.clock.advance(WALK_EVERY.total_seconds())
    assert await place.convergence.sweep() == 1
    assert await place.taken() == [2, 4, 4, 6]


async def test_a_walk_that_was_cut_short_goes_on_where_it_was_and_holds_nobody_up() -> None:
    city = City({7: [44, 42, 43], 8: [50]}, PULLS, parked={43})
    place = Place(city)
    await place.convergence.sweep()
    assert city.looked == [42, 50]
    city.parked.clear()
    await place.convergence.sweep()
    assert city.looked == [42, 50, 43, 44]
    await place.convergence.sweep()
    assert city.looked == [42, 50, 43, 44]


async def test_a_loss_while_the_process_runs_is_noticed() -> None:
    place = Place(City({7: [42]}, [PULLS[1]]))
    assert await place.convergence.sweep() == 1
    lost = [key async for key, _ in place.store.scan("")]
    (lease,) = await place.bus.claim([RECOVERIES], limit=1, wait=0.0, lease=60.0)
    await place.bus.commit(Batch(writes=[Write(key, None) for key in lost], settled=[lease]))
    await place.clock.advance(60)
    assert await place.convergence.sweep() == 1


async def test_a_delivery_without_its_body_does_not_wait_for_ever() -> None:
    world = await World.started(Forge(pulls={1: Pull(1, "one")}))
    await world.pull_request("opened", 1, "one", guid="bodiless")
    await world.store.commit(Batch(writes=[Write("body/bodiless", None)]))
    await world.settle()
    (found,) = (await deliveries(world.store)).values()
    assert found.status is DeliveryStatus.FAILED
    assert "no longer stored" in found.reason
    assert (await assert_balanced(world.store, accepted=["bodiless"])).total() == 1
    await world.close()
