"""What the webhooks answer when there is no room, and that they recover by themselves."""

import asyncio
from pathlib import Path

import pytest

from bot.deliveries.delivery import delivery_key, priority_of
from bot.deliveries.pressure import Overloaded, Pressure
from pipelines.errors import NotStored
from pipelines.ports import PATIENT, URGENT, USUAL, Batch, Lease, Message
from pipelines.stores.memory import MemoryBackend
from pipelines.stores.sqlite import SqliteBackend
from tests.support.clock import VirtualClock
from tests.support.edge import Edge, running_edge


class Gauge:
    """What the store and the bus would say."""

    def __init__(self) -> None:
        self.waiting = 0
        self.share = 0.0
        self.broken = False

    async def depth(self) -> dict[str, int]:
        if self.broken:
            raise NotStored("The store is out of reach.")
        return {"deliveries": self.waiting, "reports": 10_000}

    async def fullness(self) -> float:
        return self.share


def a_pressure(gauge: Gauge, clock: VirtualClock, *, limit_bytes: int = 1000) -> Pressure:
    return Pressure(gauge.depth, gauge.fullness, clock, limit=20, limit_bytes=limit_bytes)


async def deliver(edge: Edge, number: int, event: str = "pull_request") -> int:
    answer = await edge.deliver(
        b'{"number": %d}' % number, X_GitHub_Delivery=f"guid-{number}", X_GitHub_Event=event
    )
    return answer.status_code


async def settle_all(edge: Edge) -> None:
    for message in await edge.store.messages():
        await edge.store.commit(Batch(settled=[Lease(message, expires_at=0.0)]))


async def test_beyond_the_limit_nothing_is_stored_and_after_draining_all_goes_on() -> None:
    clock = VirtualClock()

    def pressure_on(store: MemoryBackend) -> Pressure:
        async def depth() -> dict[str, int]:
            return {"deliveries": len(await store.messages())}

        return Pressure(depth, store.fullness, clock, limit=3, limit_bytes=1000)

    async with running_edge(pressure=pressure_on) as edge:
        assert [await deliver(edge, number) for number in range(5)] == [202, 202, 202, 503, 503]
        answer = await edge.deliver(b"{}", X_GitHub_Delivery="late")
        assert answer.headers["Retry-After"] == "60"
        assert "does not send it again by itself" in answer.json()["reason"]
        assert await edge.store.get(delivery_key("late")) is None
        assert len(await edge.store.messages()) == 3

        await settle_all(edge)
        assert edge.pressure is not None
        await edge.pressure.refresh()
        assert (await edge.deliver(b"{}", X_GitHub_Delivery="late")).status_code == 202


async def test_alerts_are_left_with_their_sender_too() -> None:
    clock, gauge = VirtualClock(), Gauge()
    gauge.waiting = 20
    pressure = a_pressure(gauge, clock)
    await pressure.refresh()
    async with running_edge(pressure=lambda store: pressure) as edge:
        answer = await edge.alert(b'{"version": "4", "alerts": []}')
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")


async def test_what_a_person_waits_for_is_taken_in_a_little_longer() -> None:
    clock, gauge = VirtualClock(), Gauge()
    gauge.waiting = 20
    pressure = a_pressure(gauge, clock)
    await pressure.refresh()
    async with running_edge(pressure=lambda store: pressure) as edge:
        assert await deliver(edge, 1, "push") == 503
        assert await deliver(edge, 2, "issue_comment") == 202
        assert await deliver(edge, 3, "issue_comment") == 503, "but not for ever"


@pytest.mark.parametrize("full", ["bodies", "store"])
async def test_bodies_and_a_full_store_count_as_well(full: str) -> None:
    clock, gauge = VirtualClock(), Gauge()
    pressure = a_pressure(gauge, clock)
    pressure.check(500, urgent=False)
    if full == "bodies":
        pressure.took(400)
        pressure.took(400)
    else:
        gauge.share = 0.93
        await pressure.refresh()
    with pytest.raises(Overloaded, match=r"bodies of 2 deliveries|93% full"):
        pressure.check(500, urgent=False)
    gauge.share = 0.5
    await pressure.refresh()
    pressure.check(500, urgent=False)


async def test_the_numbers_are_read_by_a_timer_and_never_by_a_request() -> None:
    clock, gauge = VirtualClock(), Gauge()
    pressure = a_pressure(gauge, clock)
    async with pressure.watching():
        await clock.settle()
        gauge.waiting = 20
        pressure.check(1, urgent=False)
        await clock.advance(1)
        with pytest.raises(Overloaded):
            pressure.check(1, urgent=False)
        gauge.broken, gauge.waiting = True, 0
        await clock.advance(1)
        with pytest.raises(Overloaded):
            pressure.check(1, urgent=False)
        gauge.broken = False
        await clock.advance(1)
        pressure.check(1, urgent=False)
    assert len(asyncio.all_tasks()) == 1


def test_people_go_before_changes_and_those_before_clocks() -> None:
    assert priority_of("issue_comment") == priority_of("check_run") == URGENT
    assert priority_of("installation") == URGENT
    assert priority_of("push") == priority_of("pull_request") == USUAL
    assert priority_of("alertmanager") == priority_of("schedule") == PATIENT


async def test_a_delivery_waits_with_the_priority_of_its_event() -> None:
    async with running_edge() as edge:
        for number, event in enumerate(("issue_comment", "push")):
            await deliver(edge, number, event)
        found: list[Message] = list(await edge.store.messages())
        assert [message.priority for message in found] == [URGENT, USUAL]


async def test_a_file_takes_a_share_of_what_its_disk_has_left(tmp_path: Path) -> None:
    store = SqliteBackend(tmp_path / "conductor.db", VirtualClock())
    try:
        assert 0.0 < await store.fullness() < 1.0
    finally:
        await store.close()
    assert await MemoryBackend(VirtualClock()).fullness() == 0.0
