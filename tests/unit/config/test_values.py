"""Durations, schedules and freeze windows: what a written value means."""

import pytest

from pipelines.config import cron
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


def test_a_freeze_window_may_cross_the_week_and_keeps_its_zone() -> None:
    window = freeze("Sun 23:30 - Tue 00:05 America/Argentina/Ushuaia")
    assert (window.start_day, window.start.isoformat()) == (6, "23:30:00")
    assert (window.end_day, window.end.isoformat()) == (1, "00:05:00")
    assert window.zone == "America/Argentina/Ushuaia"
