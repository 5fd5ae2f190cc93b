"""What a person may do to a repository, asked live and by numeric id; silence is a no."""

from collections import OrderedDict
from enum import IntEnum
from urllib.parse import quote

from bot.github.gateway import GitHub
from bot.github.tokens import READ
from bot.github.wire import Wire, parse
from pipelines.errors import ConductorError
from pipelines.model import Actor, Repository
from pipelines.ports import Clock

CACHED_SECONDS = 60.0
_REMEMBERED = 1000


class Level(IntEnum):
    """A permission on a repository; a higher one includes all lower ones."""

    NONE = 0
    READ = 1
    TRIAGE = 2
    WRITE = 3
    MAINTAIN = 4
    ADMIN = 5


class _Account(Wire):
    id: int


class _Answer(Wire):
    permission: str
    role_name: str = ""
    user: _Account | None = None


def level_of(name: str) -> Level:
    """Return the level of GitHub's word for it, in any case; NONE for one that is not known."""
    return Level.__members__.get(name.upper(), Level.NONE)


class PermissionChecker:
    """Asks GitHub for a person's permission and believes the answer for at most a minute."""

    def __init__(self, github: GitHub, clock: Clock) -> None:
        self._github = github
        self._clock = clock
        self._known: OrderedDict[tuple[int, int, int], tuple[float, Level]] = OrderedDict()

    async def level(self, repository: Repository, actor: Actor, *, delivery_id: str = "") -> Level:
        """Return the actor's level; NONE too when GitHub does not answer or names somebody else.

        Raises nothing of GitHub's: a permission that cannot be checked is not there.
        """
        key = (repository.installation_id, repository.id, actor.id)
        known = self._known.get(key)
        if known is not None and self._clock.monotonic() - known[0] < CACHED_SECONDS:
            return known[1]
        try:
            level = await self._ask(repository, actor, delivery_id)
        except ConductorError:
            return Level.NONE
        self._known.pop(key, None)
        self._known[key] = (self._clock.monotonic(), level)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return level

    async def _ask(self, repository: Repository, actor: Actor, delivery_id: str) -> Level:
        if actor.id == 0 or actor.type != "User":
            return Level.NONE
        client = self._github.client(repository, READ, delivery_id=delivery_id)
        data = await client.getitem(
            f"/repos/{repository.full_name}/collaborators/{quote(actor.login, safe='')}/permission"
        )
        answer = parse(_Answer, data, "a permission")
        if answer.user is None or answer.user.id != actor.id:
            return Level.NONE
        return max(level_of(answer.role_name), level_of(answer.permission))
