"""GitHub's limits are kept before GitHub has to, whoever keeps the books (R17, R18)."""

import asyncio
import itertools
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from bot.github.errors import Limit
from bot.github.local_limits import LONGEST_LINE, LocalLedger
from bot.github.shared_limits import RedisLedger
from bot.github.throttle import PLACE_SECONDS, Ask, Ledger, Outcome, Pace, Throttle, Verdict
from pipelines.errors import NotStored, Parked
from pipelines.redis.connection import RedisConnection
from pipelines.system import SortableIds
from tests.contracts.conftest import Servers
from tests.support.clock import VirtualClock

READ = Ask("a")
WRITE = Ask("a", write=True)
CONTENT = Ask("a", write=True, content=True)
CHECK = Ask("a", write=True, urgent=True)


class Awaited:
    """A ledger that tells the clock when a server's answer is on its way."""

    def __init__(self, ledger: Ledger, clock: VirtualClock) -> None:
        self._ledger = ledger
        self._asked = 0
        clock.busy.append(lambda: self._asked > 0)

    async def admit(self, ask: Ask, place: str, waited: float) -> Verdict:
        self._asked += 1
        try:
            return await self._ledger.admit(ask, place, waited)
        finally:
            self._asked -= 1

    async def renew(self, ask: Ask, place: str) -> None:
        self._asked += 1
        try:
            await self._ledger.renew(ask, place)
        finally:
            self._asked -= 1

    async def settle(self, ask: Ask, place: str, outcome: Outcome) -> float:
        self._asked += 1
        try:
            return await self._ledger.settle(ask, place, outcome)
        finally:
            self._asked -= 1


@dataclass
class Books:
    """One implementation, and as many processes over it as a test wants."""

    clock: VirtualClock
    make: Callable[[VirtualClock, Pace], Ledger]
    hours: float = 24
    """How long the longest simulation takes in virtual time; a server's answers take real time."""
    _ledgers: dict[Pace, Ledger] = field(default_factory=dict)
    _seeds: Iterator[int] = field(default_factory=itertools.count)

    def ledger(self, pace: Pace) -> Ledger:
        if pace not in self._ledgers:
            self._ledgers[pace] = self.make(self.clock, pace)
        return self._ledgers[pace]

    def process(self, pace: Pace | None = None) -> Throttle:
        ids = SortableIds(self.clock, random.Random(next(self._seeds)))
        return Throttle(self.ledger(pace or Pace()), self.clock, ids)


@pytest.fixture(params=["local", "valkey", "redis"])
async def books(
    request: pytest.FixtureRequest, clock: VirtualClock, servers: Servers
) -> AsyncIterator[Books]:
    if request.param == "local":
        yield Books(clock, LocalLedger)
        return
    connection = RedisConnection(servers.empty(request.param).url)
    yield Books(
        clock,
        lambda clock, pace: Awaited(RedisLedger(connection, pace, clock=clock), clock),
        hours=24 if request.param == "valkey" else 2,
    )
    await connection.aclose()


@pytest.fixture
def throttle(books: Books) -> Throttle:
    return books.process()


@dataclass
class Writer:
    """Somebody who writes, and comes back when told to."""

    clock: VirtualClock
    sent: list[tuple[str, float, float]] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)

    async def once(self, throttle: Throttle, name: str, ask: Ask, took: float = 0.2) -> None:
        async with throttle.slot(ask):
            began = self.clock.monotonic()
            await self.clock.sleep(took)
            self.sent.append((name, began, self.clock.monotonic()))

    async def patiently(self, throttle: Throttle, name: str, ask: Ask, took: float = 0.2) -> None:
        while True:
            try:
                return await self.once(throttle, name, ask, took)
            except Parked as parked:
                self.parked.append(parked)
                await self.clock.sleep((parked.until - self.clock.now()).total_seconds())

    def start(
        self, throttle: Throttle, name: str, ask: Ask = WRITE, took: float = 0.2
    ) -> asyncio.Task[None]:
        return asyncio.create_task(self.patiently(throttle, name, ask, took))

    @property
    def order(self) -> str:
        return "".join(name for name, _, _ in self.sent)

    @property
    def gaps(self) -> list[float]:
        return [later[1] - earlier[2] for earlier, later in itertools.pairwise(self.sent)]


@pytest.fixture
def writer(clock: VirtualClock) -> Writer:
    return Writer(clock)


def told(clock: VirtualClock, remaining: int, seconds: float, **extra: str) -> Mapping[str, str]:
    return {
        "x-ratelimit-limit": "5000",
        "x-ratelimit-remaining": str(remaining),
        "x-ratelimit-reset": str(int(clock.now().timestamp() + seconds)),
        **extra,
    }


async def answer(
    throttle: Throttle,
    headers: Mapping[str, str] | None = None,
    *,
    ask: Ask = READ,
    limit: Limit | None = None,
    succeeded: bool = True,
) -> None:
    async with throttle.slot(ask) as place:
        place.answered(headers or {}, limit=limit, succeeded=succeeded)


def seconds_of(clock: VirtualClock, parked: Parked) -> float:
    return (parked.until - clock.now()).total_seconds()


# --- one write a second --------------------------------------------------------------------------


async def test_a_second_write_waits_for_the_first_and_a_second_more(
    throttle: Throttle, writer: Writer, clock: VirtualClock
) -> None:
    both = [writer.start(throttle, name) for name in "ab"]
    await clock.settle()
    await clock.advance(5)
    await asyncio.gather(*both)
    assert writer.gaps == [pytest.approx(1.0, abs=1e-4)]


async def test_writes_of_one_second_go_in_order_and_only_the_fifth_is_parked(
    throttle: Throttle, writer: Writer, clock: VirtualClock
) -> None:
    tasks = list[asyncio.Task[None]]()
    for name in "abcde":
        tasks.append(writer.start(throttle, name, Ask("a", write=True, purpose=name)))
        await clock.settle()
    (parked,) = writer.parked
    assert parked.scope == "a"
    assert "one a second" in str(parked)
    await clock.advance(8)
    await asyncio.gather(*tasks)
    assert writer.order == "abcde"
    assert writer.gaps == [pytest.approx(1.0, abs=1e-4)] * 4


async def test_a_check_is_queued_before_other_writes_that_came_first(
    throttle: Throttle, writer: Writer, clock: VirtualClock
) -> None:
    tasks = list[asyncio.Task[None]]()
    for name, ask in [("a", WRITE), ("b", WRITE), ("c", WRITE), ("C", CHECK)]:
        tasks.append(writer.start(throttle, name, ask))
        await clock.settle()
    await clock.advance(8)
    await asyncio.gather(*tasks)
    assert writer.order == "aCbc"
    assert writer.sent[1][1] <= 2.0


async def test_checks_cannot_hold_another_write_off_for_ever(
    throttle: Throttle, writer: Writer, clock: VirtualClock
) -> None:
    tasks = [writer.start(throttle, "a")]
    await clock.settle()
    tasks.append(writer.start(throttle, "x", Ask("a", write=True, purpose="x")))
    for number in range(60):
        purpose = f"check {number}"
        tasks.append(
            writer.start(throttle, "c", Ask("a", write=True, urgent=True, purpose=purpose))
        )
        await clock.advance(1)
    came_before = Pace().head_start  # one a second
    assert 0 < writer.order.index("x") <= came_before + 2 * Pace().patience
    await clock.advance(120)
    await asyncio.gather(*tasks)


async def test_a_crowd_is_parked_apart_and_everybody_gets_their_turn_in_order(
    throttle: Throttle, writer: Writer, clock: VirtualClock
) -> None:
    names = "abcdefghijklmnopqrstuvwxyz"
    tasks = list[asyncio.Task[None]]()
    for name in names:
        tasks.append(writer.start(throttle, name, Ask("a", write=True, purpose=name)))
        await clock.settle()
    apart = [later.until - earlier.until for earlier, later in itertools.pairwise(writer.parked)]
    assert len(writer.parked) == 22
    assert min(apart).total_seconds() >= 1.0
    await clock.advance(40)
    await asyncio.gather(*tasks)
    assert writer.order == names
    assert max(writer.gaps) < 1.5


async def test_who_was_parked_goes_before_whoever_comes_later(
    throttle: Throttle, writer: Writer, clock: VirtualClock
) -> None:
    tasks = list[asyncio.Task[None]]()
    for name in "abcde":
        tasks.append(writer.start(throttle, name, Ask("a", write=True, purpose=name)))
        await clock.settle()
    for number in range(40):
        await clock.advance(0.2)
        purpose = f"late {number}"
        tasks.append(writer.start(throttle, "-", Ask("a", write=True, purpose=purpose)))
    await clock.advance(120)
    await asyncio.gather(*tasks)
    assert writer.order.startswith("abcde")


async def test_a_line_is_remembered_only_up_to_its_bound(books: Books) -> None:
    ledger = books.ledger(Pace())
    waits = list[float]()
    for number in range(LONGEST_LINE + 50):
        ask = Ask("a", write=True, purpose=str(number))
        verdict = await ledger.admit(ask, str(number), 0.0)
        if verdict.what == "park":
            waits.append(verdict.seconds)
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(LONGEST_LINE * 1.25, rel=0.1)


async def test_another_installation_writes_at_the_same_time(
    throttle: Throttle, clock: VirtualClock
) -> None:
    async with throttle.slot(WRITE), throttle.slot(Ask("b", write=True)):
        assert clock.monotonic() == 0.0


async def test_a_read_waits_for_no_write(throttle: Throttle, clock: VirtualClock) -> None:
    async with throttle.slot(WRITE), throttle.slot(READ):
        assert clock.monotonic() == 0.0


@pytest.mark.parametrize("count", [1, 3])
async def test_a_cancelled_write_gives_its_place_back(
    throttle: Throttle, writer: Writer, clock: VirtualClock, count: int
) -> None:
    for _ in range(3):
        tasks = [writer.start(throttle, "a", took=60) for _ in range(count)]
        await clock.settle()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await clock.advance(1)
    task = writer.start(throttle, "b")
    await clock.settle()
    await clock.advance(0.2)
    await task
    assert writer.order == "b"


async def test_gaps_between_writes_are_never_under_a_second(
    books: Books, writer: Writer, clock: VirtualClock
) -> None:
    rng = random.Random(7)
    processes = [books.process() for _ in range(3)]
    tasks: list[asyncio.Task[None]] = []
    for number in range(150):
        ask = rng.choice([WRITE, CHECK, Ask("a", write=True, purpose=str(number))])
        took = rng.uniform(0.05, 0.5)
        tasks.append(writer.start(rng.choice(processes), "a", ask, took))
        await clock.advance(rng.uniform(0, 2.0))
    await clock.advance(300)
    await asyncio.gather(*tasks)
    assert len(writer.sent) == 150
    assert min(writer.gaps) >= 1.0 - 1e-6


# --- those who do not come back -----------------------------------------------------------------


async def test_a_place_of_somebody_who_died_is_free_after_its_lease(
    books: Books, clock: VirtualClock
) -> None:
    ledger = books.ledger(Pace())
    assert (await ledger.admit(WRITE, "dead", 0.0)).what == "go"
    await clock.advance(PLACE_SECONDS - 0.1)
    verdict = await ledger.admit(WRITE, "next", 0.0)
    assert verdict.what == "wait"
    await clock.advance(1.1)
    assert (await ledger.admit(WRITE, "next", 1.1)).what == "go"


async def test_a_writer_waits_at_most_five_seconds_behind_one_who_died(
    books: Books, writer: Writer, clock: VirtualClock
) -> None:
    ledger = books.ledger(Pace())
    assert (await ledger.admit(WRITE, "dead", 0.0)).what == "go"
    task = writer.start(books.process(), "next")
    await clock.settle()
    await clock.advance(5.2)
    await task
    assert writer.parked == []


@pytest.mark.parametrize("ask", [READ, WRITE])
async def test_a_place_is_held_for_as_long_as_its_request_is_under_way(
    books: Books, clock: VirtualClock, ask: Ask
) -> None:
    alone = Pace(concurrency=1)
    other = books.ledger(alone)
    async with books.process(alone).slot(ask):
        await clock.settle()
        for number in range(9):
            await clock.advance(PLACE_SECONDS)
            assert (await other.admit(ask, f"next{number}", 0.0)).what != "go"
            await other.settle(ask, f"next{number}", Outcome())
    await clock.advance(1.0)
    assert (await other.admit(ask, "last", 0.0)).what == "go"


async def test_a_place_that_was_given_up_is_not_taken_again_by_a_late_renewal(
    books: Books, clock: VirtualClock
) -> None:
    ledger = books.ledger(Pace(concurrency=1))
    await ledger.admit(WRITE, "one", 0.0)
    await ledger.settle(WRITE, "one", Outcome())
    await ledger.renew(WRITE, "one")
    await clock.advance(1.0)
    assert (await ledger.admit(WRITE, "two", 0.0)).what == "go"


async def test_a_place_that_ran_out_is_not_taken_from_who_has_it_now(
    books: Books, clock: VirtualClock
) -> None:
    ledger = books.ledger(Pace())
    await ledger.admit(WRITE, "slow", 0.0)
    await clock.advance(PLACE_SECONDS + 1.0)
    assert (await ledger.admit(WRITE, "now", 0.0)).what == "go"
    await ledger.renew(WRITE, "slow")
    await ledger.settle(WRITE, "slow", Outcome())
    await clock.advance(1.0)
    assert (await ledger.admit(WRITE, "next", 0.0)).what == "wait"


class Unsteady(Awaited):
    """Books that are out of reach for the first renewals."""

    def __init__(self, ledger: Ledger, clock: VirtualClock, refused: int) -> None:
        super().__init__(ledger, clock)
        self._refused = refused
        self.renewals = 0

    async def renew(self, ask: Ask, place: str) -> None:
        self.renewals += 1
        if self.renewals <= self._refused:
            raise NotStored("The books are out of reach.")
        await super().renew(ask, place)


async def test_renewals_outlast_books_that_are_out_of_reach_and_end_with_the_request(
    books: Books, clock: VirtualClock
) -> None:
    unsteady = Unsteady(books.ledger(Pace()), clock, refused=2)
    async with Throttle(unsteady, clock, SortableIds(clock)).slot(WRITE) as place:
        await clock.settle()
        await clock.advance(2 * PLACE_SECONDS)
        assert unsteady.renewals == 8
        assert (await books.ledger(Pace()).admit(WRITE, "next", 0.0)).what == "wait"
        place.answered({}, limit=None, succeeded=True)
    await clock.advance(10 * PLACE_SECONDS)
    assert unsteady.renewals == 8


async def test_whoever_died_in_the_line_is_not_waited_for_long(
    books: Books, clock: VirtualClock
) -> None:
    ledger = books.ledger(Pace())
    await ledger.admit(WRITE, "first", 0.0)
    assert (await ledger.admit(WRITE, "dead", 0.0)).what == "wait"
    await ledger.settle(WRITE, "first", Outcome())
    await clock.advance(3)
    assert (await ledger.admit(WRITE, "next", 0.0)).what == "wait"
    await clock.advance(4)
    assert (await ledger.admit(WRITE, "next", 4.0)).what == "go"


async def test_who_asks_again_after_a_lost_answer_takes_one_place(books: Books) -> None:
    ledger = books.ledger(Pace(points_per_minute=5))
    for _ in range(3):
        assert (await ledger.admit(CONTENT, "same", 0.0)).what == "go"
    await ledger.settle(CONTENT, "same", Outcome())
    assert (await ledger.admit(READ, "other", 0.0)).what == "park"


async def test_a_place_given_up_twice_is_given_up_once(books: Books, clock: VirtualClock) -> None:
    ledger = books.ledger(Pace())
    await ledger.admit(WRITE, "one", 0.0)
    await ledger.settle(WRITE, "one", Outcome())
    await clock.advance(1.0)
    assert (await ledger.admit(WRITE, "two", 0.0)).what == "go"
    await ledger.settle(WRITE, "one", Outcome())
    assert (await ledger.admit(WRITE, "three", 0.0)).what == "wait"


# --- how much at once and in an hour -------------------------------------------------------------


async def test_no_more_than_twenty_requests_are_in_flight(
    books: Books, clock: VirtualClock
) -> None:
    throttle = books.process()
    release = asyncio.Event()

    async def hold() -> None:
        async with throttle.slot(READ):
            await release.wait()

    held = [asyncio.create_task(hold()) for _ in range(20)]
    await clock.settle()
    waiting = asyncio.create_task(answer(throttle))
    impatient = asyncio.create_task(answer(books.process()))
    await clock.settle()
    await clock.advance(2.9)
    assert not waiting.done()
    await clock.advance(1)
    with pytest.raises(Parked, match="in flight"):
        await impatient
    with pytest.raises(Parked, match="in flight"):
        await waiting
    waiting = asyncio.create_task(answer(throttle))
    await clock.settle()
    release.set()
    await clock.settle()
    await asyncio.gather(*held, waiting)


def most_in(sent: list[tuple[float, int]], seconds: float) -> int:
    window, total, most = deque[tuple[float, int]](), 0, 0
    for at, cost in sent:
        window.append((at, cost))
        total += cost
        while window[0][0] <= at - seconds:
            total -= window.popleft()[1]
        most = max(most, total)
    return most


async def crowd(
    ledger: Ledger, clock: VirtualClock, ask: Ask, *, hours: float
) -> list[tuple[float, int]]:
    """Ask as often as one may; returns when it was let in and what that cost."""
    sent: list[tuple[float, int]] = []
    for number in itertools.count():
        verdict = Verdict("wait")
        while verdict.what != "go":
            verdict = await ledger.admit(ask, str(number), 0.0)
            await clock.advance(verdict.seconds)
        if clock.monotonic() >= hours * 3600:
            return sent
        sent.append((clock.monotonic(), ask.points))
        await ledger.settle(ask, str(number), Outcome())
    raise AssertionError


async def test_content_stays_within_its_budgets_for_hours(
    books: Books, clock: VirtualClock
) -> None:
    ledger = books.ledger(Pace(write_gap=0.0))
    hours = min(books.hours, 6)
    sent = await crowd(ledger, clock, CONTENT, hours=hours)
    assert most_in([(at, 1) for at, _ in sent], 60) == 60
    assert most_in([(at, 1) for at, _ in sent], 3600) == 400
    assert len(sent) == hours * 400


@pytest.mark.parametrize("ask", [READ, WRITE])
async def test_requests_stay_within_the_points_of_a_minute(
    books: Books, clock: VirtualClock, ask: Ask
) -> None:
    ledger = books.ledger(Pace(write_gap=0.0))
    sent = await crowd(ledger, clock, ask, hours=0.05)
    assert most_in(sent, 60) == 600


async def test_a_day_of_everything_is_never_too_much(books: Books, clock: VirtualClock) -> None:
    rng, ledger = random.Random(3), books.ledger(Pace())
    sent: list[tuple[float, Ask]] = []
    number = 0
    while clock.monotonic() < books.hours * 3600:
        # Quiet and busy hours: what is asked in a burst is as different as people's days.
        for _ in range(rng.choice([1, 5, 120])):
            ask, number = rng.choice([READ, READ, WRITE, CONTENT]), number + 1
            verdict = await ledger.admit(ask, str(number), 0.0)
            if verdict.what == "go":
                sent.append((clock.monotonic(), ask))
                await clock.advance(rng.uniform(0, 0.1))
            else:
                await clock.advance(min(verdict.seconds, rng.uniform(0, 2.0)))
            await ledger.settle(ask, str(number), Outcome())
        await clock.advance(rng.uniform(0, 900))
    assert most_in([(at, ask.points) for at, ask in sent], 60) <= 600
    content = [(at, 1) for at, ask in sent if ask.content]
    assert most_in(content, 60) <= 60
    assert most_in(content, 3600) <= 400
    writes = [at for at, ask in sent if ask.write]
    assert min(later - earlier for earlier, later in itertools.pairwise(writes)) >= 1.0 - 1e-6
    assert len(sent) > 50 * books.hours


# --- what GitHub says ----------------------------------------------------------------------------


async def test_a_reserve_of_the_hourly_limit_is_left_alone(
    books: Books, clock: VirtualClock
) -> None:
    throttle, other_process = books.process(), books.process()
    await answer(throttle, told(clock, 51, 600))
    await answer(other_process)
    with pytest.raises(Parked, match="nearly used up") as caught:
        await answer(other_process)
    assert seconds_of(clock, caught.value) == pytest.approx(601)
    await answer(throttle, ask=Ask("a", resource="graphql"))
    await answer(throttle, ask=Ask("b"))
    await clock.advance(602)
    await answer(throttle)


async def test_what_is_under_way_is_taken_off_what_github_says_is_left(
    throttle: Throttle, clock: VirtualClock
) -> None:
    async with throttle.slot(READ), throttle.slot(READ):
        await answer(throttle, told(clock, 52, 600))
        with pytest.raises(Parked, match="nearly used up"):
            await answer(throttle)


async def test_a_small_limit_is_not_all_reserve(throttle: Throttle, clock: VirtualClock) -> None:
    await answer(throttle, told(clock, 40, 600, **{"x-ratelimit-limit": "60"}))
    await answer(throttle)


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
    await answer(throttle, told(clock, 0, 600, **broken))
    await answer(throttle)


async def test_nothing_is_sent_before_the_allowed_time(books: Books, clock: VirtualClock) -> None:
    rng = random.Random(11)
    processes = [books.process() for _ in range(3)]
    for _ in range(500):
        wait = rng.choice([None, rng.uniform(1, 4000)])
        refused = Limit("secondary", wait)
        with pytest.raises(Parked, match="secondary") as caught:
            await answer(rng.choice(processes), limit=refused)
        left = seconds_of(clock, caught.value)
        assert left >= (wait if wait is not None else 60.0) - 1e-3
        await clock.advance(left - 0.01)
        for ask in (READ, WRITE):
            with pytest.raises(Parked):
                await answer(rng.choice(processes), ask=ask)
        await clock.advance(0.02)
        await answer(rng.choice(processes), succeeded=False)


async def test_writes_that_a_pause_meets_come_back_in_their_order_and_apart(
    throttle: Throttle, writer: Writer, clock: VirtualClock
) -> None:
    tasks = list[asyncio.Task[None]]()
    for name in "abc":
        tasks.append(writer.start(throttle, name, Ask("a", write=True, purpose=name)))
        await clock.settle()
    with pytest.raises(Parked):
        await answer(throttle, limit=Limit("secondary", 100.0))
    await clock.advance(99.9)
    assert writer.order == "a"
    await clock.advance(10)
    await asyncio.gather(*tasks)
    assert writer.order == "abc"


async def test_a_success_ends_the_growing_of_waits(books: Books, clock: VirtualClock) -> None:
    refused = Limit("secondary", None)
    for wait in (60, 120):
        with pytest.raises(Parked) as caught:
            await answer(books.process(), limit=refused)
        assert seconds_of(clock, caught.value) == pytest.approx(wait, abs=1e-3)
        await clock.advance(wait + 0.001)
    await answer(books.process())
    parked = await books.process().penalise("a", refused)
    assert seconds_of(clock, parked) == pytest.approx(60, abs=1e-3)


async def test_waits_grow_no_longer_than_a_quarter_of_an_hour(books: Books) -> None:
    throttle = books.process()
    parked = [await throttle.penalise("a", Limit("secondary", None)) for _ in range(12)]
    assert seconds_of(books.clock, parked[-1]) == pytest.approx(900, abs=1e-3)


async def test_a_shorter_wait_never_ends_a_longer_one(
    throttle: Throttle, clock: VirtualClock
) -> None:
    await throttle.penalise("a", Limit("primary", 900))
    parked = await throttle.penalise("a", Limit("secondary", 5))
    assert seconds_of(clock, parked) == pytest.approx(900, abs=1e-3)


async def test_a_parked_installation_leaves_the_others_alone(
    throttle: Throttle, clock: VirtualClock
) -> None:
    await throttle.penalise("a", Limit("primary", 900))
    for ask in (Ask("b"), Ask("b", write=True), Ask("app")):
        await answer(throttle, ask=ask)
        with pytest.raises(Parked, match="pause"):
            await answer(throttle)
    assert clock.monotonic() == 0.0
