"""One webhook delivery, from the moment it is accepted to its one terminal record."""

from enum import StrEnum

from pydantic import AwareDatetime, Field

from pipelines.model import Frozen
from pipelines.ports import PATIENT, URGENT, USUAL

QUEUE = "deliveries"
"""The work queue that accepted deliveries wait in."""

ALERTS = "alertmanager"
"""The event of a delivery that is Alertmanager's and not GitHub's."""


SCHEDULES = "schedule"
"""The event of a delivery that is our own: a schedule came due, or may have changed."""

_URGENT = frozenset(
    {
        "issue_comment",
        "pull_request_review_comment",
        "check_run",
        "check_suite",
        "installation",
        "installation_repositories",
    }
)
_PATIENT = frozenset({ALERTS, SCHEDULES})


def priority_of(event: str) -> int:
    """Return the priority of a delivery by its event alone; 0 goes first.

    Comments and buttons are what people wait for, and an App that was removed must stop at once.
    """
    if event in _URGENT:
        return URGENT
    return PATIENT if event in _PATIENT else USUAL


def delivery_key(guid: str) -> str:
    """Where the delivery with this GUID is stored."""
    return f"delivery/{guid}"


def body_key(guid: str) -> str:
    """Where the delivery's body is stored, if there is anything to be done about it."""
    return f"body/{guid}"


class DeliveryStatus(StrEnum):
    """What became of a delivery; everything but ``accepted`` is terminal (invariant I1)."""

    ACCEPTED = "accepted"
    DONE = "done"
    IGNORED = "ignored"
    SUPERSEDED = "superseded"
    FAILED = "failed"
    DEAD = "dead"


class Delivery(Frozen):
    """A stored delivery; ``guid`` is GitHub's ``X-GitHub-Delivery``, the same when redelivered.

    The signed body lies beside it, under ``body_key``, as the bytes that came.
    """

    guid: str = Field(pattern=r"^[A-Za-z0-9-]{1,64}$")
    event: str = Field(pattern=r"^[a-z_]{1,64}$")
    received_at: AwareDatetime
    status: DeliveryStatus = DeliveryStatus.ACCEPTED
    reason: str = ""
    run_ids: tuple[str, ...] = ()
    finished_at: AwareDatetime | None = None
