"""The exact command for a sandbox: it makes the framework leave reports where they are found."""

import re
import shlex
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Literal

from pipelines.agents.testing.layout import Layout

ReportKind = Literal["junit", "jest", "go", "unittest", "none"]
_REPORT = "conductor-report"
_COVERAGE = "conductor-coverage.xml"
_ONE_CALL = re.compile(r"[\w@./=:,+* '\"-]+")
_SURE = {
    "pytest": re.compile(r"^(?:pytest|py\.test|python[\d.]*\s+-m\s+pytest)\b"),
    "unittest": re.compile(r"^python[\d.]*\s+-m\s+unittest\b"),
    "go": re.compile(r"^go\s+test\b"),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """A command and what it leaves behind; ``shown`` is the part that people know it by."""

    shown: str
    command: str
    image: str | None
    report: ReportKind = "none"
    report_path: str | None = None
    coverage_path: str | None = None
    environment: dict[str, str] = field(default_factory=dict[str, str])
    expected: bool = False
    """Whether a run without a report is strange, because this framework always leaves one."""

    @property
    def collect(self) -> tuple[str, ...]:
        """The files to bring back."""
        return tuple(path for path in (self.report_path, self.coverage_path) if path)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the configuration says about the command; None leaves it to the layout."""

    run: str | None = None
    image: str | None = None
    junit: str | None = None
    coverage: str | None = None


def whole(layout: Layout | None, wishes: Wishes) -> Recipe | None:
    """Return the command that runs all tests, or None if neither side knows one."""
    if layout is None and wishes.run is None:
        return None
    shown = wishes.run or (layout.command if layout else "")
    bare = Recipe(shown, shown, wishes.image or (layout.image if layout else None))
    recipe = _reporting(bare, layout, own=wishes.run is not None) if layout else bare
    if wishes.junit:
        recipe = replace(recipe, report="junit", report_path=wishes.junit, expected=True)
    if wishes.coverage:
        recipe = replace(recipe, coverage_path=wishes.coverage)
    return _clean_first(recipe)


def runs_everything(layout: Layout, wishes: Wishes) -> bool:
    """Whether a test that is added where the others are would surely be run."""
    if wishes.run is None:
        return True
    call = _SURE.get(layout.framework)
    match = call.match(wishes.run) if call else None
    if match is None or _ONE_CALL.fullmatch(wishes.run) is None:
        return False
    words = wishes.run[match.end() :].split()
    return all(word.startswith("-") and word not in ("-k", "-m") for word in words)


def one_file(layout: Layout, wishes: Wishes, path: str) -> Recipe | None:
    """Return the command that runs one test file, or None if only all tests can be run."""
    if wishes.run is not None and not _is_one_call(layout, wishes.run):
        return None
    command = _single(layout, wishes.run, path)
    if command is None:
        return None
    bare = Recipe(command, command, wishes.image or layout.image)
    return _clean_first(_reporting(bare, replace(layout, forwards=True), own=False))


def _single(layout: Layout, run: str | None, path: str) -> str | None:
    """Return the framework's own call for one file; a package for go, which knows no less."""
    quoted = shlex.quote(f"./{path}")
    folder = shlex.quote(f"./{PurePosixPath(path).parent}")
    name = shlex.quote(PurePosixPath(path).name)
    top = " -t ." if " -t ." in layout.command else ""
    commands: dict[str, str] = {
        "pytest": f"{run or layout.command} {quoted}",
        "unittest": f"python3 -m unittest discover -v -s {folder} -p {name}{top}",
        "jest": f"npx --no-install jest {quoted}",
        "vitest": f"npx --no-install vitest run {quoted}",
        "node": f"node --test {quoted}",
        "go": f"go test {folder}",
    }
    return commands.get(layout.framework)


def _is_one_call(layout: Layout, run: str) -> bool:
    """Whether the command is a single call of the framework, so that a path can be put after it."""
    call = _SURE.get(layout.framework)
    return bool(call and call.match(run) and _ONE_CALL.fullmatch(run))


def _reporting(recipe: Recipe, layout: Layout, *, own: bool) -> Recipe:
    """Add what makes the framework write a report; ``own`` commands are changed as little."""
    through = {"pytest": _pytest, "node": _node, "maven": _merged, "gradle": _merged}
    called = {"unittest": _unittest, "go": _go, "jest": _flagged, "vitest": _flagged}
    if add := through.get(layout.framework):
        return add(recipe, layout)
    if own and not _is_one_call(layout, recipe.command):
        return recipe
    add = called.get(layout.framework)
    return add(recipe, layout) if add and layout.forwards else recipe


def _unittest(recipe: Recipe, layout: Layout) -> Recipe:
    return replace(recipe, report="unittest", expected=True)


def _pytest(recipe: Recipe, layout: Layout) -> Recipe:
    """By the environment, because that reaches pytest through make and scripts as well."""
    path = f"{_REPORT}.xml"
    options = f"-o junit_family=xunit1 --junitxml={path} -p no:cacheprovider"
    command, coverage = recipe.command, None
    if "pytest-cov" in layout.declared:
        coverage = _COVERAGE
        flags = f"--cov=. --cov-report=xml:{coverage}"
        command = (
            "if python3 -c 'import pytest_cov' 2>/dev/null; then "
            f'export PYTEST_ADDOPTS="$PYTEST_ADDOPTS {flags}"; fi\n{command}'
        )
    return replace(
        recipe,
        command=command,
        report="junit",
        report_path=path,
        coverage_path=coverage,
        environment={"PYTEST_ADDOPTS": options, "PYTHONDONTWRITEBYTECODE": "1"},
        expected=True,
    )


def _node(recipe: Recipe, layout: Layout) -> Recipe:
    path = f"{_REPORT}.xml"
    flags = (
        "--test-reporter=spec --test-reporter-destination=stdout "
        f"--test-reporter=junit --test-reporter-destination={path}"
    )
    return replace(
        recipe,
        report="junit",
        report_path=path,
        environment={"NODE_OPTIONS": flags, "CI": "1"},
        expected=True,
    )


def _go(recipe: Recipe, layout: Layout) -> Recipe:
    path = f"{_REPORT}.json"
    command = re.sub(r"^go\s+test\b", "go test -json", recipe.command)
    return replace(
        recipe, command=f"{command} >{path}", report="go", report_path=path, expected=True
    )


def _flagged(recipe: Recipe, layout: Layout) -> Recipe:
    jest = layout.framework == "jest"
    path = f"{_REPORT}.{'json' if jest else 'xml'}"
    flags = f"--ci --json --outputFile={path}"
    if not jest:
        flags = f"--reporter=default --reporter=junit --outputFile.junit={path}"
    # npm alone keeps flags for itself unless they stand behind two dashes.
    dashes = " --" if recipe.command.startswith("npm ") else ""
    return replace(
        recipe,
        command=f"{recipe.command}{dashes} {flags}",
        report="jest" if jest else "junit",
        report_path=path,
        environment={"CI": "1"},
        expected=True,
    )


def _merged(recipe: Recipe, layout: Layout) -> Recipe:
    """Surefire and Gradle write a report a class; one document of them all is brought back."""
    maven = layout.framework == "maven"
    folder = "target/surefire-reports" if maven else "build/test-results/test"
    path = f"{_REPORT}.xml"
    merge = (
        f"{{ echo '<testsuites>'; for f in {folder}/*.xml; do [ -f \"$f\" ] && "
        f"sed 's/^<?xml[^>]*>//' \"$f\"; done; echo '</testsuites>'; }} >{path}"
    )
    return replace(
        recipe,
        command=f"rm -rf {folder}\n(\n{recipe.command}\n)\ncode=$?\n{merge}\nexit $code",
        report="junit",
        report_path=path,
        expected=True,
    )


def _clean_first(recipe: Recipe) -> Recipe:
    """Have files of these names removed first: a report that was committed says nothing."""
    if not recipe.collect:
        return recipe
    names = " ".join(shlex.quote(f"./{path}") for path in recipe.collect)
    return replace(recipe, command=f"rm -rf {names}\n{recipe.command}")
