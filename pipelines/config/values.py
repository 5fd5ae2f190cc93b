"""The kinds of value that a configuration file holds beyond text and numbers."""

import re
from datetime import time
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema

from pipelines import globs
from pipelines.config import conditions, cron
from pipelines.model import FreezeWindow, Severity

_DURATION = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?", re.ASCII)
_MODEL = re.compile(r"([a-z][a-z0-9-]{0,30}):([A-Za-z0-9][A-Za-z0-9._/@:-]{0,127})")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MOMENT = r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun) ([01]\d|2[0-3]):([0-5]\d)"
_FREEZE = re.compile(rf"{_MOMENT} - {_MOMENT} ([A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+){{0,2}})")

PLACEHOLDERS = ("branch", "pull-request", "environment")
"""What may be filled in in the name of a concurrency group."""
_GROUP = re.compile(r"([A-Za-z0-9_./-]|\{(branch|pull-request|environment)\}){1,100}")

PROVIDERS = ("anthropic", "openai")


def duration(value: object) -> float:
    """Return seconds from `90`, `"10m"` or `"1h30m"`; raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None or not any(match.groups()):
        raise ValueError("A duration is a number of seconds or looks like `90s`, `10m` or `1h30m`.")
    hours, minutes, seconds = (int(group or 0) for group in match.groups())
    return float(hours * 3600 + minutes * 60 + seconds)


def _glob(value: str) -> str:
    return globs.compile(value).pattern


def _condition(value: str) -> str:
    return conditions.parse(value).text


def _cron(value: str) -> str:
    shortest = cron.parse(value).shortest
    if shortest < cron.SHORTEST_MINUTES:
        raise ValueError(
            f"This schedule comes due {shortest} minutes after it was due; the least is "
            f"{cron.SHORTEST_MINUTES} minutes, e.g. `*/5 * * * *`."
        )
    return value


def _group(value: str) -> str:
    if not _GROUP.fullmatch(value):
        placeholders = ", ".join(f"`{{{name}}}`" for name in PLACEHOLDERS)
        raise ValueError(
            "A concurrency group is 1 to 100 letters, digits, `_`, `.`, `/`, `-` and placeholders: "
            f"{placeholders}."
        )
    return value


def _model(value: str) -> str:
    match = _MODEL.fullmatch(value)
    if match is None:
        raise ValueError("A model is written `provider:model`, e.g. `anthropic:claude-sonnet-5-5`.")
    if match[1] not in PROVIDERS:
        raise ValueError(
            f"There is no model provider {match[1]!r} here; there are {' and '.join(PROVIDERS)}."
        )
    return value


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError as error:
        raise ValueError("This is not an address.") from error
    plain = value.isascii() and value.isprintable() and not re.search(r"[\s\\]", value)
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise ValueError("An address starts with https:// (or http://) and names a host.")
    if "@" in parts.netloc:
        raise ValueError("An address must not contain a user name or password.")
    return value


def _relative(value: str) -> str:
    if any(segment in ("", ".", "..") for segment in value.split("/")):
        raise ValueError("A path is relative to the repository and stays inside it.")
    return value


def _severity(value: object) -> object:
    return Severity(value) if value in list(Severity) else value


def freeze(value: object) -> FreezeWindow:
    """Return the window that `Fri 16:00 - Mon 08:00 Europe/Berlin` describes; raises ValueError."""
    match = _FREEZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("A freeze window looks like `Fri 16:00 - Mon 08:00 Europe/Berlin`.")
    day, hour, minute, end_day, end_hour, end_minute, zone = match.groups()
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"There is no time zone {zone!r}.") from error
    window = FreezeWindow(
        start_day=_DAYS.index(day),
        start=time(int(hour), int(minute)),
        end_day=_DAYS.index(end_day),
        end=time(int(end_hour), int(end_minute)),
        zone=zone,
    )
    if (window.start_day, window.start) == (window.end_day, window.end):
        raise ValueError("This freeze window begins and ends at the same minute.")
    return window


Glob = Annotated[str, AfterValidator(_glob), Field(description="A path pattern.")]
Globs = Annotated[tuple[Glob, ...], Field(max_length=globs.MAX_PATTERNS)]
ConditionText = Annotated[str, AfterValidator(_condition)]
CronText = Annotated[str, AfterValidator(_cron)]
GroupName = Annotated[
    str, AfterValidator(_group), Field(json_schema_extra={"pattern": f"^{_GROUP.pattern}$"})
]
Url = Annotated[str, StringConstraints(max_length=2048), AfterValidator(_url)]
SeverityLevel = Annotated[Severity, BeforeValidator(_severity)]
ModelName = Annotated[str, AfterValidator(_model)]
Duration = Annotated[
    float,
    BeforeValidator(duration),
    WithJsonSchema(
        {"type": ["number", "string"], "pattern": "^([0-9]+h)?([0-9]+m)?([0-9]+s)?$"},
    ),
]
Freeze = Annotated[
    FreezeWindow,
    BeforeValidator(freeze),
    WithJsonSchema({"type": "string", "pattern": f"^{_FREEZE.pattern}$"}),
]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,99}$")]
ImageName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][A-Za-z0-9._/:@-]{0,254}$")]
ImageTemplate = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9](?:[A-Za-z0-9._/:@-]|\{sha\}){0,254}$")
]
ResourceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$")]
RelativePath = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9._/-]{1,200}$"), AfterValidator(_relative)
]
UrlPath = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._~/?=&%-]{0,200}$")]
UserId = Annotated[int, Field(ge=1, le=2**53)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Threshold = Annotated[float, Field(ge=-1e15, le=1e15)]
AgentName = Literal["coding", "review", "test-data", "test", "devops", "deploy", "monitor"]
