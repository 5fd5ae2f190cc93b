"""Each channel says what it was told, and nothing else."""

import io
import json
from collections.abc import Callable

import httpx2
import pytest

from pipelines.errors import Retryable, UserError
from pipelines.integrations.notifications.console import ConsoleNotifier
from pipelines.integrations.notifications.slack import SlackNotifier, escaped, message
from pipelines.integrations.notifications.webhook import (
    SIGNATURE,
    TIMESTAMP,
    WebhookNotifier,
    signature,
)
from pipelines.model import Notify
from pipelines.net import AllowedHosts, GuardedClient
from tests.support.clock import VirtualClock

SECRET = "T0/B0/" + "x" * 24
SLACK = f"https://hooks.slack.com/services/{SECRET}"
HOOK_SECRET = "s" * 32
Handler = Callable[[httpx2.Request], httpx2.Response]


def a_notice(**changes: object) -> Notify:
    values = {"title": "error rate out of bounds", "level": "warning", "occasion": "run-1/watch"}
    return Notify.model_validate({**values, **changes})


def slack(handler: Handler) -> SlackNotifier:
    return SlackNotifier(httpx2.AsyncClient(transport=httpx2.MockTransport(handler)), SLACK)


def answering(status: int, body: str = "ok", **headers: str) -> Handler:
    return lambda _: httpx2.Response(status, text=body, headers=headers)


# --- console -------------------------------------------------------------------------------------


async def test_the_console_writes_plain_lines() -> None:
    stream = io.StringIO()
    channel = ConsoleNotifier(stream)
    await channel.send(a_notice(text="one\ntwo", url="https://example.com/7"))
    await channel.close()
    assert stream.getvalue() == (
        "[warning] error rate out of bounds\n  one\n  two\n  https://example.com/7\n"
    )


async def test_nothing_moves_the_cursor_or_forges_a_line() -> None:
    stream = io.StringIO()
    title, text = "a\x1b[2Jb\r\n[critical] c", "\x1b]0;x\x07\u202eevil"
    await ConsoleNotifier(stream).send(a_notice(title=title, text=text))
    assert stream.getvalue() == "[warning] a[2Jb [critical] c\n  ]0;xevil\n"


async def test_no_secret_is_written() -> None:
    stream = io.StringIO()
    token = "ghp_" + "a1" * 18
    await ConsoleNotifier(stream).send(a_notice(text=f"token {token}"))
    assert token not in stream.getvalue()


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "https://x/<b>", "https://x/|y", "https://é/", "https://x/\n"]
)
async def test_an_odd_address_is_left_out(url: str) -> None:
    stream = io.StringIO()
    await ConsoleNotifier(stream).send(a_notice(url=url))
    assert stream.getvalue().count("\n") == 1
    assert len(message(a_notice(url=url))["blocks"]) == 1  # type: ignore[arg-type]


# --- Slack ---------------------------------------------------------------------------------------


async def test_slack_is_posted_blocks_and_a_text() -> None:
    seen: list[httpx2.Request] = []

    def take(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, text="ok")

    channel = slack(take)
    await channel.send(a_notice(text="It was at 0.4.", url="https://github.com/o/d/issues/7"))
    await channel.close()
    [request] = seen
    assert str(request.url) == SLACK
    body = json.loads(request.content)
    assert body["text"] == "\N{WARNING SIGN} *error rate out of bounds*"
    assert [block["text"]["text"] for block in body["blocks"]] == [
        body["text"],
        "It was at 0.4.",
        "<https://github.com/o/d/issues/7|Look at it>",
    ]


def test_nobody_is_mentioned_and_nothing_is_linked() -> None:
    body = json.dumps(message(a_notice(title="<!channel> & <@U1>", text="<https://evil|x>")))
    assert "<!" not in body
    assert "<@" not in body
    assert "<https" not in body
    assert "&lt;!channel&gt; &amp; &lt;@U1&gt;" in body


def test_an_escape_is_never_cut_in_two() -> None:
    for limit in range(2, 30):
        cut = escaped("a&<>" * 5, limit)
        assert len(cut) <= limit
        whole = cut.removesuffix("…").replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
        assert set(whole) <= {"a"}


def test_every_text_keeps_slacks_limit() -> None:
    long = a_notice(title="<" * 200, text="&" * 4000)
    for block in message(long)["blocks"]:  # type: ignore[attr-defined]
        assert len(block["text"]["text"]) <= 3000


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, "invalid_payload"),
        (403, "action_prohibited"),
        (404, "no_service"),
        (410, "channel_is_archived"),
        (302, ""),
    ],
)
async def test_a_refusal_of_slack_is_told_without_the_address(status: int, body: str) -> None:
    channel = slack(answering(status, body, location="https://slack.com/login"))
    with pytest.raises(UserError) as caught:
        await channel.send(a_notice())
    assert SECRET not in str(caught.value)
    assert body in str(caught.value)


async def test_a_page_instead_of_a_word_is_not_repeated() -> None:
    with pytest.raises(UserError) as caught:
        await slack(answering(404, f"<html>{SLACK}</html>")).send(a_notice())
    assert SECRET not in str(caught.value)
    assert "html" not in str(caught.value)


@pytest.mark.parametrize(
    ("after", "wait"), [("30", 30.0), ("1e9", 900.0), ("nan", None), ("", None)]
)
async def test_a_busy_slack_says_how_long(after: str, wait: float | None) -> None:
    channel = slack(lambda _: httpx2.Response(429, headers={"retry-after": after}))
    with pytest.raises(Retryable) as caught:
        await channel.send(a_notice())
    assert caught.value.retry_after == wait
    assert caught.value.dependency == "slack"


@pytest.mark.parametrize(
    "error",
    [
        httpx2.ConnectError(f"cannot reach {SLACK}"),
        httpx2.ReadTimeout(f"{SLACK} is slow"),
        httpx2.InvalidURL(SLACK),
    ],
)
async def test_a_slack_that_cannot_be_reached_is_told_without_the_address(error: Exception) -> None:
    def fail(_: httpx2.Request) -> httpx2.Response:
        raise error

    with pytest.raises(Retryable) as caught:
        await slack(fail).send(a_notice())
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


# --- webhook -------------------------------------------------------------------------------------


def hook(handler: Handler, url: str = "https://hooks.example/in?token=abc") -> WebhookNotifier:
    async def resolver(host: str, port: int) -> list[str]:
        return ["93.184.215.14"]

    web = GuardedClient(
        AllowedHosts.parse(["hooks.example"]),
        resolver=resolver,
        transport=httpx2.MockTransport(handler),
    )
    return WebhookNotifier(web, url, HOOK_SECRET, VirtualClock())


async def test_a_webhook_is_signed_over_time_and_body() -> None:
    seen: list[httpx2.Request] = []

    def take(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(204)

    await hook(take).send(a_notice(text="It was at 0.4."))
    [request] = seen
    moment = request.headers[TIMESTAMP]
    assert request.headers[SIGNATURE] == signature(HOOK_SECRET.encode(), moment, request.content)
    assert request.headers["host"] == "hooks.example"
    assert json.loads(request.content) == {
        "version": 1,
        "key": "notify/run-1/watch",
        "level": "warning",
        "title": "error rate out of bounds",
        "text": "It was at 0.4.",
        "url": None,
        "head_sha": None,
    }


async def test_another_body_or_moment_has_another_signature() -> None:
    secret = HOOK_SECRET.encode()
    made = {
        signature(secret, "1", b"a"),
        signature(secret, "2", b"a"),
        signature(secret, "1", b"b"),
    }
    assert len(made) == 3


@pytest.mark.parametrize(
    ("status", "error"), [(500, Retryable), (429, Retryable), (401, UserError)]
)
async def test_a_webhook_that_does_not_take_it_says_so(status: int, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        await hook(answering(status)).send(a_notice())
    assert "abc" not in str(caught.value)


async def test_a_webhook_elsewhere_is_not_asked() -> None:
    asked: list[httpx2.Request] = []

    def take(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return httpx2.Response(200)

    with pytest.raises(UserError, match=r"other\.example is not in CONDUCTOR_ALLOWED_HOSTS"):
        await hook(take, "https://other.example/in").send(a_notice())
    assert asked == []


def test_a_short_secret_is_refused() -> None:
    web = GuardedClient(AllowedHosts())
    with pytest.raises(UserError, match="shorter than 32"):
        WebhookNotifier(web, "https://hooks.example/", "short", VirtualClock())
