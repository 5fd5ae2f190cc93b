"""One webhook delivery, from the moment it is accepted to its one terminal record."""

from enum import StrEnum

from pydantic import AwareDatetime, Field

from pipelines.model import Frozen

QUEUE = "deliveries"
"""The work queue that accepted deliveries wait in."""


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

    ``payload`` is the signed body as it came, decoded as UTF-8 but not yet parsed.
    """

    guid: str = Field(pattern=r"^[A-Za-z0-9-]{1,64}$")
    event: str = Field(pattern=r"^[a-z_]{1,64}$")
    payload: str
    received_at: AwareDatetime
    status: DeliveryStatus = DeliveryStatus.ACCEPTED
    reason: str = ""
    run_ids: tuple[str, ...] = ()
    finished_at: AwareDatetime | None = None
