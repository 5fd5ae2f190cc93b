"""Which files of a tree hold schemas, and what is in them."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.agents.testdata.schemas.base import MAX_TEXT, Schema, Unreadable
from pipelines.agents.testdata.schemas.documents import read_document
from pipelines.agents.testdata.schemas.python import read_python
from pipelines.agents.testdata.schemas.sql import read_sql
from pipelines.agents.testdata.schemas.typescript import read_typescript
from pipelines.agents.testing.layout import is_own
from pipelines.ports import Tree

MAX_FILES = 60
MAX_SCHEMAS = 100
_DOCUMENT = re.compile(
    r"(?:^|/)(?:[^/]*\.schema\.json|schemas?/[^/]+\.json|(?:openapi|swagger)[^/]*\.(?:json|ya?ml))$",
    re.IGNORECASE,
)
_LIKELY = re.compile(r"model|schema|entit|domain|types|dto|record", re.IGNORECASE)
_CODE = (".py", ".ts")


@dataclass(frozen=True, slots=True)
class Found:
    """The schemas of a repository, and the files that were left out, each with its reason."""

    schemas: tuple[Schema, ...]
    left_out: tuple[tuple[str, str], ...] = ()


def candidates(tree: Tree, changed: Iterable[str]) -> tuple[str, ...]:
    """Return the paths that may hold schemas, at most 60, those of the change first."""
    own = [
        e.path
        for e in tree.entries
        if e.mode in ("100644", "100755") and is_own(e.path) and 0 < e.size <= MAX_TEXT
    ]
    edited = set(changed)
    sure = [path for path in own if _DOCUMENT.search(path) or path.endswith(".sql")]
    code = [
        path
        for path in own
        if path.endswith(_CODE) and (path in edited or _LIKELY.search(path)) and not _is_test(path)
    ]
    wanted = sorted(dict.fromkeys((*sure, *code)), key=lambda path: (path not in edited, path))
    return tuple(wanted[:MAX_FILES])


def read_schemas(texts: Mapping[str, str]) -> Found:
    """Return every schema of the files; the first of a name in a file counts."""
    found: dict[tuple[str, str], Schema] = {}
    left_out: list[tuple[str, str]] = []
    for path, text in texts.items():
        reader = _reader(path)
        if len(text) > MAX_TEXT or reader is None:
            left_out.append((path, "it is too large"))
            continue
        try:
            for schema in reader(path, text):
                found.setdefault((path, schema.name), schema)
        except Unreadable as error:
            left_out.append((path, str(error)))
        except (RecursionError, ValueError):
            left_out.append((path, "it says something that is not understood"))
    return Found(tuple(found.values())[:MAX_SCHEMAS], tuple(left_out))


def _reader(path: str) -> Callable[[str, str], Iterable[Schema]] | None:
    readers: Sequence[tuple[tuple[str, ...], Callable[[str, str], Iterable[Schema]]]] = (
        ((".json", ".yaml", ".yml"), read_document),
        ((".sql",), read_sql),
        ((".py",), read_python),
        ((".ts",), read_typescript),
    )
    return next((reader for suffixes, reader in readers if path.endswith(suffixes)), None)


def _is_test(path: str) -> bool:
    return (
        re.search(r"(?:^|/)(?:tests?|__tests__)/|(?:^|/)test_|[._](?:test|spec)\.", path)
        is not None
    )
