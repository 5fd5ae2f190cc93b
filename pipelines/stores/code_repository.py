"""Code Repository: every file that an agent wrote, its versions and how each differs."""

from collections.abc import Sequence

from pydantic import AwareDatetime, Field

from pipelines.model import CodeVersion, Frozen
from pipelines.ports import Write
from pipelines.stores.backend import StorageBackend
from pipelines.stores.shelf import DAY, Keep, Page, Shelf, redacted
from pipelines.stores.tenants import Origin

CODE_KEPT = Keep(seconds=180 * DAY, count=2_000)


class StoredVersion(Frozen):
    """One version of one file; ``redacted`` counts the secrets that were taken out of it."""

    origin: Origin
    version: CodeVersion
    redacted: int = Field(default=0, ge=0)
    schema_version: int = 1


class VersionMark(Frozen):
    """Says under a path where one of its versions is."""

    segments: tuple[str, ...]
    at: AwareDatetime
    schema_version: int = 1


class CodeRepository:
    """Versions by the run that wrote them, with an index by path."""

    def __init__(self, backend: StorageBackend, keep: Keep = CODE_KEPT) -> None:
        self._versions = Shelf(backend, "code", StoredVersion, keep, lambda v: v.origin.at)
        self._paths = Shelf(backend, "code-path", VersionMark, keep, lambda mark: mark.at)

    @property
    def shelves(self) -> tuple[Shelf[StoredVersion], Shelf[VersionMark]]:
        """The kinds of record that this store has."""
        return self._versions, self._paths

    def writes(self, origin: Origin, versions: Sequence[CodeVersion]) -> list[Write]:
        """Return what stores these versions; a repeat of the same attempt stores nothing twice."""
        writes: list[Write] = []
        for path, version in {version.path: version for version in versions}.items():
            clean, count = redacted(version)
            segments = (*origin.segments, path)
            stored = StoredVersion(origin=origin, version=clean, redacted=count)
            mark = VersionMark(segments=segments, at=origin.at)
            writes += [
                self._versions.write(origin.tenant, segments, stored),
                self._paths.write(origin.tenant, (path, *origin.segments), mark),
            ]
        return writes

    async def of_run(
        self, tenant: str, run_id: str, *, after: str = "", limit: int = 100
    ) -> Page[StoredVersion]:
        """Return what a run wrote, by step, attempt and path."""
        return await self._versions.page(tenant, run_id, after=after, limit=limit)

    async def of_path(
        self, tenant: str, path: str, *, after: str = "", limit: int = 100
    ) -> Page[StoredVersion]:
        """Return the versions of one file, oldest first."""
        marks = await self._paths.page(tenant, path, after=after, limit=limit)
        found = [await self._versions.get(tenant, *mark.segments) for mark in marks.items]
        return Page([version for version in found if version is not None], marks.after)
