"""How a repository tests itself: language, framework, command, and where its tests live."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from pipelines import globs

Language = Literal["python", "javascript", "typescript", "go", "rust", "java"]
Framework = Literal[
    "pytest", "unittest", "jest", "vitest", "node", "npm", "go", "cargo", "maven", "gradle"
]

_SKIPPED = frozenset(
    {
        "node_modules", "vendor", "dist", "build", "target", ".venv", "venv", ".tox", ".nox",
        "site-packages", ".git", "third_party",
    }
)  # fmt: skip
_MAX_STEM = 80


@dataclass(frozen=True, slots=True)
class Layout:
    """What was found out about a repository's tests, from its files alone."""

    language: Language
    framework: Framework
    command: str
    """What a contributor would type at the root, as ``/bin/sh -c`` takes it."""
    image: str
    """A container image that has the language; the project's own packages may still be missing."""
    patterns: tuple[str, ...]
    """Globs of the paths that are tests."""
    folder: str
    """Where most tests live; empty if they stand at the root."""
    beside: bool
    """Whether a test stands in its source's folder."""
    extension: str
    """Of a new test file, e.g. ``.py``, ``.ts``."""
    fixtures: str
    """The folder of fixture files."""
    forwards: bool = True
    """Whether flags that are put after the command reach the framework."""
    declared: frozenset[str] = frozenset()
    """Helpers of the framework that the project names, e.g. ``pytest-cov``, ``jest-junit``."""

    def is_test(self, path: str) -> bool:
        """Whether the framework would take this path for a test."""
        return is_own(path) and globs.any_match(globs.compile_all(self.patterns), path)

    def test_path(self, source: str, mark: str = "") -> str:
        """Return where a new test of that source goes; ``mark`` tells it from one that exists."""
        path = PurePosixPath(source)
        stem = (path.stem.removeprefix("test_") or "module")[:_MAX_STEM]
        if mark:
            stem = f"{stem}_{mark}"
        match self.language:
            case "python":
                name = f"test_{stem}.py"
            case "go":
                name = f"{stem}_test.go"
            case "rust":
                name = f"{stem}.rs"
            case "java":
                name = f"{stem}Test.java"
            case _:
                name = f"{stem}.test{self.extension}"
        folder = str(path.parent) if self.beside else self.folder
        return name if folder in ("", ".") else f"{folder}/{name}"


def is_own(path: str) -> bool:
    """Whether a path belongs to the project itself, not to what it fetched or built."""
    return _SKIPPED.isdisjoint(path.split("/")[:-1])
