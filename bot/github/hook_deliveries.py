"""The App's own webhook deliveries as GitHub remembers them, and asking for one again.

https://docs.github.com/rest/apps/webhooks; GitHub keeps them for three days and repeats none by
itself.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit

from pydantic import AwareDatetime, Field

from bot.github.wire import Wire, parse_all

if TYPE_CHECKING:
    from bot.github.client import GitHubClient

KEPT = timedelta(days=3)
"""How long GitHub shows a delivery and repeats it; Enterprise Server keeps them for seven days."""
PER_PAGE = 100
_URL = "/app/hook/deliveries"


class HookDelivery(Wire):
    """One attempt of GitHub to bring one event to the App; repeats share the ``guid``."""

    id: int = Field(ge=1)
    guid: str = Field(pattern=r"^[A-Za-z0-9-]{1,64}$")
    delivered_at: AwareDatetime
    status: str = ""
    status_code: int = 0
    event: str = ""
    action: str | None = None

    @property
    def arrived(self) -> bool:
        """Whether the App answered that it has it."""
        return self.status == "OK" or 200 <= self.status_code < 300

    @property
    def refused(self) -> bool:
        """Whether the App answered, and would not have it; anything else is an outage."""
        return 400 <= self.status_code < 500


@dataclass(frozen=True, slots=True)
class Page:
    """Deliveries, newest first; ``cursor`` asks for the older ones, "" where there are none."""

    deliveries: tuple[HookDelivery, ...]
    cursor: str


class HookDeliveries:
    """Lists deliveries and asks for them again, as the App."""

    def __init__(self, app: "GitHubClient") -> None:
        self._app = app

    async def page(self, cursor: str = "") -> Page:
        """Return one page, the newest without a cursor."""
        url = f"{_URL}?per_page={PER_PAGE}"
        asked = f"{url}&cursor={quote(cursor, safe='')}" if cursor else url
        data, following = await self._app.page(asked)
        return Page(tuple(parse_all(HookDelivery, data, "deliveries")), _cursor(following))

    async def newest(self, guid: str) -> HookDelivery | None:
        """Return the newest attempt of a delivery, None if GitHub has none (any more)."""
        async for delivery in self._all():
            if delivery.guid == guid:
                return delivery
        return None

    async def _all(self) -> AsyncIterator[HookDelivery]:
        page = await self.page()
        while True:
            for delivery in page.deliveries:
                yield delivery
            if not page.cursor:
                return
            page = await self.page(page.cursor)

    async def redeliver(self, delivery_id: int) -> None:
        """Have GitHub send a delivery again; it answers before it has been sent."""
        await self._app.post(f"{_URL}/{delivery_id}/attempts", data={})


def _cursor(url: str | None) -> str:
    return parse_qs(urlsplit(url or "").query).get("cursor", [""])[0]
