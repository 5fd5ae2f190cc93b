"""Limits are kept before GitHub has to, and nobody waits longer than about a second."""

import asyncio
import itertools
import random
from collections.abc import Mapping

import pytest

from bot.github.errors import Limit
from bot.github.throttle import Pace, Throttle
from pipelines.errors import Parked
from tests.support.clock import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def throttle(clock: VirtualClock) -> Throttle:
    return Throttle(clock)


def limits(clock: VirtualClock, remaining: int, seconds: float, **extra: str) -> Mapping[str, str]:
    return {
        "x-ratelimit-limit": "5000",
        "x-ratelimit-remaining": str(remaining),
        "x-ratelimit-reset": str(int(clock.now().timestamp() + seconds)),
        **extra,
    }


async def write(
    throttle: Throttle, clock: VirtualClock, sent: list[float], took: float = 0.2
) -> None:
    async with throttle.slot("a", write=True):
        sent.append(clock.monotonic())
        await clock.sleep(took)


async def test_a_second_write_waits_for_the_first_and_a_second_more(
    throttle: Throttle, clock: VirtualClock
) -> None:
    sent: list[float] = []
    both = [asyncio.create_task(write(throttle, clock, sent)) for _ in range(2)]
    await clock.settle()
    await clock.advance(2)
    await asyncio.gather(*both)
    assert sent == [0.0, pytest.approx(1.2)]


async def test_a_third_write_is_parked_and_holds_nobody(
    throttle: Throttle, clock: VirtualClock
) -> None:
    sent: list[float] = []
    both = [asyncio.create_task(write(throttle, clock, sent)) for _ in range(2)]
    await clock.settle()
    with pytest.raises(Parked) as caught:
        await write(throttle, clock, sent)
    assert caught.value.scope == "a"
    assert (caught.value.until - clock.now()).total_seconds() == 2.0
    await clock.advance(5)
    await asyncio.gather(*both)
    await write_after(throttle, clock, sent)


async def write_after(throttle: Throttle, clock: VirtualClock, sent: list[float]) -> None:
    task = asyncio.create_task(write(throttle, clock, sent))
    await clock.settle()
    await clock.advance(1)
    await task


async def test_another_installation_writes_at_the_same_time(
    throttle: Throttle, clock: VirtualClock
) -> None:
    async with throttle.slot("a", write=True), throttle.slot("b", write=True):
        assert clock.monotonic() == 0.0


async def test_a_read_waits_for_no_write(throttle: Throttle) -> None:
    async with throttle.slot("a", write=True), throttle.slot("a"):
        pass


async def test_a_cancelled_write_gives_its_place_back(
    throttle: Throttle, clock: VirtualClock
) -> None:
    sent: list[float] = []
    for _ in range(3):
        tasks = [asyncio.create_task(write(throttle, clock, sent, 60)) for _ in range(2)]
        await clock.settle()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await clock.advance(1)
    await write_after(throttle, clock, sent)
    assert len(sent) == 4


async def test_gaps_between_writes_are_never_under_a_second(
    throttle: Throttle, clock: VirtualClock
) -> None:
    rng = random.Random(7)
    spans: list[tuple[float, float]] = []

    async def attempt(took: float) -> None:
        try:
            async with throttle.slot("a", write=True):
                start = clock.monotonic()
                await clock.sleep(took)
                spans.append((start, clock.monotonic()))
        except Parked:
            return

    tasks: list[asyncio.Task[None]] = []
    for _ in range(300):
        tasks.append(asyncio.create_task(attempt(rng.uniform(0.05, 0.5))))
        await clock.advance(rng.uniform(0, 1.0))
    await clock.advance(10)
    await asyncio.gather(*tasks)
    gaps = [later[0] - earlier[1] for earlier, later in itertools.pairwise(spans)]
    assert len(spans) > 50
    assert min(gaps) >= 1.0 - 1e-9


async def test_no_more_than_twenty_requests_are_in_flight(throttle: Throttle) -> None:
    release = asyncio.Event()

    async def hold() -> None:
        async with throttle.slot("a"):
            await release.wait()

    held = [asyncio.create_task(hold()) for _ in range(20)]
    await asyncio.sleep(0)
    with pytest.raises(Parked, match="in flight"):
        async with throttle.slot("a"):
            pass
    release.set()
    await asyncio.gather(*held)
    async with throttle.slot("a"):
        pass


async def simulate(
    throttle: Throttle, clock: VirtualClock, *, hours: float, content: bool
) -> list[float]:
    """Ask as often as the throttle allows; returns the times at which it did."""
    sent: list[float] = []
    while clock.monotonic() < hours * 3600:
        try:
            async with throttle.slot("a", write=content, content=content):
                sent.append(clock.monotonic())
        except Parked as parked:
            await clock.advance((parked.until - clock.now()).total_seconds() + 1e-6)
    return sent


def most_in(sent: list[float], seconds: float) -> int:
    first = most = 0
    for last, at in enumerate(sent):
        while sent[first] <= at - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


async def test_content_stays_within_its_budgets_for_a_day(clock: VirtualClock) -> None:
    throttle = Throttle(clock, Pace(write_gap=0.0))
    sent = await simulate(throttle, clock, hours=24, content=True)
    assert most_in(sent, 60) == 60
    assert most_in(sent, 3600) == 400


async def test_reads_stay_within_the_points_of_a_minute(clock: VirtualClock) -> None:
    throttle = Throttle(clock)
    sent = await simulate(throttle, clock, hours=0.2, content=False)
    assert most_in(sent, 60) == 600


async def test_a_reserve_of_the_hourly_limit_is_left_alone(
    throttle: Throttle, clock: VirtualClock
) -> None:
    throttle.record("a", limits(clock, 51, 600))
    async with throttle.slot("a"):
        pass
    with pytest.raises(Parked, match="nearly used up") as caught:
        async with throttle.slot("a"):
            pass
    assert (caught.value.until - clock.now()).total_seconds() == pytest.approx(601)
    async with throttle.slot("a", resource="graphql"), throttle.slot("b"):
        pass
    await clock.advance(602)
    async with throttle.slot("a"):
        pass


async def test_a_small_limit_is_not_all_reserve(throttle: Throttle, clock: VirtualClock) -> None:
    throttle.record("a", limits(clock, 40, 600, **{"x-ratelimit-limit": "60"}))
    async with throttle.slot("a"):
        pass


@pytest.mark.parametrize(
    "broken",
    [
        {"x-ratelimit-remaining": "-1"},
        {"x-ratelimit-remaining": "0, 0"},
        {"x-ratelimit-limit": "³"},
        {"x-ratelimit-reset": "9" * 50},
        {"x-ratelimit-reset": ""},
        {"x-ratelimit-reset": "1"},
    ],
)
async def test_headers_that_make_no_sense_stop_nobody(
    throttle: Throttle, clock: VirtualClock, broken: dict[str, str]
) -> None:
    throttle.record("a", limits(clock, 0, 600, **broken))
    async with throttle.slot("a"):
        pass


async def test_nothing_is_sent_before_the_allowed_time(
    throttle: Throttle, clock: VirtualClock
) -> None:
    rng = random.Random(11)
    for _ in range(500):
        wait = rng.choice([None, rng.uniform(1, 4000)])
        parked = throttle.penalise("a", Limit("secondary", wait))
        left = (parked.until - clock.now()).total_seconds()
        assert left >= (wait if wait is not None else 60.0) - 1e-3
        await clock.advance(left - 0.01)
        with pytest.raises(Parked):
            async with throttle.slot("a"):
                pass
        await clock.advance(0.02)
        async with throttle.slot("a"):
            pass


async def test_a_success_ends_the_growing_of_waits(throttle: Throttle, clock: VirtualClock) -> None:
    for wait in (60, 120):
        parked = throttle.penalise("a", Limit("secondary", None))
        assert (parked.until - clock.now()).total_seconds() == wait
        await clock.advance(wait)
    throttle.settle("a")
    parked = throttle.penalise("a", Limit("secondary", None))
    assert (parked.until - clock.now()).total_seconds() == 60


async def test_a_shorter_wait_never_ends_a_longer_one(
    throttle: Throttle, clock: VirtualClock
) -> None:
    throttle.penalise("a", Limit("primary", 900))
    parked = throttle.penalise("a", Limit("secondary", 5))
    assert (parked.until - clock.now()).total_seconds() == 900
