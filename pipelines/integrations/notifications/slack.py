"""Slack by an incoming webhook (https://api.slack.com/messaging/webhooks)."""

import asyncio
import re

import httpx2

from pipelines.errors import Retryable
from pipelines.integrations.notifications.answers import judge
from pipelines.integrations.notifications.base import Notifier
from pipelines.integrations.notifications.words import link, plain
from pipelines.model import Notify
from pipelines.net import read_capped

TIMEOUT_SECONDS = 10.0
_MAX_TITLE = 200
_MAX_SECTION = 3_000
"""Slack's own limit on the text of a section block, counted after escaping."""
_MAX_ANSWER = 64 * 1024
_WORD = re.compile(rb"[a-z_]{1,40}")
_MARKS = {"info": "\N{INFORMATION SOURCE}", "warning": "\N{WARNING SIGN}", "critical": "\u203c"}


class SlackNotifier(Notifier):
    """Posts messages; the address is the secret, so nothing ever tells it."""

    name = "slack"

    def __init__(self, client: httpx2.AsyncClient, webhook_url: str) -> None:
        """The client is closed with it."""
        self._client = client
        self._url = webhook_url

    async def send(self, notification: Notify) -> None:
        """Post one message."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                status, retry_after, said = await self._post(message(notification))
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
            # The error's own text may quote the address.
            raise Retryable(
                f"Slack did not answer ({type(error).__name__}).", dependency=self.name
            ) from None
        judge("Slack", status, retry_after, said)

    async def close(self) -> None:
        """Close connections."""
        await self._client.aclose()

    async def _post(self, payload: dict[str, object]) -> tuple[int, str, str]:
        headers = {"accept-encoding": "identity"}
        async with self._client.stream(
            "POST", self._url, json=payload, headers=headers, follow_redirects=False
        ) as response:
            body = await read_capped(response, _MAX_ANSWER)
            word = body.strip().decode() if _WORD.fullmatch(body.strip()) else ""
            return response.status_code, response.headers.get("retry-after", ""), word


def message(notification: Notify) -> dict[str, object]:
    """Return the body: a text for the notification of the device, and blocks to look at."""
    title = escaped(" ".join(plain(notification.title, _MAX_TITLE).split()), _MAX_SECTION - 20)
    head = f"{_MARKS[notification.level]} *{title}*"
    blocks = [_section(head)]
    if notification.text.strip():
        blocks.append(_section(escaped(plain(notification.text, _MAX_SECTION), _MAX_SECTION)))
    if address := link(notification):
        blocks.append(_section(f"<{escaped(address, _MAX_SECTION - 20)}|Look at it>"))
    return {"text": head, "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def escaped(text: str, limit: int) -> str:
    """Return text in which nothing mentions or links, cut between characters, never inside one.

    Slack wants exactly these three characters escaped.
    """
    signs = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
    whole: list[str] = []
    left = limit - 1
    for character in text:
        sign = signs.get(character, character)
        left -= len(sign)
        if left < 0:
            return "".join(whole) + "…"
        whole.append(sign)
    return "".join(whole)


def _section(text: str) -> dict[str, object]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}
