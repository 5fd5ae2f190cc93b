"""Who may give which command: the table's row against what GitHub says of them now."""

from typing import Protocol

from bot.commands.table import VERBS
from bot.github.permissions import Level, level_of
from pipelines.model import Actor, EnvironmentPlan, Repository

__all__ = ["Level", "Permissions", "deployment_objection", "level_of", "objection"]


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


def deployment_objection(
    verb: str, environment: EnvironmentPlan, actor: Actor, level: Level
) -> str | None:
    """Return why somebody may not change what runs in an environment, or None if they may.

    Its approvers may; others need what the table asks for, which is more for production.
    """
    if actor.id in environment.approvers or not environment.production:
        return None if actor.id in environment.approvers else objection(verb, level)
    needed = VERBS[verb].production or VERBS[verb].permission
    if level >= level_of(needed):
        return None
    return (
        f"`{verb}` of `{environment.name}` needs the permission {needed}, or to be one of its "
        f"`approvers`; yours is {level.name.lower()}."
    )
