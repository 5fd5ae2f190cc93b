"""Trees and snapshots from GitHub: complete or said not to be, byte for byte, nothing twice."""

import asyncio
import base64
import hashlib
from collections.abc import Mapping
from typing import Any, cast

import pytest

from bot.github.client import GitHubClient
from bot.github.errors import BadAnswer, NotFound
from bot.github.gateway import GitHub
from bot.github.permissions import PermissionChecker
from bot.github.snapshots import AT_ONCE, BlobCache, snapshot
from bot.github.source import GitHubSource
from pipelines.model import Change, Repository
from pipelines.ports import Tree, TreeEntry
from pipelines.snapshots import REST
from tests.support.clock import VirtualClock
from tests.support.github_stub import REPOSITORY, GitHubStub, Reply, Seen, graphql_data

HEAD, BASE = "a" * 40, "b" * 40
CHANGE = Change(repository=REPOSITORY, head_sha=HEAD, base_sha=BASE)


def oid(content: bytes) -> str:
    whole = b"blob %d\0%b" % (len(content), content)
    return hashlib.sha1(whole, usedforsecurity=False).hexdigest()


def row(path: str, content: bytes = b"", **fields: Any) -> dict[str, Any]:
    values = {"path": path, "mode": "100644", "type": "blob", "sha": oid(content)}
    return {**values, "size": len(content), "url": "https://elsewhere.example/", **fields}


def serve(stub: GitHubStub, side: str, *rows: dict[str, Any], truncated: bool = False) -> None:
    listing = {"sha": side, "tree": list(rows), "truncated": truncated}
    stub.on("GET", f"/repos/octo/shop/git/trees/{side}", Reply(listing))


def serve_blobs(stub: GitHubStub, *contents: bytes, binary: tuple[bytes, ...] = ()) -> None:
    known = {oid(content): content for content in contents}

    def texts(seen: Seen) -> Reply:
        asked = {k: v for k, v in seen.json["variables"].items() if k.startswith("o")}
        asked.pop("owner")
        found = {
            f"b{name[1:]}": {"text": known[id_].decode()} if id_ in known else {"text": None}
            for name, id_ in asked.items()
        }
        return graphql_data({"repository": found})

    stub.on_graphql("Blobs", texts)
    for content in binary:
        answer = {"content": base64.encodebytes(content).decode(), "encoding": "base64"}
        stub.on("GET", f"/repos/octo/shop/git/blobs/{oid(content)}", Reply(answer))


@pytest.fixture
def source(gateway: GitHub, clock: VirtualClock) -> GitHubSource:
    return GitHubSource(gateway, PermissionChecker(gateway, clock), clock)


async def test_the_tree_has_files_links_and_submodules_but_no_folders(
    stub: GitHubStub, source: GitHubSource
) -> None:
    serve(
        stub,
        HEAD,
        row("src", mode="040000", type="tree"),
        row("src/a.py", b"1\n"),
        row("run", mode="100755"),
        row("old", mode="100664"),
        row("link", mode="120000"),
        {"path": "sub", "mode": "160000", "type": "commit", "sha": "c" * 40, "url": ""},
    )
    tree = await source.reader(CHANGE).tree()
    assert tree.complete
    assert [(entry.path, entry.mode) for entry in tree.entries] == [
        ("src/a.py", "100644"),
        ("run", "100755"),
        ("old", "100644"),
        ("link", "120000"),
        ("sub", "160000"),
    ]
    assert stub.seen[-1].query == "recursive=1"


async def test_a_truncated_tree_is_said_to_be_incomplete(
    stub: GitHubStub, source: GitHubSource
) -> None:
    serve(stub, BASE, row("a", b"1"), truncated=True)
    serve_blobs(stub, b"1")
    assert not (await source.reader(CHANGE).tree(at="base")).complete
    assert REST in (await source.snapshot(CHANGE, at="base")).left_out


@pytest.mark.parametrize(
    "listing",
    [
        [],
        {"tree": None, "truncated": False},
        {"tree": [{"path": "a"}], "truncated": False},
        {"tree": [row("a", sha="not an id")], "truncated": False},
    ],
)
async def test_a_tree_that_is_none_is_refused(
    stub: GitHubStub, source: GitHubSource, listing: Any
) -> None:
    stub.on("GET", f"/repos/octo/shop/git/trees/{HEAD}", Reply(listing))
    with pytest.raises(BadAnswer):
        await source.reader(CHANGE).tree()


async def test_a_commit_that_is_gone_is_not_found(stub: GitHubStub, source: GitHubSource) -> None:
    with pytest.raises(NotFound):
        await source.snapshot(CHANGE)
    assert stub.calls("GET", f"/repos/octo/shop/git/trees/{HEAD}")


async def test_texts_come_forty_to_a_query_and_everything_else_by_itself(
    stub: GitHubStub, source: GitHubSource
) -> None:
    texts = [f"text {n}\n".encode() for n in range(45)]
    image, latin = bytes(range(256)), "déjà".encode("latin-1")
    rows = [row(f"t/{n}.txt", text) for n, text in enumerate(texts)]
    serve(stub, HEAD, *rows, row("logo.png", image), row("latin.txt", latin, mode="100755"))
    serve_blobs(stub, *texts, binary=(image, latin))
    got = await source.snapshot(CHANGE)
    assert got.files == {
        **{f"t/{n}.txt": text for n, text in enumerate(texts)},
        "logo.png": image,
        "latin.txt": latin,
    }
    assert got.executables == {"latin.txt"}
    assert len(stub.operations("Blobs")) == 2
    assert len([seen for seen in stub.seen if "/git/blobs/" in seen.path]) == 2


async def test_a_text_that_github_changed_is_fetched_byte_for_byte(
    stub: GitHubStub, source: GitHubSource
) -> None:
    content = b"\xef\xbb\xbfwith a mark\r\n"
    serve(stub, HEAD, row("a.txt", content))
    serve_blobs(stub, binary=(content,))
    stub.on_graphql("Blobs", graphql_data({"repository": {"b0": {"text": "with a mark\n"}}}))
    assert (await source.snapshot(CHANGE)).files == {"a.txt": content}


@pytest.mark.parametrize(
    "answer",
    [
        {"content": base64.b64encode(b"another").decode(), "encoding": "base64"},
        {"content": "ab", "encoding": "utf-8"},
        {"content": "=a=b", "encoding": "base64"},
        {"size": 3},
    ],
)
async def test_a_blob_that_is_not_the_one_asked_for_is_refused(
    stub: GitHubStub, source: GitHubSource, answer: Any
) -> None:
    content = b"\0\1"
    serve(stub, HEAD, row("a.bin", content))
    serve_blobs(stub)
    stub.on("GET", f"/repos/octo/shop/git/blobs/{oid(content)}", Reply(answer))
    with pytest.raises(BadAnswer):
        await source.snapshot(CHANGE)


async def test_the_other_side_costs_only_what_differs(
    stub: GitHubStub, source: GitHubSource
) -> None:
    same, old, new = b"same\n", b"old\n", b"new\n"
    serve(stub, HEAD, row("same.txt", same), row("a.txt", new))
    serve(stub, BASE, row("same.txt", same), row("a.txt", old))
    serve_blobs(stub, same, old, new)
    assert (await source.snapshot(CHANGE)).files["a.txt"] == new
    assert (await source.snapshot(CHANGE, at="base")).files == {"same.txt": same, "a.txt": old}
    second = stub.operations("Blobs")[1].json["variables"]
    assert [value for name, value in second.items() if name.startswith("o0")] == [oid(old)]
    assert "o1" not in second
    await source.snapshot(CHANGE)
    assert len(stub.operations("Blobs")) == 2


async def test_another_tenant_never_gets_a_blob_from_the_cache(
    stub: GitHubStub, source: GitHubSource
) -> None:
    secret = b"secret\n"
    serve(stub, HEAD, row("a", secret))
    serve_blobs(stub, secret)
    await source.snapshot(CHANGE)
    stub.on_graphql("Blobs", graphql_data({"repository": {"b0": None}}))
    other = Repository(installation_id=9, id=101, owner="octo", name="shop")
    with pytest.raises(NotFound):
        await source.snapshot(CHANGE.model_copy(update={"repository": other}))


def test_the_cache_forgets_what_was_not_used_for_longest() -> None:
    cache = BlobCache(most=10)
    cache.put("t", "a", b"12345")
    cache.put("t", "b", b"12345")
    assert cache.get("t", "a") == b"12345"
    cache.put("t", "c", b"123")
    assert cache.get("t", "b") is None
    assert cache.get("t", "a") == b"12345"
    cache.put("t", "huge", b"x" * 11)
    assert cache.get("t", "huge") is None
    cache.put("t", "d", b"1")
    cache.put("t", "d", b"1")
    assert cache.get("t", "d") == b"1"


class Held:
    """A client whose calls wait until a test lets them go on, and that counts those that wait."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self._contents = contents
        self._arrived = asyncio.Event()
        self.waiting: list[asyncio.Future[None]] = []
        self.most = self.calls = self.cancelled = 0

    async def _hold(self) -> None:
        gate = asyncio.get_running_loop().create_future()
        self.waiting.append(gate)
        self._arrived.set()
        self.calls += 1
        self.most = max(self.most, len(self.waiting))
        try:
            await gate
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            if gate in self.waiting:
                self.waiting.remove(gate)

    async def query(self, document: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        await self._hold()
        asked = {k: v for k, v in variables.items() if k[1:].isdigit()}
        texts = {f"b{k[1:]}": {"text": self._contents[v].decode()} for k, v in asked.items()}
        return {"repository": texts}

    async def getitem(self, url: str) -> dict[str, Any]:
        await self._hold()
        content = self._contents[url.rpartition("/")[2]]
        return {"content": base64.b64encode(content).decode(), "encoding": "base64"}

    async def all_wait(self, count: int) -> None:
        while len(self.waiting) < count:
            self._arrived.clear()
            await self._arrived.wait()


def fetching(contents: list[bytes]) -> tuple[Held, asyncio.Task[dict[str, bytes]]]:
    """The fetching of these files, each too large to be asked for together with another."""
    client = Held({oid(content): content for content in contents})
    entries = tuple(
        TreeEntry(path=f"{n}.txt", mode="100644", sha=oid(content), size=490_000)
        for n, content in enumerate(contents)
    )

    async def fetch() -> dict[str, bytes]:
        way = cast("GitHubClient", client)
        got = await snapshot(way, REPOSITORY, HEAD, Tree(entries=entries), BlobCache())
        return dict(got.files)

    return client, asyncio.create_task(fetch())


LARGE = [b"%d" % n for n in range(80)]


async def test_a_few_queries_are_under_way_at_a_time_and_their_order_does_not_matter() -> None:
    client, task = fetching(LARGE)
    for answered in range(10):
        await client.all_wait(min(AT_ONCE, 10 - answered))
        client.waiting.pop().set_result(None)
    assert await task == {f"{n}.txt": content for n, content in enumerate(LARGE)}
    assert (client.calls, client.most) == (10, AT_ONCE)


async def test_the_first_failure_ends_the_others_and_is_raised_as_itself() -> None:
    client, task = fetching(LARGE)
    await client.all_wait(AT_ONCE)
    client.waiting[1].set_exception(NotFound("The repository is gone."))
    with pytest.raises(NotFound, match="is gone"):
        await task
    assert (client.calls, client.cancelled) == (AT_ONCE, AT_ONCE - 1)


async def test_whoever_stops_waiting_leaves_no_query_behind() -> None:
    client, task = fetching(LARGE)
    await client.all_wait(AT_ONCE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (client.calls, client.waiting, client.cancelled) == (AT_ONCE, [], AT_ONCE)
