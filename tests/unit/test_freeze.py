"""When a freeze ends: across weeks, across time zones, across the nights when clocks change."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.freeze import frozen_until
from pipelines.model import FreezeWindow

BERLIN = ZoneInfo("Europe/Berlin")
WEEKEND = FreezeWindow(
    start_day=4, start=time(16), end_day=0, end=time(8), zone="Europe/Berlin"
)  # Fri 16:00 - Mon 08:00


def window(start_day: int, start: str, end_day: int, end: str, zone: str = "UTC") -> FreezeWindow:
    return FreezeWindow(
        start_day=start_day,
        start=time.fromisoformat(start),
        end_day=end_day,
        end=time.fromisoformat(end),
        zone=zone,
    )


def berlin(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


@pytest.mark.parametrize(
    "moment",
    ["2026-01-09T16:00", "2026-01-10T03:00", "2026-01-11T23:59", "2026-01-12T07:59"],
)
def test_a_weekend_that_wraps_the_week_is_frozen_until_monday_morning(moment: str) -> None:
    assert frozen_until([WEEKEND], berlin(moment)) == berlin("2026-01-12T08:00")


@pytest.mark.parametrize("moment", ["2026-01-09T15:59", "2026-01-12T08:00", "2026-01-07T12:00"])
def test_the_window_holds_its_start_and_not_its_end(moment: str) -> None:
    assert frozen_until([WEEKEND], berlin(moment)) is None


def test_without_windows_nothing_is_ever_frozen() -> None:
    assert frozen_until([], datetime(2026, 1, 10, tzinfo=UTC)) is None


def test_the_end_is_given_in_utc_whatever_zone_was_asked_in() -> None:
    until = frozen_until([WEEKEND], datetime(2026, 1, 10, 12, tzinfo=ZoneInfo("Asia/Tokyo")))
    assert until is not None
    assert (until, until.tzinfo) == (datetime(2026, 1, 12, 7, tzinfo=UTC), UTC)


def test_a_weekend_in_which_the_clocks_go_forward_is_an_hour_shorter() -> None:
    until = frozen_until([WEEKEND], berlin("2026-03-27T16:00"))
    assert until == berlin("2026-03-27T16:00").astimezone(UTC) + timedelta(hours=63)


def test_a_weekend_in_which_the_clocks_go_back_is_an_hour_longer() -> None:
    until = frozen_until([WEEKEND], berlin("2026-10-23T16:00"))
    assert until == berlin("2026-10-23T16:00").astimezone(UTC) + timedelta(hours=65)


def test_an_hour_that_comes_twice_is_frozen_both_times() -> None:
    night = window(6, "02:15", 6, "02:45", "Europe/Berlin")
    first = datetime(2026, 10, 25, 0, 15, tzinfo=UTC)
    assert frozen_until([night], first - timedelta(seconds=1)) is None
    assert frozen_until([night], first) == datetime(2026, 10, 25, 1, 45, tzinfo=UTC)
    assert frozen_until([night], datetime(2026, 10, 25, 1, 30, tzinfo=UTC)) is not None
    assert frozen_until([night], datetime(2026, 10, 25, 1, 45, tzinfo=UTC)) is None


def test_an_hour_that_is_left_out_is_still_frozen_somewhere() -> None:
    night = window(6, "02:15", 6, "02:45", "Europe/Berlin")
    jump = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)  # 02:00 becomes 03:00
    assert frozen_until([night], jump) == datetime(2026, 3, 29, 1, 45, tzinfo=UTC)


def test_windows_that_touch_or_overlap_are_one_freeze() -> None:
    windows = [
        window(0, "08:00", 0, "12:00"),
        window(0, "12:00", 0, "14:00"),
        window(0, "13:00", 1, "09:00"),
    ]
    monday = datetime(2026, 1, 5, 9, tzinfo=UTC)
    assert frozen_until(windows, monday) == datetime(2026, 1, 6, 9, tzinfo=UTC)


def test_a_window_on_one_day_that_ends_before_it_starts_lasts_almost_a_week() -> None:
    long = window(2, "12:00", 2, "10:00")
    assert frozen_until([long], datetime(2026, 1, 7, 9, tzinfo=UTC)) == datetime(
        2026, 1, 7, 10, tzinfo=UTC
    )
    assert frozen_until([long], datetime(2026, 1, 7, 11, tzinfo=UTC)) is None
    assert frozen_until([long], datetime(2026, 1, 7, 12, tzinfo=UTC)) == datetime(
        2026, 1, 14, 10, tzinfo=UTC
    )


def test_a_week_without_a_gap_ends_and_says_a_moment_at_least_a_week_away() -> None:
    always = [window(0, "00:00", 3, "00:00"), window(3, "00:00", 0, "00:00")]
    now = datetime(2026, 1, 6, tzinfo=UTC)
    until = frozen_until(always, now)
    assert until is not None
    assert timedelta(days=7) <= until - now <= timedelta(days=14)


WINDOWS = st.builds(
    FreezeWindow,
    start_day=st.integers(0, 6),
    start=st.times().map(lambda at: at.replace(microsecond=0)),
    end_day=st.integers(0, 6),
    end=st.times().map(lambda at: at.replace(microsecond=0)),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
)
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(st.lists(WINDOWS, max_size=4), MOMENTS)
def test_what_is_promised_holds_for_any_windows(windows: list[FreezeWindow], now: datetime) -> None:
    until = frozen_until(windows, now)
    if until is None:
        assert all(frozen_until([each], now) is None for each in windows)
    else:
        assert until > now
        whole_week = until - now >= timedelta(days=7)
        assert whole_week or frozen_until(windows, until) is None
