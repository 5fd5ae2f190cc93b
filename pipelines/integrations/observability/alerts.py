"""Alertmanager's webhook, version 4 (https://prometheus.io/docs/alerting/latest/configuration/).

Whoever can raise an alert writes its labels: they are capped, checked for their form, and nothing
of the annotations is taken at all.
"""

import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from pipelines.model import Frozen

MAX_BODY = 1024 * 1024
MAX_ALERTS = 200
_MAX_TEXT = 100
_REPOSITORY = re.compile(r"[A-Za-z0-9-]{1,39}/[A-Za-z0-9._-]{1,100}", re.ASCII)
_ENVIRONMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,99}", re.ASCII)
_FINGERPRINT = re.compile(r"[0-9a-f]{1,64}", re.ASCII)
_ENVIRONMENT_LABELS = ("environment", "env")


class Alert(Frozen):
    """One alert that names the repository it is about."""

    repository: str
    """``owner/name`` from the label ``repository``."""
    environment: str = ""
    """From the label ``environment`` or ``env``; empty if there is none."""
    name: str
    severity: str = ""
    fingerprint: str
    """Alertmanager's own, made of the labels."""
    firing: bool
    at: AwareDatetime | None = None
    """When it started to fire, or when it was resolved."""


class Alerts(Frozen):
    """What one call carried; ``left_out`` says in sentences what of it was not taken."""

    alerts: tuple[Alert, ...]
    left_out: tuple[str, ...] = ()


class _Lenient(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Alert(_Lenient):
    status: Literal["firing", "resolved"]
    labels: Annotated[dict[str, str], Field(max_length=200)] = {}
    fingerprint: str
    starts_at: AwareDatetime | None = Field(default=None, alias="startsAt")
    ends_at: AwareDatetime | None = Field(default=None, alias="endsAt")


class _Call(_Lenient):
    version: Literal["4"]
    alerts: list[_Alert]
    truncated: int = Field(default=0, ge=0, alias="truncatedAlerts")


def parse(body: bytes) -> Alerts | str:
    """Return the alerts of a call, or in a sentence why it is none."""
    if len(body) > MAX_BODY:
        return f"The call has more than {MAX_BODY} bytes."
    try:
        call = _Call.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"][:3]) or "the top"
        return f"This is not Alertmanager's webhook, version 4; at {place[:_MAX_TEXT]} it differs."
    found = [_alert(each) for each in call.alerts[:MAX_ALERTS]]
    alerts = tuple(dict.fromkeys(each for each in found if isinstance(each, Alert)))
    beyond = call.truncated + max(0, len(call.alerts) - MAX_ALERTS)
    return Alerts(alerts=alerts, left_out=_left_out(found, beyond))


def _alert(each: _Alert) -> Alert | str:
    labels = each.labels
    environment = next((labels[key] for key in _ENVIRONMENT_LABELS if key in labels), "")
    if not _REPOSITORY.fullmatch(labels.get("repository", "")):
        return "have no label `repository` of the form owner/name"
    if environment and not _ENVIRONMENT.fullmatch(environment):
        return "have an `environment` that cannot be the name of one"
    if not _FINGERPRINT.fullmatch(each.fingerprint):
        return "have no fingerprint"
    return Alert(
        repository=labels["repository"],
        environment=environment,
        name=_line(labels.get("alertname", "")) or "alert",
        severity=_line(labels.get("severity", "")),
        fingerprint=each.fingerprint,
        firing=each.status == "firing",
        at=_moment(each),
    )


def _moment(each: _Alert) -> datetime | None:
    """Return when it changed; Alertmanager writes the year 1 for an end that is not known."""
    at = each.starts_at if each.status == "firing" else each.ends_at
    return at if at is not None and at.year > 1 else None


def _left_out(found: list[Alert | str], beyond: int) -> tuple[str, ...]:
    reasons = [each for each in found if isinstance(each, str)]
    sentences = [f"{reasons.count(reason)} alerts {reason}." for reason in dict.fromkeys(reasons)]
    return (*sentences, *[f"{beyond} further alerts were not looked at."][: bool(beyond)])


def _line(text: str) -> str:
    """Return one printable line of limited length."""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())[:_MAX_TEXT]
