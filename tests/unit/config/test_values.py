"""Durations, schedules and freeze windows: what a written value means."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.config import cron
from pipelines.config.loader import load
from pipelines.config.values import duration, freeze


@pytest.mark.parametrize(
    ("written", "seconds"),
    [(90, 90), (0.5, 0.5), ("90s", 90), ("10m", 600), ("2h", 7200), ("1h30m", 5400)],
)
def test_a_duration_is_seconds_or_hours_minutes_and_seconds(
    written: object, seconds: float
) -> None:
    assert duration(written) == seconds


@pytest.mark.parametrize("written", ["", "10", "m", "30m1h", "1.5h", "-1m", "1d", None, True, []])
def test_what_is_no_duration_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        duration(written)


@pytest.mark.parametrize(
    ("written", "field", "values"),
    [
        ("*/20 * * * *", "minutes", {0, 20, 40}),
        ("5-8 * * * *", "minutes", {5, 6, 7, 8}),
        ("5-11/3,59 * * * *", "minutes", {5, 8, 11, 59}),
        ("40/10 * * * *", "minutes", {40, 50}),
        ("0 22,6 * * *", "hours", {6, 22}),
        ("0 0 * jan-Mar *", "months", {1, 2, 3}),
        ("0 0 * * MON-fri", "weekdays", {1, 2, 3, 4, 5}),
        ("0 0 * * 5-7", "weekdays", {0, 5, 6}),
        ("0 0 1 * *", "weekdays", set(range(7))),
    ],
)
def test_a_schedule_is_read_as_crontab_reads_it(written: str, field: str, values: set[int]) -> None:
    assert getattr(cron.parse(written), field) == values


@pytest.mark.parametrize("written", ["0 0 29 2 *", "0 0 31 1-3 *", "0 0 30 2 1"])
def test_a_rare_date_is_still_a_date(written: str) -> None:
    assert cron.parse(written).ever


@pytest.mark.parametrize(
    ("written", "minutes"),
    [
        ("* * * * *", 1),
        ("*/5 * * * *", 5),
        ("0,2 3 * * *", 2),
        ("58,2 3 * * *", 56),
        ("58,2 3,4 * * *", 4),
        ("57,2 23,0 * * *", 5),
        ("0 0 1 1 *", 60),
    ],
)
def test_the_shortest_time_between_two_moments_of_a_schedule(written: str, minutes: int) -> None:
    assert cron.parse(written).shortest == minutes


def test_a_schedule_that_would_cost_too_much_is_refused_with_the_reason() -> None:
    text = "version: 1\nworkflows: {w: {on: {schedule: {cron: '%s'}}, steps: {s: {agent: test}}}}\n"
    assert load(text % "*/5 * * * *").file is not None
    (said,) = load(text % "*/2 * * * *").diagnostics
    assert "comes due 2 minutes after it was due; the least is 5 minutes" in str(said)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "after", "until", "found"),
    [
        ("0 6 * * 1-5", "2026-01-05T05:59", "2026-01-05T06:00", "2026-01-05T06:00"),
        ("0 6 * * 1-5", "2026-01-05T06:00", "2026-01-05T06:30", None),
        ("0 6 * * 1-5", "2026-01-02T06:00", "2026-01-05T05:59", None),
        ("0 6 * * *", "2026-01-01T00:00", "2026-01-05T05:59", "2026-01-04T06:00"),
        ("*/15 * * * *", "2026-01-05T05:00", "2026-01-05T05:59", "2026-01-05T05:45"),
        ("0 0 29 2 *", "2025-12-01T00:00", "2028-03-01T00:00", "2028-02-29T00:00"),
        ("0 0 29 2 *", "2025-12-01T00:00", "2027-03-01T00:00", None),
        ("0 0 13 * 5", "2026-01-05T00:00", "2026-01-12T00:00", "2026-01-09T00:00"),
        ("0 0 13 * 5", "2026-01-10T00:00", "2026-01-15T00:00", "2026-01-13T00:00"),
    ],
)
def test_the_last_moment_that_a_schedule_was_due(
    written: str, after: str, until: str, found: str | None
) -> None:
    wanted = at(found) if found else None
    assert cron.parse(written).latest(at(after), at(until)) == wanted


MOMENTS = st.integers(0, 60 * 24 * 3600).map(
    lambda seconds: at("2026-01-01T00:00") + timedelta(seconds=seconds)
)


@given(
    st.sampled_from(["*/7 * * * *", "3,50 */5 * * *", "0 9 1,15 * *", "20 4 * * 2"]),
    MOMENTS,
    st.integers(0, 3000),
)
def test_looking_each_minute_finds_what_looking_once_finds(
    written: str, after: datetime, minutes: int
) -> None:
    schedule, until = cron.parse(written), after + timedelta(minutes=minutes)
    start = after.replace(second=0, microsecond=0)
    each = (start + timedelta(minutes=passed) for passed in range(minutes + 2))
    due = [
        moment
        for moment in each
        if after < moment <= until and schedule.latest(moment - timedelta(seconds=1), moment)
    ]
    assert schedule.latest(after, until) == (due[-1] if due else None)


def test_a_freeze_window_may_cross_the_week_and_keeps_its_zone() -> None:
    window = freeze("Sun 23:30 - Tue 00:05 America/Argentina/Ushuaia")
    assert (window.start_day, window.start.isoformat()) == (6, "23:30:00")
    assert (window.end_day, window.end.isoformat()) == (1, "00:05:00")
    assert window.zone == "America/Argentina/Ushuaia"
