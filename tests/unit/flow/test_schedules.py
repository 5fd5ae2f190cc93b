"""Schedules: learned from the default branch, fired once by one of many, forgotten in time."""

from collections import Counter
from datetime import datetime, timedelta

import pytest

from bot.deliveries.delivery import DeliveryStatus
from bot.intake.schedules import PREFIX, REFRESH, ScheduleRecord, Schedules
from pipelines.errors import Ignorable
from pipelines.model import Change, PushTrigger, ScheduleTrigger, Trigger
from pipelines.ports import PATIENT, Batch, Write
from tests.support.clock import EPOCH
from tests.support.forge import ALICE, REPOSITORY, Forge, sha
from tests.support.world import World

HOURLY = """\
version: 1
workflows:
  nightly: { on: { schedule: { cron: "0 * * * *" } }, steps: { look: { agent: review } } }
"""
TWO = (
    HOURLY
    + """\
  often: { on: { schedule: { cron: "*/5 * * * *" } }, steps: { look: { agent: review } } }
"""
)
NONE = "version: 1\nworkflows: { w: { on: { push: }, steps: { look: { agent: review } } } }\n"
HOUR = timedelta(hours=1)


class Branch(Forge):
    """A forge whose default branch can be read."""

    async def change(self, trigger: Trigger) -> Change:
        self.faults.point("source.change")
        if not isinstance(trigger, PushTrigger | ScheduleTrigger):
            return await super().change(trigger)
        if self.gone:
            raise Ignorable("The repository is gone.")
        return Change(
            repository=REPOSITORY,
            head_sha=sha("tip"),
            base_sha=sha("tip"),
            base_ref="main",
            author=ALICE,
            author_can_write=True,
            config=self._config(),
        )


@pytest.fixture
def forge() -> Forge:
    return Branch(config=HOURLY)


async def push(world: World, branch: str = "main", **payload: object) -> None:
    number = len(world.accepted)
    await world.deliver(
        "push",
        f"push-{number}",
        ref=f"refs/heads/{branch}",
        before=sha("before"),
        after=sha(f"tip{number}"),
        created=False,
        deleted=False,
        forced=False,
        **payload,
    )
    await world.settle(hours=0)


def schedules(world: World) -> Schedules:
    return Schedules(world.store, world.bus, world.clock)


async def record(world: World) -> ScheduleRecord | None:
    found = [stored async for _, stored in world.store.scan(PREFIX)]
    return ScheduleRecord.model_validate_json(found[0].value) if found else None


async def fired(world: World) -> list[datetime]:
    """Sweep, work, and return when what has run by now was due."""
    await schedules(world).sweep()
    world.accepted |= set(await world.deliveries())
    await world.settle(hours=0)
    runs = await world.runs()
    return [run.trigger.due_at for run in runs if isinstance(run.trigger, ScheduleTrigger)]


async def test_a_schedule_counts_from_its_push_and_fires_each_time_it_is_due(world: World) -> None:
    await push(world)
    assert await fired(world) == [], "what was due before it was known is no miss"
    await world.clock.advance(3599)
    assert await fired(world) == []
    await world.clock.advance(2)
    assert await fired(world) == [EPOCH + HOUR]
    assert await fired(world) == [EPOCH + HOUR]
    await world.clock.advance(3600)
    assert await fired(world) == [EPOCH + HOUR, EPOCH + 2 * HOUR]
    (first, _) = await world.runs()
    assert (first.workflow, first.change.head_sha) == ("nightly", sha("tip"))


async def test_what_was_missed_while_everything_was_down_fires_once(
    world: World, forge: Forge
) -> None:
    forge.config = TWO
    await push(world)
    await world.clock.advance(5 * 3600 + 60)
    assert set(await fired(world)) == {EPOCH + 5 * HOUR}
    runs = Counter(run.workflow for run in await world.runs())
    assert runs == {"nightly": 1, "often": 1}


async def test_the_message_of_a_schedule_comes_after_what_people_want(world: World) -> None:
    await push(world)
    await world.clock.advance(3600)
    await schedules(world).sweep()
    world.accepted |= set(await world.deliveries())
    (message,) = [m for m in await world.store.messages() if m.queue == "deliveries"]
    assert message.priority == PATIENT


async def test_a_push_changes_and_ends_schedules_and_other_branches_do_not(
    world: World, forge: Forge
) -> None:
    await push(world)
    await world.clock.advance(1800)
    forge.config = TWO
    await push(world, "topic")
    known = await record(world)
    assert known is not None
    assert [each.workflow for each in known.scheduled] == ["nightly"]
    await push(world)
    known = await record(world)
    assert known is not None
    assert [(each.workflow, each.fired) for each in known.scheduled] == [
        ("nightly", EPOCH),
        ("often", EPOCH + HOUR / 2),
    ]
    forge.config = NONE
    await push(world)
    assert await record(world) is None


async def test_a_broken_file_has_no_schedules(world: World, forge: Forge) -> None:
    await push(world)
    forge.config = "version: 2\n"
    await push(world)
    assert await record(world) is None


async def test_a_schedule_that_is_gone_by_now_starts_nothing(world: World, forge: Forge) -> None:
    await push(world)
    forge.config = HOURLY.replace("0 * * * *", "30 * * * *")
    await world.clock.advance(3600)
    assert await fired(world) == []
    ended = [d for d in (await world.deliveries()).values() if d.event == "schedule"]
    assert [(d.status, d.reason) for d in ended] == [
        (DeliveryStatus.IGNORED, "Its schedule is `30 * * * *` by now.")
    ]
    await world.clock.advance(1800)
    assert await fired(world) == [EPOCH + 1.5 * HOUR], "it was read when the old one came due"


@pytest.mark.parametrize("what", ["gone", "archived"])
async def test_where_nothing_is_to_be_done_any_more_the_schedule_goes(
    world: World, forge: Forge, what: str
) -> None:
    await push(world)
    forge.gone, world.installed = what == "gone", what != "archived"
    await world.clock.advance(3600)
    assert await fired(world) == []
    assert await record(world) is None


async def test_an_app_that_is_suspended_has_no_schedules_and_one_that_returns_has(
    world: World,
) -> None:
    await push(world)
    shop = {"id": REPOSITORY.id, "full_name": REPOSITORY.full_name, "private": True}
    about = {"id": REPOSITORY.installation_id, "app_id": world.identity.app_id}
    await world.deliver("installation", "i-1", action="suspend", installation=about)
    await world.settle(hours=0)
    assert await record(world) is None
    for guid in ("i-2", "i-3"):
        await world.deliver(
            "installation", guid, action="unsuspend", installation=about, repositories=[shop],
            nonce=guid,
        )  # fmt: skip
        await world.settle(hours=0)
        world.accepted |= set(await world.deliveries())
    assert await record(world) is not None


async def test_a_repository_is_read_again_once_a_day_if_nothing_comes_due(
    world: World, forge: Forge
) -> None:
    forge.config = HOURLY.replace("0 * * * *", "0 0 1 1 *")
    await push(world)
    forge.config = TWO
    await world.clock.advance(REFRESH.total_seconds())
    assert await fired(world) == []
    known = await record(world)
    assert known is not None
    assert len(known.scheduled) == 2


async def test_a_body_of_somebody_else_under_our_event_is_no_schedule(world: World) -> None:
    await world.deliver("schedule", workflow="nightly", cron="0 * * * *", due_at=EPOCH.isoformat())
    await world.settle(hours=0)
    (delivery,) = (await world.deliveries()).values()
    assert (delivery.status, delivery.reason) == (
        DeliveryStatus.IGNORED,
        "It is no schedule of ours.",
    )


async def test_a_record_that_cannot_be_read_keeps_no_other_from_firing(world: World) -> None:
    await push(world)
    await world.store.commit(Batch(writes=[Write(f"{PREFIX}1/1", b"{}")]))
    await world.clock.advance(3600)
    assert await fired(world) == [EPOCH + HOUR]


async def test_a_crash_between_due_and_delivered_cannot_be() -> None:
    for point in ("before commit", "after commit"):
        forge = Branch(config=HOURLY)
        world = await World.started(forge)
        await push(world)
        await world.clock.advance(3600)
        forge.faults.plan(point, ConnectionError("the machine died"))
        with pytest.raises(ConnectionError):
            await schedules(world).sweep()
        await world.close()
        await world.start()
        assert await fired(world) == [EPOCH + HOUR], point
        await world.close()
