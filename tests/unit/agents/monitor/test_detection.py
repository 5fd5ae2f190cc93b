"""What counts as unusual, by properties and by numbers that were measured."""

import math
import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.agents.monitor.detection import (
    MIN_BASELINE,
    Bounds,
    Usual,
    near,
    runs,
    sketch,
    steady,
    usual,
    usual_bounds,
)
from pipelines.model import Point

STEP = 15.0
K = 5
Numbers = st.lists(
    st.floats(min_value=-1e6, max_value=1e6).map(lambda x: round(x, 3)), min_size=8, max_size=60
)


def points(values: Sequence[float], start: float = 0.0) -> list[Point]:
    return [Point(at=start + index * STEP, value=value) for index, value in enumerate(values)]


def breached(before: Sequence[float], after: Sequence[float], change: float = 0.0) -> bool:
    bounds = usual_bounds([usual(before)], "up", change)
    return any(len(run) >= K for run in runs(points(after), bounds, STEP))


# --- properties ----------------------------------------------------------------------------------


@given(Numbers, Numbers, st.sampled_from([0.001, 0.25, 8.0, 1000.0]))
def test_the_unit_of_a_signal_makes_no_difference(
    before: list[float], after: list[float], scale: float
) -> None:
    # What lies exactly on a bound may be rounded either way.
    bounds = usual_bounds([usual(before)], "up", 0.0)
    if any(bounds.above is not None and math.isclose(v, bounds.above, rel_tol=1e-6) for v in after):
        return
    scaled = breached([v * scale for v in before], [v * scale for v in after])
    assert breached(before, after) == scaled


@given(Numbers, st.floats(min_value=-1e6, max_value=1e6))
def test_the_spread_does_not_depend_on_the_level(values: list[float], shift: float) -> None:
    here, there = usual(values), usual([value + shift for value in values])
    assert here
    assert there
    assert there.deviation == pytest.approx(here.deviation, abs=1e-6)
    assert there.median == pytest.approx(here.median + shift, abs=1e-6)


@given(Numbers)
def test_the_order_of_samples_makes_no_difference_to_what_is_usual(values: list[float]) -> None:
    assert usual(values) == usual(sorted(values))


@given(st.floats(min_value=-1e9, max_value=1e9), st.integers(8, 100), st.integers(1, 100))
def test_a_constant_signal_is_never_a_breach(value: float, before: int, after: int) -> None:
    assert not breached([value] * before, [value] * after)


@given(st.lists(st.floats(-1e6, 1e6), max_size=MIN_BASELINE - 1), Numbers)
def test_too_short_a_past_gives_no_bounds(before: list[float], after: list[float]) -> None:
    assert usual(before) is None
    assert not breached(before, after)


@given(Numbers, st.lists(st.floats(-1e9, 1e9), max_size=K - 1))
def test_fewer_samples_than_a_run_are_never_a_breach(
    before: list[float], after: list[float]
) -> None:
    assert not breached(before, after)


@given(Numbers, st.integers(K, 60))
def test_a_clear_step_is_always_a_breach(before: list[float], length: int) -> None:
    past = usual(before)
    assert past
    jump = past.median + 7 * past.deviation + abs(past.median) + 1.0
    assert breached(before, [jump] * length)


@given(Numbers, st.floats(min_value=1e6, max_value=1e9), st.integers(0, 30))
def test_a_single_spike_is_never_a_breach(before: list[float], spike: float, place: int) -> None:
    past = usual(before)
    assert past
    after = [past.median] * 31
    after[place] = spike
    assert not breached(before, after)


@given(Numbers)
def test_what_gets_better_is_never_a_breach(before: list[float]) -> None:
    assert not breached(before, [min(before)] * 50)


@given(Numbers, Numbers)
def test_a_second_baseline_only_ever_forgives(first: list[float], second: list[float]) -> None:
    alone, both = [usual(first)], [usual(first), usual(second)]
    assert (usual_bounds(both, "up", 0.0).above or 0) >= (usual_bounds(alone, "up", 0.0).above or 0)
    lower = usual_bounds(both, "down", 0.0).below
    assert lower is not None
    assert lower <= (usual_bounds(alone, "down", 0.0).below or 0)


@given(Numbers, st.floats(min_value=0.01, max_value=1e6))
def test_a_change_that_does_not_matter_is_no_breach(before: list[float], change: float) -> None:
    past = usual(before)
    assert past
    assert not breached(before, [past.median + change * 0.99] * 50, change)


# --- examples ------------------------------------------------------------------------------------


def test_a_few_odd_samples_do_not_move_what_is_usual() -> None:
    assert usual([1.0] * 20 + [1000.0] * 5) == Usual(1.0, 0.0, 25)


def test_values_that_are_no_numbers_do_not_count() -> None:
    assert usual([math.nan] * 10 + [1.0] * 7) is None


def test_no_baseline_gives_no_bounds() -> None:
    assert not usual_bounds([None, None], "up", 1.0).any


def test_a_bound_stands_only_where_it_hurts() -> None:
    past = [Usual(10.0, 0.0, 20)]
    assert usual_bounds(past, "up", 1.0) == Bounds(above=15.0)
    assert usual_bounds(past, "down", 1.0) == Bounds(below=5.0)
    assert usual_bounds(past, "up", 7.0) == Bounds(above=17.0)


def test_a_gap_ends_a_run_and_a_missing_sample_does_not() -> None:
    bounds = Bounds(above=1.0)
    track = [Point(at=at, value=2.0) for at in (0.0, 15.0, 45.0, 200.0, 215.0)]
    assert [len(run) for run in runs(track, bounds, STEP)] == [3, 2]


def test_a_sample_within_ends_a_run() -> None:
    lengths = [len(run) for run in runs(points([2, 2, 0, 2, 2, 2]), Bounds(above=1.0), STEP)]
    assert lengths == [2, 3]


def test_a_bound_itself_is_not_beyond() -> None:
    assert not Bounds(above=1.0, below=1.0).broken_by(1.0)


@pytest.mark.parametrize(
    ("values", "expected", "is_steady"),
    [
        ([0.0] * 40, 40, True),
        ([0.0] * 32, 40, True),
        ([0.0] * 31, 40, False),
        ([0.0] * 4, 4, False),
        ([2.0, *[0.0] * 39], 40, True),
        ([*[0.0] * 39, 2.0], 40, False),
        ([2.0] * 3 + [0.0] * 37, 40, False),
        ([], 0, False),
    ],
)
def test_steady_means_all_of_the_span(values: list[float], expected: int, is_steady: bool) -> None:
    assert steady(points(values), Bounds(above=1.0), expected, K) is is_steady


@pytest.mark.parametrize(
    ("value", "baseline", "bounds", "is_near"),
    [
        (0.015, 0.001, Bounds(above=0.02), False),
        (0.005, 0.001, Bounds(above=0.02), True),
        (0.005, None, Bounds(above=0.02), True),
        (0.5, 1.0, Bounds(below=0.5), False),
        (0.9, 1.0, Bounds(below=0.5), True),
        (0.03, 0.03, Bounds(above=0.02), True),
    ],
)
def test_near_the_baseline_is_nearer_than_to_the_bound(
    value: float, baseline: float | None, bounds: Bounds, is_near: bool
) -> None:
    assert near(points([value] * 9), baseline, bounds) is is_near


def test_nothing_is_near_nothing() -> None:
    assert not near([], None, Bounds(above=1.0))


@given(st.lists(st.floats(-1e6, 1e6), max_size=300), st.integers(2, 60))
def test_a_sketch_keeps_its_ends(values: list[float], most: int) -> None:
    drawn = sketch(points(values), most)
    assert len(drawn) == min(len(values), most)
    if values:
        assert (drawn[0], drawn[-1]) == (values[0], values[-1])


# --- measured ------------------------------------------------------------------------------------


def smooth(noise: Callable[[], float], count: int) -> list[float]:
    """Noise as a rate over four steps shows it: neighbours share three quarters of their data."""
    raw = [noise() for _ in range(count + 3)]
    return [sum(raw[index : index + 4]) / 4 for index in range(count)]


def false_alarms(noise: Callable[[random.Random], Callable[[], float]], change: float) -> int:
    """Of 2000 quiet deployments of ten minutes, every fifteen seconds, with one baseline."""
    alarms = 0
    for seed in range(2000):
        draw = noise(random.Random(seed))
        alarms += breached(smooth(draw, 40), smooth(draw, 40), change)
    return alarms


def test_quiet_latency_is_never_a_breach() -> None:
    """Measured: none of 2000; a heavy-tailed latency around 100 ms."""
    latency = false_alarms(lambda rng: lambda: rng.lognormvariate(math.log(0.1), 0.35), 0.02)
    assert latency == 0


def test_quiet_throughput_is_never_a_breach() -> None:
    """Measured: none of 2000; normal noise of twenty per cent."""
    assert false_alarms(lambda rng: lambda: rng.gauss(100.0, 20.0), 0.1) == 0


def test_a_few_errors_are_never_a_breach() -> None:
    """Measured: none of 2000; five per thousand of a hundred requests a step fail."""
    errors = false_alarms(
        lambda rng: lambda: sum(rng.random() < 0.005 for _ in range(100)) / 100, 0.01
    )
    assert errors == 0


def test_a_latency_three_times_as_long_is_always_found() -> None:
    rng = random.Random(7)
    for attempt in range(200):
        before = smooth(lambda: rng.lognormvariate(math.log(0.1), 0.35), 40)
        after = smooth(lambda: rng.lognormvariate(math.log(0.3), 0.35), 40)
        assert breached(before, after, 0.02), attempt
