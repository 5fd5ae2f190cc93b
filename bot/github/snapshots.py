"""The files of a commit as bytes: texts by the batch, the rest one by one, none twice."""

import asyncio
import base64
import binascii
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from bot.github.answer import as_object
from bot.github.client import GitHubClient
from bot.github.documents import MAX_BLOBS, blobs
from bot.github.errors import BadAnswer
from bot.github.wire import Wire, parse
from pipelines.model import Repository
from pipelines.ports import Snapshot, Tree, TreeEntry
from pipelines.snapshots import is_blob, select

T = TypeVar("T")

AT_ONCE = 4
"""Questions under way for one snapshot: a fifth of what the throttle lets through."""
CACHED_BYTES = 128 * 1000 * 1000
MAX_TEXT_BYTES = 500 * 1000
"""GraphQL cuts longer texts."""
MAX_BATCH_BYTES = 4 * 1000 * 1000
"""Of the files that one query asks for."""


class BlobCache:
    """Blobs by tenant and id, the least recently used forgotten first.

    An id is found again only by the tenant that fetched it: whoever knows the id of another's file
    has not thereby the right to read it.
    """

    def __init__(self, most: int = CACHED_BYTES) -> None:
        self._most = most
        self._size = 0
        self._blobs: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def get(self, tenant: str, oid: str) -> bytes | None:
        """Return the blob's content, or None if it is not here."""
        content = self._blobs.get((tenant, oid))
        if content is not None:
            self._blobs.move_to_end((tenant, oid))
        return content

    def put(self, tenant: str, oid: str, content: bytes) -> None:
        """Keep a blob, if need be instead of others."""
        self._size += len(content) - len(self._blobs.pop((tenant, oid), b""))
        self._blobs[tenant, oid] = content
        while self._size > self._most:
            _, forgotten = self._blobs.popitem(last=False)
            self._size -= len(forgotten)


class _Blob(Wire):
    content: str
    encoding: str


async def snapshot(
    client: GitHubClient, repository: Repository, sha: str, tree: Tree, cache: BlobCache
) -> Snapshot:
    """Return the files of a commit; each is checked against its git id, however it came."""
    selection = select(tree)
    fetching = _Fetching(client, repository, cache)
    contents = await fetching.all(selection.wanted)
    return Snapshot(
        sha=sha,
        files={entry.path: contents[entry.sha] for entry in selection.wanted},
        executables=selection.executables,
        left_out=selection.left_out,
    )


class _Fetching:
    """Gets what the cache does not have."""

    def __init__(self, client: GitHubClient, repository: Repository, cache: BlobCache) -> None:
        self._client = client
        self._repository = repository
        self._cache = cache
        self._found: dict[str, bytes] = {}

    async def all(self, wanted: Sequence[TreeEntry]) -> dict[str, bytes]:
        """Return the content of every blob by its id."""
        missing: dict[str, int] = {}
        for entry in wanted:
            known = self._cache.get(self._repository.tenant, entry.sha)
            if known is None:
                missing[entry.sha] = entry.size
            else:
                self._found[entry.sha] = known
        await _each(self._texts, _batches(missing))
        await _each(self._blob, [oid for oid in missing if oid not in self._found])
        return self._found

    def _keep(self, oid: str, content: bytes) -> None:
        self._found[oid] = content
        self._cache.put(self._repository.tenant, oid, content)

    async def _texts(self, oids: Sequence[str]) -> None:
        """Ask for texts; one that is not the file byte for byte (other encodings) is left."""
        variables: dict[str, Any] = {
            "owner": self._repository.owner,
            "name": self._repository.name,
            **{f"o{index}": oid for index, oid in enumerate(oids)},
        }
        data = await self._client.query(blobs(len(oids)), variables)
        found = as_object(data.get("repository"))
        for index, oid in enumerate(oids):
            text = as_object(found.get(f"b{index}")).get("text")
            content = text.encode("utf-8", "replace") if isinstance(text, str) else None
            if content is not None and is_blob(content, oid):
                self._keep(oid, content)

    async def _blob(self, oid: str) -> None:
        url = f"/repos/{self._repository.full_name}/git/blobs/{oid}"
        blob = parse(_Blob, await self._client.getitem(url), "a blob")
        try:
            content = base64.b64decode(blob.content)
        except binascii.Error:
            content = b""
        if blob.encoding != "base64" or not is_blob(content, oid):
            raise BadAnswer(f"GitHub's answer about blob {oid} is not that blob.")
        self._keep(oid, content)


async def _each(work: Callable[[T], Awaitable[None]], items: Iterable[T]) -> None:
    """Do the work for each item, a few at a time; the first failure stops the rest."""
    left = iter(items)

    async def take() -> None:
        for item in left:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(take())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


def _batches(missing: dict[str, int]) -> list[list[str]]:
    """Return the ids that may be texts, forty and four megabytes to a batch."""
    batches, size = [list[str]()], 0
    for oid, length in missing.items():
        if length > MAX_TEXT_BYTES:
            continue
        if len(batches[-1]) == MAX_BLOBS or size + length > MAX_BATCH_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(oid)
        size += length
    return [batch for batch in batches if batch]
