"""Freeze windows: weekly spans, in a place's local time, in which nothing is deployed."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from pipelines.model import FreezeWindow

_WEEK = timedelta(days=7)


def frozen_until(windows: Sequence[FreezeWindow], now: datetime) -> datetime | None:
    """Return when (UTC) the freeze that ``now`` is in ends, or None if there is none.

    A window that begins before another one ends goes on with it. Windows that leave no gap in the
    week give an end at least a week away, which the caller meets again. ``now`` must be aware.
    """
    start = until = now.astimezone(UTC)
    while until - start < _WEEK:
        ends = [end for window in windows if (end := _end_of(window, until)) is not None]
        if not ends:
            break
        until = max(ends)
    return None if until == start else until


def _end_of(window: FreezeWindow, moment: datetime) -> datetime | None:
    """Return when the occurrence of the window that holds the moment ends; None if none does."""
    zone = ZoneInfo(window.zone)
    today = moment.astimezone(zone).date()
    monday = today - timedelta(days=today.weekday())
    for weeks in (-1, 0):
        first = monday + timedelta(weeks=weeks)
        begin = min(_instants(first + timedelta(days=window.start_day), window.start, zone))
        end = max(_instants(_last_day(window, first), window.end, zone))
        if begin <= moment < end:
            return end
    return None


def _last_day(window: FreezeWindow, monday: date) -> date:
    wraps = (window.end_day, window.end) <= (window.start_day, window.start)
    return monday + timedelta(days=window.end_day + 7 * wraps)


def _instants(day: date, at: time, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return both readings of a local time in UTC.

    They differ for an hour that daylight saving repeats or leaves out. A window then takes the
    earlier one as its start and the later one as its end, so that doubt is always frozen.
    """
    local = datetime.combine(day, at, tzinfo=zone)
    return local.replace(fold=0).astimezone(UTC), local.replace(fold=1).astimezone(UTC)
