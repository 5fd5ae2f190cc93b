"""Where a project keeps its tests, counted over the ones that it has."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

_TEST_FOLDERS = frozenset({"test", "tests", "__tests__", "spec", "specs", "testing"})


@dataclass(frozen=True, slots=True)
class Places:
    """The folder of most tests, whether tests stand beside sources, the folder of fixtures."""

    folder: str
    beside: bool
    fixtures: str


def places_of(tests: Sequence[str], default: str) -> Places:
    """Return where tests are kept; a project without any is given the default folder."""
    if not tests:
        return Places(default, beside=False, fixtures=f"{default}/fixtures")
    folders = [str(PurePosixPath(path).parent) for path in tests]
    inside = [folder for folder in folders if not _TEST_FOLDERS.isdisjoint(folder.split("/"))]
    if 2 * len(inside) < len(folders):
        at_root = set(folders) == {"."}
        return Places("", beside=not at_root, fixtures=f"{default}/fixtures")
    (folder, _), *_ = Counter(inside).most_common(1)
    top = _test_root(folder)
    return Places(folder, beside=False, fixtures=f"{top}/fixtures")


def _test_root(folder: str) -> str:
    """Return the path down to the first segment that is named after tests."""
    parts = folder.split("/")
    first = next(index for index, part in enumerate(parts) if part in _TEST_FOLDERS)
    return "/".join(parts[: first + 1])
