"""How an operation is described, called and answered."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, ValidationError

from bot.simulator.errors import Refused, invalid, not_found
from bot.simulator.state import Account, App, Issue, PullRequest, Repository, Token
from bot.simulator.world import World

PER_PAGE = 30
MAX_PER_PAGE = 100
GRAPHQL = "/graphql"


class Body(BaseModel):
    """A request body: types are checked strictly, unknown keys are ignored, as GitHub does."""

    model_config = ConfigDict(strict=True, extra="ignore")


B = TypeVar("B", bound=Body)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; ``document`` is JSON unless it is bytes."""

    document: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    media: str = "application/json; charset=utf-8"


@dataclass
class Call:
    """One request to one operation, with who makes it."""

    world: World
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    url: str
    """Absolute, without the query."""
    app: App | None = None
    token: Token | None = None

    def read(self, model: type[B]) -> B:
        """Parse the body; GitHub answers 400 for broken JSON and 422 for wrong types."""
        try:
            return model.model_validate_json(self.body or b"{}")
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            if first["type"] == "json_invalid":
                raise Refused(400, "Problems parsing JSON") from None
            where = "/".join(str(part) for part in first["loc"])
            words = "wasn't supplied" if first["type"] == "missing" else "is not valid"
            raise invalid(f'Invalid request.\n\n"{where}" {words}.') from None

    @property
    def actor(self) -> Account:
        """Who acts: the bot of the App whose token it is."""
        assert self.token, "the operation is for installation tokens"
        return self.token.installation.app.bot

    @cached_property
    def repo(self) -> Repository:
        """The repository in the path; 404 if the caller cannot see it."""
        found = self.world.state.repository(self.path["owner"], self.path["repo"])
        visible = found and (not found.private or (self.token and self.token.reaches(found)))
        if not found or not visible:
            raise not_found()
        return found

    def number(self, name: str) -> int:
        """A numeric path parameter; 404 if it is not a number."""
        if not self.path[name].isdecimal():
            raise not_found()
        return int(self.path[name])

    @property
    def pull(self) -> PullRequest:
        """The pull request in the path."""
        found = self.repo.issues.get(self.number("number"))
        if not found or not found.pull:
            raise not_found()
        return found.pull

    @property
    def issue(self) -> Issue:
        """The issue in the path."""
        found = self.repo.issues.get(self.number("number"))
        if not found:
            raise not_found()
        return found

    def choice(self, name: str, allowed: Sequence[str], default: str) -> str:
        """A query parameter out of a few words; anything else is the default."""
        value = self.query.get(name, default)
        return value if value in allowed else default

    @property
    def per_page(self) -> int:
        """How many rows a page has; GitHub gives at most 100."""
        return min(max(_positive(self.query.get("per_page"), PER_PAGE), 1), MAX_PER_PAGE)

    def window(self, total: int) -> tuple[slice, dict[str, str]]:
        """The slice of a list that the query asks for, and the Link header that goes with it."""
        size = self.per_page
        page = max(_positive(self.query.get("page"), 1), 1)
        last = max((total + size - 1) // size, 1)
        targets: dict[str, int] = {}
        if page > 1:
            targets |= {"prev": min(page - 1, last), "first": 1}
        if page < last:
            targets |= {"next": page + 1, "last": last}
        links = [f'<{self._page_url(number)}>; rel="{rel}"' for rel, number in targets.items()]
        return slice((page - 1) * size, page * size), {"Link": ", ".join(links)} if links else {}

    def _page_url(self, number: int) -> str:
        return f"{self.url}?{urlencode({**self.query, 'page': str(number)})}"

    def page(self, items: Sequence[Any], render: Callable[[Any], Any]) -> Answer:
        """One page of a list."""
        window, headers = self.window(len(items))
        return Answer([render(item) for item in items[window]], headers=headers)


def _positive(value: str | None, default: int) -> int:
    return int(value) if value and value.isdecimal() and len(value) < 10 else default


Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True)
class Operation:
    """One REST operation: where it is, who may call it, what carries it out.

    ``needs`` lists alternatives such as ``pull_requests=write``; any of them is enough. ``as_app``
    operations take the App's own JWT instead of an installation token.
    """

    method: str
    template: str
    handler: Handler
    needs: tuple[str, ...] = ("metadata=read",)
    as_app: bool = False
    creates: bool = False
    """Counts against the limit on creating content."""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The template as a pattern; ``{path}``, ``{ref}`` and ``{basehead}`` may hold slashes."""
        parts = re.split(r"\{(\w+)\}", self.template)
        names = {"path": ".*", "ref": ".+", "basehead": ".+"}
        text = "".join(
            f"(?P<{part}>{names.get(part, '[^/]+')})" if index % 2 else re.escape(part)
            for index, part in enumerate(parts)
        )
        return re.compile(text)
