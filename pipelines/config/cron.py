"""Schedules of five fields, as in `crontab(5)`: minute, hour, day of month, month, day of week."""

import calendar
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

SHORTEST_MINUTES = 5
"""The least time between two moments at which a schedule is due; runs cost money."""
_LONGEST_LOOK = timedelta(days=9 * 366)
"""Within which every schedule is due: 29 February comes at least once in eight years."""

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))
_MONTHS = {name.lower(): i for i, name in enumerate(calendar.month_abbr) if name}
_WEEKDAYS = {name: i for i, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_NAMES = {"month": _MONTHS, "weekday": _WEEKDAYS}
_ITEM = re.compile(r"(?:(\*)|(\w{1,3})(?:-(\w{1,3}))?)(?:/([0-9]{1,2}))?", re.ASCII)
_LONGEST = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}


@dataclass(frozen=True, slots=True)
class Cron:
    """The minutes, in UTC, at which a schedule is due; weekday 0 is Sunday.

    As in crontab, if both days and weekdays are restricted either is enough.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    @property
    def ever(self) -> bool:
        """Whether there is a date that it can fall on."""
        shortest = min(self.days)
        return len(self.weekdays) < 7 or any(shortest <= _LONGEST.get(m, 31) for m in self.months)

    @property
    def shortest(self) -> int:
        """The shortest time between two moments of one day or night at which it is due, in minutes.

        The night counts as if every day was one of the schedule's.
        """
        minutes = sorted(self.minutes)
        gaps = [later - earlier for earlier, later in itertools.pairwise(minutes)]
        if any((hour + 1) % 24 in self.hours for hour in self.hours):
            gaps.append(minutes[0] + 60 - minutes[-1])
        return min(gaps, default=60)

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        """Return the last minute (UTC) at which it is due after ``after`` and up to ``until``."""
        after, until = after.astimezone(UTC), until.astimezone(UTC)
        day, last = until.date(), max(after, until - _LONGEST_LOOK).date()
        while day >= last:
            found = next((moment for moment in self._moments(day) if moment <= until), None)
            if found is not None:
                return found if found > after else None
            day -= timedelta(days=1)
        return None

    def _moments(self, day: date) -> Iterator[datetime]:
        """Yield the minutes of a day at which it is due, the last one first."""
        if self._on(day):
            for hour in sorted(self.hours, reverse=True):
                for minute in sorted(self.minutes, reverse=True):
                    yield datetime.combine(day, time(hour, minute), UTC)

    def _on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        by_day, by_weekday = len(self.days) < 31, len(self.weekdays) < 7
        here, weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return (here or weekday) if by_day and by_weekday else (here and weekday)


def parse(text: str) -> Cron:
    """Return the schedule; raises ValueError with one sentence."""
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(
            f"A schedule has five fields (minute hour day month weekday), not {len(fields)}."
        )
    parsed = [_field(field, *limits) for field, limits in zip(fields, _FIELDS, strict=True)]
    cron = Cron(*parsed[:4], weekdays=frozenset(day % 7 for day in parsed[4]))
    if not cron.ever:
        raise ValueError("This schedule names a date that no year has, so it would never run.")
    return cron


def _field(text: str, name: str, low: int, high: int) -> frozenset[int]:
    values: set[int] = set()
    for item in text.split(","):
        match = _ITEM.fullmatch(item)
        if match is None:
            raise ValueError(f"The {name} field of the schedule cannot be read: {text[:20]!r}.")
        star, first, last, step = match.groups()
        start = low if star else _number(first, name, low, high)
        end = high if star or (step and not last) else _number(last or first, name, low, high)
        if start > end or step in ("0", "00"):
            raise ValueError(f"The {name} field of the schedule is empty: {text[:20]!r}.")
        values.update(range(start, end + 1, int(step or 1)))
    return frozenset(values)


def _number(text: str, name: str, low: int, high: int) -> int:
    value = _NAMES.get(name, {}).get(text.lower())
    if value is None and text.isdigit():
        value = int(text)
    if value is None or not low <= value <= high:
        raise ValueError(f"The {name} field of the schedule takes {low} to {high}, not {text!r}.")
    return value
