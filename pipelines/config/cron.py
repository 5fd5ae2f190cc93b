"""Schedules of five fields, as in `crontab(5)`: minute, hour, day of month, month, day of week."""

import calendar
import re
from dataclasses import dataclass

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
