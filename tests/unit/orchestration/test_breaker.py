from pipelines.orchestration.breaker import BreakerState, CircuitBreaker
from tests.support.clock import VirtualClock


def opened(clock: VirtualClock) -> CircuitBreaker:
    breaker = CircuitBreaker(clock, threshold=3, window=60, pause=30, longest=100)
    for _ in range(3):
        breaker.failed()
    assert breaker.state is BreakerState.OPEN
    return breaker


def test_a_few_failures_leave_it_closed() -> None:
    breaker = CircuitBreaker(VirtualClock(), threshold=3)
    breaker.failed()
    breaker.failed()
    assert breaker.state is BreakerState.CLOSED
    assert breaker.seconds_left() == 0


async def test_failures_far_apart_do_not_open_it() -> None:
    clock = VirtualClock()
    breaker = CircuitBreaker(clock, threshold=3, window=60)
    for _ in range(9):
        breaker.failed()
        await clock.advance(31)
    assert breaker.state is BreakerState.CLOSED


def test_a_success_between_failures_starts_the_count_anew() -> None:
    breaker = CircuitBreaker(VirtualClock(), threshold=3)
    for _ in range(4):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED


async def test_it_opens_for_its_pause_and_is_half_open_after_it() -> None:
    clock = VirtualClock()
    breaker = opened(clock)
    await clock.advance(10)
    assert breaker.seconds_left() == 20
    await clock.advance(20)
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.seconds_left() == 0


async def test_a_failure_while_half_open_doubles_the_pause_up_to_its_limit() -> None:
    clock = VirtualClock()
    breaker = opened(clock)
    for expected in (60, 100, 100):
        await clock.advance(breaker.seconds_left())
        breaker.failed()
        assert breaker.seconds_left() == expected


def test_failures_while_open_do_not_prolong_it() -> None:
    breaker = opened(VirtualClock())
    breaker.failed()
    assert breaker.seconds_left() == 30


async def test_a_success_while_half_open_closes_it_for_good() -> None:
    clock = VirtualClock()
    breaker = opened(clock)
    await clock.advance(30)
    breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED
    breaker.failed()
    assert breaker.state is BreakerState.CLOSED


async def test_a_quiet_window_after_the_pause_closes_it() -> None:
    clock = VirtualClock()
    breaker = opened(clock)
    await clock.advance(30 + 60)
    assert breaker.state is BreakerState.CLOSED
    breaker.failed()
    assert breaker.state is BreakerState.CLOSED
