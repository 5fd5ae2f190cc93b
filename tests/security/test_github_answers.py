"""Whatever GitHub answers, one clear error comes of it: nothing crashes, leaks or hangs."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from multidict import CIMultiDict

from bot.github.errors import (
    BadAnswer,
    BadCredentials,
    Forbidden,
    ForeignAddress,
    Invalid,
    NotFound,
)
from bot.github.gateway import GitHub
from bot.github.reader import GitHubReader
from bot.github.tokens import READ, WRITE
from bot.github.transport import Transport, http_client
from pipelines.errors import Ambiguous, ConductorError, Dropped, Parked, Retryable
from pipelines.model import Change
from tests.support.clock import VirtualClock
from tests.support.github_stub import REPOSITORY, GitHubStub, Reply, Seen, github, graphql_data

HERE = "/repos/octo/shop"
HTML = b"<html><body>Unicorn!</body></html>"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def stub(clock: VirtualClock) -> AsyncIterator[GitHubStub]:
    async with GitHubStub().running(clock) as running:
        yield running


@pytest.fixture
async def elsewhere(clock: VirtualClock) -> AsyncIterator[GitHubStub]:
    """A host that must never hear from us."""
    async with GitHubStub().running(clock) as running:
        yield running


@pytest.fixture
async def gateway(stub: GitHubStub, clock: VirtualClock) -> AsyncIterator[GitHub]:
    async with github(stub, clock) as built:
        yield built


async def get(gateway: GitHub, url: str = HERE) -> Any:
    return await gateway.client(REPOSITORY, READ).getitem(url)


async def post(gateway: GitHub, url: str = f"{HERE}/issues/5/comments") -> Any:
    return await gateway.client(REPOSITORY, WRITE).post(url, data={"body": "hello"})


async def query(gateway: GitHub, document: str = "query Q { viewer { login } }") -> Any:
    return await gateway.client(REPOSITORY, READ).query(document, {})


# --- answers that are none ---------------------------------------------------------------------

NO_ANSWERS = [
    Reply(body=HTML, content_type="text/html"),
    Reply(body=HTML),
    Reply(body=b'{"id": 1'),
    Reply(body=b""),
    Reply(body=b"null"),
    Reply(body=b"\xff\xfe{}"),
    Reply(body=b"[" * 100_000),
    Reply(body=b'{"id":1}', content_type="application/json; charset=bogus", status=200),
    Reply(status=206, body=b"{"),
]


@pytest.mark.parametrize("reply", NO_ANSWERS)
async def test_an_answer_that_is_not_one_is_a_passing_fault(
    stub: GitHubStub, gateway: GitHub, reply: Reply
) -> None:
    stub.on("GET", HERE, reply)
    if b'"id":1}' in (reply.body or b""):
        assert await get(gateway) == {"id": 1}
        return
    with pytest.raises(Retryable, match="not JSON"):
        await get(gateway)


@pytest.mark.parametrize("reply", [Reply(body=HTML), Reply(body=b"", status=201), Reply(cut=True)])
async def test_a_write_whose_answer_is_lost_is_looked_up_before_it_is_repeated(
    stub: GitHubStub, gateway: GitHub, reply: Reply
) -> None:
    stub.on("POST", f"{HERE}/issues/5/comments", reply)
    with pytest.raises(Ambiguous):
        await post(gateway)
    assert len(stub.calls("POST", f"{HERE}/issues/5/comments")) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 599])
async def test_trouble_at_github_is_retried_and_counted_against_github(
    stub: GitHubStub, gateway: GitHub, status: int
) -> None:
    stub.on("GET", HERE, Reply(body=HTML, status=status, headers={"retry-after": "7"}))
    with pytest.raises(Retryable) as caught:
        await get(gateway)
    assert not isinstance(caught.value, Ambiguous)
    assert (caught.value.dependency, caught.value.retry_after) == ("github", 7.0)
    stub.on("POST", f"{HERE}/issues/5/comments", Reply(body=HTML, status=status))
    with pytest.raises(Ambiguous):
        await post(gateway)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, NotFound),
        (410, NotFound),
        (451, NotFound),
        (409, Retryable),
        (400, Invalid),
        (415, Invalid),
        (418, Invalid),
        (422, Invalid),
        (403, Forbidden),
        (304, BadAnswer),
        (300, BadAnswer),
    ],
)
async def test_a_refusal_is_sorted_by_what_to_do_whatever_its_body(
    stub: GitHubStub, gateway: GitHub, status: int, kind: type[Exception]
) -> None:
    bodies = [
        b'{"message": "Sorry"}',
        b"{}",
        b"",
        HTML,
        b'{"message": null}',
        b'["x"]',
        b'{"errors": 5}',
    ]
    for number, body in enumerate(bodies):
        stub.on("GET", f"{HERE}/{number}", Reply(body=body, status=status))
        with pytest.raises(kind):
            await get(gateway, f"{HERE}/{number}")


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        (["Line could not be resolved"], "Line could not be resolved"),
        ("one string", "one string"),
        ([{"resource": "CheckRun", "field": "name", "code": "missing"}], "CheckRun name missing"),
        ([{"strange": 1}], "{'strange': 1}"),
        ([None], "None"),
    ],
)
async def test_the_reasons_of_a_422_are_kept_in_any_form(
    stub: GitHubStub, gateway: GitHub, errors: Any, expected: str
) -> None:
    stub.on("GET", HERE, Reply({"message": "Validation Failed", "errors": errors}, 422))
    with pytest.raises(Invalid) as caught:
        await get(gateway)
    assert caught.value.errors == (expected,)


async def test_a_missing_permission_is_named(stub: GitHubStub, gateway: GitHub) -> None:
    stub.on(
        "GET",
        HERE,
        Reply(
            {"message": "Resource not accessible by integration"},
            403,
            headers={"x-accepted-github-permissions": "checks=write"},
        ),
    )
    with pytest.raises(Forbidden, match="it needs checks=write") as caught:
        await get(gateway)
    assert caught.value.needed == "checks=write"


async def test_a_rejected_api_version_is_told_in_github_s_words(
    stub: GitHubStub, gateway: GitHub
) -> None:
    stub.on("GET", HERE, Reply({"message": "Version 2026-03-10 is not supported."}, 400))
    with pytest.raises(Invalid, match="with 400: Version 2026-03-10 is not supported"):
        await get(gateway)


async def test_headers_that_are_sent_twice_are_read_with_distrust(
    stub: GitHubStub, gateway: GitHub
) -> None:
    twice = CIMultiDict[str]([("x-ratelimit-remaining", "0"), ("x-ratelimit-remaining", "7")])
    twice.extend([("x-ratelimit-limit", "60"), ("x-ratelimit-reset", "99999999999")])
    stub.on("GET", HERE, Reply({"id": 1}, headers=twice))
    assert await get(gateway) == {"id": 1}
    assert await get(gateway) == {"id": 1}


async def test_a_suspended_installation_drops_its_work(stub: GitHubStub, gateway: GitHub) -> None:
    stub.on("GET", HERE, Reply({"message": "This installation has been suspended"}, 403))
    with pytest.raises(Dropped, match="suspended"):
        await get(gateway)


async def test_a_request_refused_five_times_alike_rests(
    stub: GitHubStub, gateway: GitHub, clock: VirtualClock
) -> None:
    stub.on("GET", HERE, Reply({"message": "Validation Failed"}, 422))
    stub.on("GET", f"{HERE}/other", Reply({"id": 2}))
    for _ in range(5):
        with pytest.raises(Invalid):
            await get(gateway)
    with pytest.raises(Retryable, match="rests for 600 s") as caught:
        await get(gateway)
    assert caught.value.retry_after == 600
    assert len(stub.calls("GET", HERE)) == 5
    assert await get(gateway, f"{HERE}/other") == {"id": 2}
    await clock.advance(601)
    stub.on("GET", HERE, Reply({"id": 1}))
    assert await get(gateway) == {"id": 1}


# --- limits ------------------------------------------------------------------------------------


def reset(clock: VirtualClock, seconds: float) -> str:
    return str(int(clock.now().timestamp() + seconds))


async def test_the_primary_limit_parks_until_its_reset(
    stub: GitHubStub, gateway: GitHub, clock: VirtualClock
) -> None:
    for status in (403, 429):
        headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset(clock, 900)}
        stub.on("GET", HERE, Reply({"message": "API rate limit exceeded"}, status, headers))
        with pytest.raises(Parked, match="primary") as caught:
            await get(gateway)
        assert caught.value.scope == "github/9"
        assert caught.value.until >= clock.now() + timedelta(seconds=900)
        before = len(stub.seen)
        with pytest.raises(Parked):
            await get(gateway)
        assert len(stub.seen) == before
        await clock.advance(902)


LIMIT_HEADERS = [
    ({"retry-after": "30"}, 30),
    ({"retry-after": "0"}, 60),
    ({"retry-after": "-5"}, 60),
    ({"retry-after": "soon"}, 60),
    ({"retry-after": "1e9"}, 60),
    ({"retry-after": "99999999999999999999"}, 86_400),
    ({}, 60),
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}, 60),
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "garbage"}, 60),
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "99999999999"}, 3660),
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9" * 400}, 60),
    ({"x-ratelimit-remaining": "0", "retry-after": "120"}, 120),
    ({"x-ratelimit-remaining": "none", "x-ratelimit-limit": "many"}, 60),
]


@pytest.mark.parametrize(("headers", "wait"), LIMIT_HEADERS)
async def test_how_long_to_wait_is_read_with_distrust(
    stub: GitHubStub, gateway: GitHub, clock: VirtualClock, headers: dict[str, str], wait: int
) -> None:
    stub.on("GET", HERE, Reply({"message": "You have exceeded a rate limit"}, 429, headers))
    with pytest.raises(Parked) as caught:
        await get(gateway)
    assert (caught.value.until - clock.now()).total_seconds() == pytest.approx(wait, abs=2)


async def test_a_date_says_how_long_to_wait_too(
    stub: GitHubStub, gateway: GitHub, clock: VirtualClock
) -> None:
    date = format_datetime(clock.now() + timedelta(seconds=300), usegmt=True)
    stub.on("GET", HERE, Reply({"message": "slow"}, 403, {"retry-after": date}))
    with pytest.raises(Parked) as caught:
        await get(gateway)
    assert (caught.value.until - clock.now()).total_seconds() == pytest.approx(300, abs=1)


@pytest.mark.parametrize(
    "answer",
    [
        {"message": "You have exceeded a secondary rate limit. Please wait."},
        {"message": "You have triggered an abuse detection mechanism."},
        {"message": "Whoa there! You are going too quickly; please wait a few minutes."},
        {"message": "No", "documentation_url": "https://docs.example/rest/overview/rate-limits"},
    ],
)
async def test_a_secondary_limit_is_known_in_any_wording_and_backs_off(
    stub: GitHubStub, gateway: GitHub, clock: VirtualClock, answer: dict[str, str]
) -> None:
    stub.on("GET", HERE, Reply(answer, 403))
    waits: list[float] = []
    for _ in range(6):
        with pytest.raises(Parked, match="secondary") as caught:
            await get(gateway)
        waits.append((caught.value.until - clock.now()).total_seconds())
        await clock.advance(waits[-1])
    assert waits == [60, 120, 240, 480, 900, 900]


async def test_another_installation_is_not_parked_with_it(
    stub: GitHubStub, gateway: GitHub
) -> None:
    stub.on("GET", HERE, Reply({}, 429), Reply({"id": 1}))
    stub.on("POST", "/app/installations/10/access_tokens", stub.mint)
    with pytest.raises(Parked):
        await get(gateway)
    other = REPOSITORY.model_copy(update={"installation_id": 10})
    assert await gateway.client(other, READ).getitem(HERE) == {"id": 1}


# --- GraphQL -----------------------------------------------------------------------------------

GRAPHQL = [
    ({"errors": [{"type": "RATE_LIMITED", "message": "limit"}]}, Parked),
    ({"errors": [{"message": "API rate limit exceeded for installation"}]}, Parked),
    ({"errors": [{"type": "NOT_FOUND", "message": "no"}], "data": None}, NotFound),
    ({"errors": [{"type": "FORBIDDEN", "message": "no"}]}, Forbidden),
    ({"errors": [{"type": "UNPROCESSABLE", "message": "no"}]}, Invalid),
    ({"errors": [{"message": "Something went wrong"}]}, BadAnswer),
    ({"errors": []}, BadAnswer),
    ({"errors": ["text"]}, BadAnswer),
    ({"errors": {"message": "x"}}, BadAnswer),
    ({"errors": None, "data": {}}, BadAnswer),
    ({"data": None}, BadAnswer),
    ({}, BadAnswer),
    ([], BadAnswer),
    ("text", BadAnswer),
    (5, BadAnswer),
]


@pytest.mark.parametrize(("answer", "kind"), GRAPHQL)
async def test_graphql_errors_in_a_200_are_errors(
    stub: GitHubStub, gateway: GitHub, answer: Any, kind: type[Exception]
) -> None:
    stub.on_graphql("Q", Reply(answer))
    with pytest.raises(kind):
        await query(gateway)


@pytest.mark.parametrize(
    "reply",
    [Reply({"errors": [{"message": "Something went wrong"}]}), Reply({"errors": [{}]}), Reply({})],
)
async def test_a_mutation_that_failed_somehow_may_have_happened(
    stub: GitHubStub, gateway: GitHub, reply: Reply
) -> None:
    stub.on_graphql("M", reply)
    with pytest.raises(Ambiguous):
        await query(gateway, "mutation M { x }")


@pytest.mark.parametrize(
    ("status", "kind"), [(401, BadCredentials), (502, Retryable), (403, Forbidden)]
)
async def test_graphql_s_http_errors_are_sorted_like_others(
    stub: GitHubStub, gateway: GitHub, status: int, kind: type[Exception]
) -> None:
    stub.on_graphql("Q", Reply({"message": "no"}, status))
    with pytest.raises(kind) as caught:
        await query(gateway)
    assert not isinstance(caught.value, Ambiguous)


# --- where requests go ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_write_is_sent_again_as_it_is_where_a_redirect_leads(
    stub: GitHubStub, gateway: GitHub, status: int
) -> None:
    stub.on(
        "POST",
        f"{HERE}/issues/5/comments",
        Reply({}, status, {"location": "/repositories/100/issues/5/comments"}),
    )
    stub.on("POST", "/repositories/100/issues/5/comments", Reply({"id": 1}, 201))
    assert await post(gateway) == {"id": 1}
    (seen,) = stub.calls("POST", "/repositories/100/issues/5/comments")
    assert seen.json == {"body": "hello"}
    assert seen.headers["authorization"] == "Bearer ghs_token_1"


@pytest.mark.parametrize(
    "target", ["http://{host}/x", "//{host}", "http://a@{host}", "http://[::1"]
)
async def test_nothing_is_sent_to_another_host_by_redirect(
    stub: GitHubStub, elsewhere: GitHubStub, gateway: GitHub, target: str
) -> None:
    target = target.replace("{host}", elsewhere.url.removeprefix("http://"))
    stub.on("GET", HERE, Reply({}, 302, {"location": target}))
    with pytest.raises(ForeignAddress):
        await get(gateway)
    assert elsewhere.seen == []


@pytest.mark.parametrize("chain", [1, 2, 5])
async def test_redirects_end(stub: GitHubStub, gateway: GitHub, chain: int) -> None:
    for number in range(chain):
        following = f"/r/{(number + 1) % chain}"
        stub.on("GET", f"/r/{number}", Reply({}, 301, {"location": following}))
    stub.on("GET", HERE, Reply({}, 301, {"location": "/r/0"}))
    with pytest.raises(BadAnswer, match="in a circle"):
        await get(gateway)
    assert len(stub.seen) <= 6


async def test_no_address_of_another_host_is_asked(
    stub: GitHubStub, elsewhere: GitHubStub, gateway: GitHub
) -> None:
    host = elsewhere.url.removeprefix("http://")
    port = stub.url.rsplit(":", 1)[1]
    for url in (
        elsewhere.url,
        f"//{host}",
        f"///{host}",
        f"////{host}/x",
        f"http:{host}",
        f"http://127.0.0.1:{port}@{host}/",
        f"http://user@127.0.0.1:{port}/app",
        f"https://127.0.0.1:{port}/app",
        "http://[::1/app",
        "ftp://127.0.0.1/app",
    ):
        with pytest.raises((ForeignAddress, NotFound)):
            await get(gateway, url)
    assert elsewhere.seen == []
    assert all(
        not seen.path.startswith("/app") or "installations" in seen.path for seen in stub.seen
    )


async def test_a_link_to_another_host_is_not_followed(
    stub: GitHubStub, elsewhere: GitHubStub, gateway: GitHub
) -> None:
    stub.on("GET", f"{HERE}/x", Reply([1], headers={"link": f'<{elsewhere.url}/x>; rel="next"'}))
    pages = gateway.client(REPOSITORY, READ).pages(f"{HERE}/x")
    with pytest.raises(ForeignAddress):
        _ = [page async for page in pages]
    assert elsewhere.seen == []


@pytest.mark.parametrize(
    "url", ["https://api.github.com", "https://api.github.com/", "https://ghe.example/api/v3"]
)
async def test_only_the_configured_origin_is_pinned(url: str) -> None:
    async with http_client() as http:
        transport = Transport(http, url)
        assert transport.pin(f"{url}/x")
        for other in ("https://api.github.com.evil.example/", "http://api.github.com/", "x", ""):
            with pytest.raises(ForeignAddress):
                transport.pin(other)


async def test_no_cookie_is_carried_from_one_request_to_the_next(
    stub: GitHubStub, gateway: GitHub
) -> None:
    stub.on("GET", HERE, Reply({"id": 1}, headers={"set-cookie": "session=1; Path=/"}))
    await get(gateway)
    await get(gateway)
    assert all("cookie" not in seen.headers for seen in stub.seen)


# --- size and time -------------------------------------------------------------------------------


async def test_a_small_answer_cannot_grow_without_end(stub: GitHubStub, gateway: GitHub) -> None:
    bomb = gzip.compress(b'{"x": "' + b"a" * (40 * 1024 * 1024) + b'"}', compresslevel=1)
    stub.on("GET", HERE, Reply(body=bomb, headers={"content-encoding": "gzip"}))
    with pytest.raises(BadAnswer, match="larger than"):
        await get(gateway)


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip"])
async def test_an_encoding_that_was_not_asked_for_is_refused(
    stub: GitHubStub, gateway: GitHub, encoding: str
) -> None:
    stub.on("GET", HERE, Reply({}, headers={"content-encoding": encoding}))
    with pytest.raises(BadAnswer, match="not asked for"):
        await get(gateway)


async def test_compressed_answers_are_read_and_damaged_ones_are_not(
    stub: GitHubStub, gateway: GitHub
) -> None:
    body = gzip.compress(b'{"id": 1}')
    headers = {"content-encoding": "gzip"}
    stub.on("GET", HERE, Reply(body=body, headers=headers))
    assert await get(gateway) == {"id": 1}
    for damaged in (b"nope" + body, body[:12]):
        stub.on("GET", HERE, Reply(body=damaged, headers=headers))
        with pytest.raises(BadAnswer):
            await get(gateway)


async def test_an_answer_that_never_ends_is_given_up(clock: VirtualClock) -> None:
    hung = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await hung.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    async with http_client() as http:
        transport = Transport(http, url, deadline=0.05)
        with pytest.raises(Retryable) as read:
            await transport.send("GET", f"{url}/x", {}, b"")
        with pytest.raises(Ambiguous):
            await transport.send("POST", f"{url}/x", {}, b"{}")
    assert not isinstance(read.value, Ambiguous)
    hung.set()
    server.close()
    await server.wait_closed()


async def test_nobody_listening_is_a_passing_fault_also_for_writes(clock: VirtualClock) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with http_client() as http:
        transport = Transport(http, f"http://127.0.0.1:{port}")
        with pytest.raises(Retryable) as caught:
            await transport.send("POST", f"http://127.0.0.1:{port}/x", {}, b"{}")
    assert not isinstance(caught.value, Ambiguous)


# --- pages ------------------------------------------------------------------------------------

CHANGE = Change(repository=REPOSITORY, number=5, head_sha="a" * 40, base_sha="b" * 40)
FILES = f"{HERE}/pulls/5/files"


def listed(*names: str, following: str | None = None) -> Reply:
    headers = {"link": f'<{following}>; rel="next"'} if following else {}
    return Reply([{"filename": name, "status": "modified"} for name in names], headers=headers)


def reader(gateway: GitHub, **fields: Any) -> GitHubReader:
    change = CHANGE.model_copy(update=fields)
    return GitHubReader(gateway.client(REPOSITORY, READ), change)


async def test_pages_that_shift_give_each_file_once_and_admit_a_gap(
    stub: GitHubStub, gateway: GitHub
) -> None:
    stub.on(
        "GET",
        FILES,
        listed("a", "b", following=f"{stub.url}{FILES}?page=2"),
        listed("b", "d"),
        listed("a", "b", following=f"{stub.url}{FILES}?page=2"),
        listed("b", "d"),
    )
    short = await reader(gateway, paths=("a", "b", "c", "d")).changed_files()
    assert [file.path for file in short.files] == ["a", "b", "d"]
    assert not short.complete
    whole = await reader(gateway, paths=("a", "b", "d")).changed_files()
    assert whole.complete


async def test_a_page_that_leads_to_itself_is_read_once(stub: GitHubStub, gateway: GitHub) -> None:
    stub.on("GET", FILES, listed("a", following=f"{stub.url}{FILES}?page=2"))
    found = await reader(gateway).changed_files()
    assert len(stub.calls("GET", FILES)) == 2
    assert not found.complete


async def test_ten_thousand_pages_end_at_github_s_own_limit(
    stub: GitHubStub, gateway: GitHub
) -> None:
    def page(seen: Seen) -> Reply:
        number = len(stub.calls("GET", FILES))
        return listed(f"f{number}", following=f"{stub.url}{FILES}?page={number + 1}")

    stub.on("GET", FILES, page)
    found = await reader(gateway, paths_complete=False).changed_files()
    assert len(stub.calls("GET", FILES)) == 30
    assert not found.complete


@pytest.mark.parametrize(
    "row",
    [
        {"filename": "a", "status": "modified", "additions": 0, "deletions": 0},
        {"filename": "a", "status": "renamed", "previous_filename": "b", "patch": None},
        {"filename": "a", "status": "brand-new-status", "patch": ""},
        {"filename": "a", "status": "added", "additions": -1},
    ],
)
async def test_odd_rows_of_the_files_list_are_files(
    stub: GitHubStub, gateway: GitHub, row: dict[str, Any]
) -> None:
    stub.on("GET", FILES, Reply([row]))
    (file,) = (await reader(gateway).changed_files()).files
    assert file.path == "a"
    assert file.patch is None
    assert file.additions == 0


@pytest.mark.parametrize("row", [{}, {"filename": None}, "a", None, {"filename": 5}])
async def test_a_row_without_a_name_is_a_passing_fault(
    stub: GitHubStub, gateway: GitHub, row: Any
) -> None:
    stub.on("GET", FILES, Reply([row]))
    with pytest.raises(BadAnswer, match="does not fit at"):
        await reader(gateway).changed_files()


# --- contents ---------------------------------------------------------------------------------


def blob(**fields: Any) -> dict[str, Any]:
    content = {"text": "x\n", "byteSize": 2, "isBinary": False, "isTruncated": False}
    return {"type": "blob", "mode": 0o100644, "object": {**content, **fields}}


CONTENTS = [
    (blob(), ""),
    (None, "missing"),
    (blob(isBinary=True, text=None), "binary"),
    (blob(text=None), "binary"),
    (blob(text="a\0b"), "binary"),
    (blob(isTruncated=True), "too large"),
    (blob(byteSize=100 * 1024 * 1024), "too large"),
    ({**blob(), "mode": 0o120000}, "not a regular file"),
    ({"type": "commit", "mode": 0o160000, "object": None}, "not a regular file"),
    ({"type": "tree", "mode": 0o40000, "object": {}}, "not a regular file"),
]


async def test_contents_are_read_in_one_call_and_each_gap_has_its_reason(
    stub: GitHubStub, gateway: GitHub
) -> None:
    entries = {f"f{n}": entry for n, (entry, _) in enumerate(CONTENTS)}
    stub.on_graphql("Contents", graphql_data({"repository": {"object": entries}}))
    names = [f"n{n}" for n in range(len(CONTENTS))]
    found = await reader(gateway).read([*names, names[0]])
    assert [found[name].reason for name in names] == [reason for _, reason in CONTENTS]
    assert found["n0"].text == "x\n"
    assert all(found[name].text is None for name in names[1:])
    assert len(stub.operations("Contents")) == 1


async def test_a_path_is_data_and_never_query_text(stub: GitHubStub, gateway: GitHub) -> None:
    hostile = 'a") { x } } } # ${} \\" \n'
    stub.on_graphql("Contents", graphql_data({"repository": {"object": {"f0": blob()}}}))
    await reader(gateway).read([hostile], at="base")
    (seen,) = stub.operations("Contents")
    assert hostile not in seen.json["query"]
    assert seen.json["variables"]["p0"] == hostile
    assert seen.json["variables"]["oid"] == "b" * 40


async def test_many_files_are_read_forty_at_a_time(stub: GitHubStub, gateway: GitHub) -> None:
    def answer(seen: Seen) -> Reply:
        count = sum(name.startswith("p") for name in seen.json["variables"])
        entries = {f"f{n}": blob() for n in range(count)}
        return graphql_data({"repository": {"object": entries}})

    stub.on_graphql("Contents", answer)
    assert len(await reader(gateway).read([f"n{n}" for n in range(90)])) == 90
    assert len(stub.operations("Contents")) == 3
    assert await reader(gateway).read([]) == {}


async def test_a_commit_that_is_gone_is_said_to_be(stub: GitHubStub, gateway: GitHub) -> None:
    stub.on_graphql("Contents", graphql_data({"repository": {"object": None}}))
    with pytest.raises(NotFound, match="is gone from octo/shop"):
        await reader(gateway).read(["a"])


async def test_no_error_shows_a_token(stub: GitHubStub, gateway: GitHub) -> None:
    told: list[str] = []
    for reply in (*NO_ANSWERS, Reply({"message": "no"}, 401), Reply({"message": "no"}, 422)):
        stub.on("GET", HERE, reply)
        try:
            await get(gateway)
        except ConductorError as error:
            told.append(f"{error!r} {error.__cause__!r}")
    assert len(told) >= len(NO_ANSWERS)
    assert "ghs_" not in " ".join(told)
