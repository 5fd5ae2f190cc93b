"""What happens inside a task that its result does not tell: enough to go through it again."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, JsonValue

from pipelines.model.base import Frozen
from pipelines.model.task import Usage


class Exchange(Frozen):
    """One question to a model and what came of it, as the agent saw it."""

    kind: Literal["exchange"] = "exchange"
    model: str
    """The chain that was asked."""
    there: bool = True
    """False if no model could be had, so that none was asked."""
    purpose: str
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the whole request."""
    response: str = ""
    """The answer as its own JSON text; empty if there was none."""
    trouble: dict[str, JsonValue] | None = None
    """Why there was none, as it is written down for a pipe."""
    error: str = ""
    """The type of the exception, where there was no answer."""
    usage: Usage | None = None
    """What a call cost that broke off."""


class Reading(Frozen):
    """What the clock said when the agent looked at it: the time of day, or seconds of a timer."""

    kind: Literal["reading"] = "reading"
    now: AwareDatetime | None = None
    monotonic: float | None = None


Note = Annotated[Exchange | Reading, Field(discriminator="kind")]
