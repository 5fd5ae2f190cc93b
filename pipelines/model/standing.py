"""What people said that holds until they say otherwise."""

from pydantic import AwareDatetime

from pipelines.model.base import Frozen
from pipelines.model.trigger import Actor


class Dismissal(Frozen):
    """Somebody's word that a finding does not apply; it outlives pushes."""

    fingerprint: str
    path: str = ""
    title: str = ""
    why: str
    by: Actor
    at: AwareDatetime


class Pause(Frozen):
    """Automatic work on one pull request is off until somebody resumes it."""

    by: Actor
    at: AwareDatetime
    why: str = ""
