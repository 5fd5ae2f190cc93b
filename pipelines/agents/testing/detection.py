"""Finds out from a tree and a few well-known files how a repository is tested; nothing is run."""

import re
from collections.abc import Callable, Mapping, Sequence

from pipelines import globs
from pipelines.agents.testing import javascript
from pipelines.agents.testing.layout import Layout, is_own
from pipelines.agents.testing.places import Places, places_of
from pipelines.ports import Tree

_PYTHON_FILES = (
    "pyproject.toml", "setup.cfg", "setup.py", "pytest.ini", "tox.ini", ".python-version",
    "requirements.txt", "requirements-dev.txt", "requirements-test.txt", "dev-requirements.txt",
    "test-requirements.txt", "requirements/dev.txt", "requirements/test.txt",
)  # fmt: skip
WELL_KNOWN = (
    *_PYTHON_FILES, "package.json", ".nvmrc", "go.mod", "Cargo.toml", "pom.xml", "build.gradle",
    "build.gradle.kts",
)  # fmt: skip
"""Files at the root that say how a project is tested."""

PYTHON_PATTERNS = ("**/test_*.py", "**/*_test.py")
_MAX_SAMPLES = 5
_MAX_BYTES = 200_000
_REGULAR = ("100644", "100755")
_PYTEST_HELPERS = ("pytest-cov", "pytest-xdist", "pytest-asyncio", "hypothesis")


def wanted(tree: Tree) -> tuple[str, ...]:
    """Return the paths of the tree whose text ``detect`` makes use of, at most 25."""
    sizes = {e.path: e.size for e in tree.entries if e.mode in _REGULAR and e.size <= _MAX_BYTES}
    tests = _matching(sorted(sizes), (*PYTHON_PATTERNS, *javascript.PATTERNS))
    return (*(path for path in WELL_KNOWN if path in sizes), *tests[:_MAX_SAMPLES])


def detect(tree: Tree, texts: Mapping[str, str]) -> Layout | None:
    """Return how the repository is tested, or None if nothing says so.

    ``texts`` has the text of the paths that ``wanted`` named, as far as they could be read.
    """
    found = detect_all(tree, texts)
    return found[0] if found else None


def detect_all(tree: Tree, texts: Mapping[str, str]) -> tuple[Layout, ...]:
    """Return every layout that was found, the one with the most tests first."""
    paths = [e.path for e in tree.entries if e.mode in _REGULAR and is_own(e.path)]
    finders: tuple[Callable[[Sequence[str], Mapping[str, str]], Layout | None], ...] = (
        _python,
        javascript.detect,
        _go,
        _rust,
        _java,
    )
    layouts = [layout for find in finders if (layout := find(paths, texts))]
    counts = {layout.framework: len(_matching(paths, layout.patterns)) for layout in layouts}
    return tuple(sorted(layouts, key=lambda layout: -counts[layout.framework]))


def _python(paths: Sequence[str], texts: Mapping[str, str]) -> Layout | None:
    tests = _matching(paths, PYTHON_PATTERNS)
    manifests = [p for p in _PYTHON_FILES if p in texts]
    if not tests and not any(path.endswith(".py") for path in paths):
        return None
    if not tests and not manifests:
        return None
    places = places_of(tests, "tests")
    uses_pytest = _uses_pytest(paths, texts, tests)
    declared = "\n".join(texts[path] for path in manifests)
    return Layout(
        language="python",
        framework="pytest" if uses_pytest else "unittest",
        command="python3 -m pytest" if uses_pytest else _unittest_command(paths, places),
        image=_python_image(texts),
        patterns=PYTHON_PATTERNS if uses_pytest else PYTHON_PATTERNS[:1],
        folder=places.folder,
        beside=places.beside,
        extension=".py",
        fixtures=places.fixtures,
        declared=frozenset(name for name in _PYTEST_HELPERS if name in declared),
    )


def _uses_pytest(paths: Sequence[str], texts: Mapping[str, str], tests: Sequence[str]) -> bool:
    """Whether anything names pytest; tests that are no TestCases need it, too."""
    if any(path.rsplit("/", 1)[-1] in ("conftest.py", "pytest.ini") for path in paths):
        return True
    if any(re.search(r"\bpytest\b", text) for path, text in texts.items() if _is_python(path)):
        return True
    samples = [texts[path] for path in tests if path in texts]
    return not samples or not all("unittest" in text for text in samples)


def _is_python(path: str) -> bool:
    return path.endswith(".py") or path in _PYTHON_FILES


def _unittest_command(paths: Sequence[str], places: Places) -> str:
    if not places.folder:
        return "python3 -m unittest discover -v"
    top = places.folder.split("/")[0]
    if re.fullmatch(r"[A-Za-z0-9._-]+", top) is None:
        return "python3 -m unittest discover -v"
    inside = " -t ." if f"{top}/__init__.py" in paths else ""
    return f"python3 -m unittest discover -v -s {top}{inside}"


def _python_image(texts: Mapping[str, str]) -> str:
    pinned = re.match(r"\s*(3\.\d{1,2})\b", texts.get(".python-version", ""))
    least = re.search(r"requires-python\s*=\s*[\"'][^\"']*>=\s*(3\.\d{1,2})", _get(texts))
    if pinned:
        return f"python:{pinned[1]}"
    newer = least is not None and int(least[1].split(".")[1]) > 12
    return f"python:{least[1]}" if least and newer else "python:3.12"


def _get(texts: Mapping[str, str]) -> str:
    return texts.get("pyproject.toml", "")


def _go(paths: Sequence[str], texts: Mapping[str, str]) -> Layout | None:
    if "go.mod" not in paths:
        return None
    version = re.search(r"^go (1\.\d{1,3})", texts.get("go.mod", ""), re.MULTILINE)
    return Layout(
        language="go",
        framework="go",
        command="go test ./...",
        image=f"golang:{version[1]}" if version else "golang:1",
        patterns=("**/*_test.go",),
        folder="",
        beside=True,
        extension=".go",
        fixtures="testdata",
    )


def _rust(paths: Sequence[str], texts: Mapping[str, str]) -> Layout | None:
    if "Cargo.toml" not in paths:
        return None
    return Layout(
        language="rust",
        framework="cargo",
        command="cargo test --offline",
        image="rust:1",
        patterns=("tests/**/*.rs", "**/tests/*.rs"),
        folder="tests",
        beside=False,
        extension=".rs",
        fixtures="tests/fixtures",
    )


def _java(paths: Sequence[str], texts: Mapping[str, str]) -> Layout | None:
    maven = "pom.xml" in paths
    if not maven and not {"build.gradle", "build.gradle.kts"}.intersection(paths):
        return None
    wrapper = "sh ./gradlew" if "gradlew" in paths else "gradle"
    return Layout(
        language="java",
        framework="maven" if maven else "gradle",
        command="mvn -B -o test" if maven else f"{wrapper} --offline test",
        image="maven:3-eclipse-temurin-21" if maven else "gradle:8-jdk21",
        patterns=("**/src/test/**/*.java", "src/test/**/*.java"),
        folder="src/test/java",
        beside=False,
        extension=".java",
        fixtures="src/test/resources",
    )


def _matching(paths: Sequence[str], patterns: Sequence[str]) -> list[str]:
    compiled = globs.compile_all(patterns)
    return [path for path in paths if is_own(path) and globs.any_match(compiled, path)]
