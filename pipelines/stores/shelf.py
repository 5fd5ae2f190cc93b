"""One kind of record of many tenants: keys that begin with the tenant, a form, a time to live."""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from pipelines.model import Frozen
from pipelines.ports import Versioned, Write
from pipelines.redaction import redact
from pipelines.stores.backend import StorageBackend, key
from pipelines.stores.codec import decode, encode
from pipelines.stores.tenants import tenant_segments

M = TypeVar("M", bound=BaseModel)
F = TypeVar("F", bound=Frozen)

DAY = 24 * 3600.0
PAGE = 100

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """Some records in key order; ``after`` asks for the next ones, "" is the end."""

    items: Sequence[M]
    after: str


@dataclass(frozen=True, slots=True)
class Keep:
    """How long a record is kept, in seconds, and how many of its kind a repository may have."""

    seconds: float
    count: int


class Shelf(Generic[M]):
    """The records of one kind; nothing is stored here, ``write`` is for somebody's batch.

    ``at`` tells when a record was made: where there are too many, the oldest go.
    """

    def __init__(
        self,
        backend: StorageBackend,
        name: str,
        form: type[M],
        keep: Keep,
        at: Callable[[M], datetime],
    ) -> None:
        self.name = name
        self.keep = keep
        self._backend = backend
        self._form = form
        self._at = at

    def key(self, tenant: str, *segments: str) -> str:
        """Return where the record with these segments is."""
        return key(self.name, *tenant_segments(tenant), *segments)

    def write(self, tenant: str, segments: Sequence[str], record: M) -> Write:
        """Return what stores the record, over one that is there already."""
        return Write(self.key(tenant, *segments), encode(record), ttl=self.keep.seconds)

    async def get(self, tenant: str, *segments: str) -> M | None:
        """Return the record, or None if there is none that this version can read."""
        place = self.key(tenant, *segments)
        stored = await self._backend.get(place)
        return self._read(place, stored) if stored else None

    async def page(
        self, tenant: str, *segments: str, after: str = "", limit: int = PAGE
    ) -> Page[M]:
        """Return the records whose keys begin with these segments, at most ``limit``."""
        prefix = self.key(tenant, *segments) + "/"
        items: list[M] = []
        async for place, stored in self._backend.scan(
            prefix, after=prefix + after if after else ""
        ):
            record = self._read(place, stored)
            if record is not None:
                items.append(record)
            if len(items) == limit:
                return Page(items, place.removeprefix(prefix))
        return Page(items, "")

    async def all(self, tenant: str, *segments: str, after: str = "") -> AsyncIterator[M]:
        """Yield every record whose key begins with these segments, in key order.

        ``after`` is the rest of a key, which need not be there, above which to begin.
        """
        prefix = self.key(tenant, *segments) + "/"
        async for place, stored in self._backend.scan(
            prefix, after=prefix + after if after else ""
        ):
            record = self._read(place, stored)
            if record is not None:
                yield record

    async def surplus(self) -> Sequence[str]:
        """Return the keys of the records that are more than a repository may have, of each one."""
        counts: Counter[str] = Counter()
        async for place, _ in self._backend.scan(f"{self.name}/"):
            counts["/".join(place.split("/", 3)[1:3])] += 1
        full = [tenant for tenant, count in counts.items() if count > self.keep.count]
        return [place for tenant in full for place in await self._oldest(tenant)]

    async def _oldest(self, tenant: str) -> Sequence[str]:
        ages: list[tuple[float, str]] = []
        async for place, stored in self._backend.scan(self.key(tenant) + "/"):
            record = self._read(place, stored)
            if record is not None:
                ages.append((self._at(record).timestamp(), place))
        ages.sort()
        return [place for _, place in ages[: max(0, len(ages) - self.keep.count)]]

    def _read(self, place: str, stored: Versioned) -> M | None:
        try:
            return decode(self._form, stored.value)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]["msg"]
            _LOG.warning("record %s stays as it is, as it cannot be read here: %s", place, problem)
            return None


def redacted(model: F) -> tuple[F, int]:
    """Return the model with what looks like a secret taken out of every text, and the count."""
    value, count = _clean(model.model_dump(mode="json"))
    return (type(model).model_validate(value), count) if count else (model, 0)


def _clean(value: JsonValue) -> tuple[JsonValue, int]:
    if isinstance(value, str):
        text, count = redact(value)
        return text[: len(value)], count  # no longer than before, so that it fits where it was
    if isinstance(value, list):
        parts = [_clean(part) for part in value]
        return [part for part, _ in parts], sum(count for _, count in parts)
    if isinstance(value, dict):
        named = {name: _clean(part) for name, part in value.items()}
        total = sum(count for _, count in named.values())
        return {name: part for name, (part, _) in named.items()}, total
    return value, 0
