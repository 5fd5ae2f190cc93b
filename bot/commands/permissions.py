"""Who may give which command: the table's row against what GitHub says of them now."""

from typing import Protocol

from bot.commands.table import VERBS
from bot.github.permissions import Level, level_of
from pipelines.model import Actor, Repository

__all__ = ["Level", "Permissions", "level_of", "objection"]


class Permissions(Protocol):
    """Says what somebody may do to a repository; a check that fails is a no."""

    async def level(self, repository: Repository, actor: Actor) -> Level:
        """Return the actor's level now; NONE too when it could not be learnt."""
        ...


def objection(verb: str, level: Level) -> str | None:
    """Return why somebody of this level may not give the command, or None if they may."""
    needed = VERBS[verb].permission
    if level >= level_of(needed):
        return None
    if level is Level.NONE:
        return (
            f"`{verb}` needs the permission {needed} on this repository, and GitHub does not "
            "confirm that you have it."
        )
    return (
        f"`{verb}` needs the permission {needed} on this repository; yours is {level.name.lower()}."
    )
