"""What is run for each framework; go, jest, vitest and Maven are not installed here."""

import asyncio
import json
from pathlib import Path

import pytest

from pipelines.agents.testing.detection import detect, wanted
from pipelines.agents.testing.layout import Layout
from pipelines.agents.testing.recipe import Wishes, one_file, runs_everything, whole
from pipelines.model import Conclusion, SandboxJob, SandboxResult
from tests.support.workplace import MemoryWorkplace
from tests.unit.agents.testing.test_reports import GO, JEST
from tests.unit.agents.testing.trusted import lay_out, run_tests


def package(script: str) -> dict[str, str]:
    return {"package.json": json.dumps({"scripts": {"test": script}}), "a.test.js": ""}


PROJECTS: dict[str, dict[str, str]] = {
    "pytest": {"tests/test_a.py": "def test_a(): pass\n"},
    "unittest": {"tests/test_a.py": "import unittest\n"},
    "jest": package("jest"),
    "vitest": {**package("vitest run"), "pnpm-lock.yaml": ""},
    "node": package("node --test"),
    "mocha": package("mocha"),
    "go": {"go.mod": "module a\n", "shop/a_test.go": ""},
    "maven": {"pom.xml": ""},
}


async def layout(name: str) -> Layout:
    tree = await MemoryWorkplace(PROJECTS[name]).tree()
    found = detect(tree, {path: PROJECTS[name][path] for path in wanted(tree)})
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "command", "report"),
    [
        ("pytest", "python3 -m pytest", "conductor-report.xml"),
        ("unittest", "python3 -m unittest discover -v -s tests", None),
        (
            "jest",
            "npm test -- --ci --json --outputFile=conductor-report.json",
            "conductor-report.json",
        ),
        (
            "vitest",
            "pnpm test --reporter=default --reporter=junit --outputFile.junit=conductor-report.xml",
            "conductor-report.xml",
        ),
        ("node", "npm test", "conductor-report.xml"),
        ("mocha", "npm test", None),
        ("go", "go test -json ./... >conductor-report.json", "conductor-report.json"),
    ],
)
async def test_each_framework_is_told_to_leave_a_report(
    name: str, command: str, report: str | None
) -> None:
    recipe = whole(await layout(name), Wishes())
    assert recipe is not None
    assert recipe.command.split("\n")[-1] == command
    assert recipe.report_path == report
    assert recipe.command.startswith("rm -rf ./") == (report is not None)


@pytest.mark.parametrize(
    ("name", "run", "command"),
    [
        ("go", "go test -race ./shop", "go test -json -race ./shop >conductor-report.json"),
        ("go", "make test", "make test"),
        ("jest", "npx jest src", "npx jest src"),
        ("unittest", "python3 -m unittest", "python3 -m unittest"),
    ],
)
async def test_a_command_of_the_configuration_is_changed_only_where_that_is_sure(
    name: str, run: str, command: str
) -> None:
    recipe = whole(await layout(name), Wishes(run=run))
    assert recipe is not None
    assert recipe.command.split("\n")[-1] == command
    assert recipe.shown == run


@pytest.mark.parametrize(
    ("name", "run", "path", "command"),
    [
        ("pytest", None, "tests/test_b.py", "python3 -m pytest ./tests/test_b.py"),
        ("pytest", "pytest -q", "tests/a b.py", "pytest -q './tests/a b.py'"),
        ("pytest", "make test", "tests/test_b.py", None),
        ("pytest", "pytest; echo", "tests/test_b.py", None),
        (
            "unittest",
            None,
            "tests/test_b.py",
            "python3 -m unittest discover -v -s ./tests -p test_b.py",
        ),
        ("go", None, "shop/b_test.go", "go test -json ./shop >conductor-report.json"),
        ("node", None, "-x/$(id).test.js", "node --test './-x/$(id).test.js'"),
        ("mocha", None, "a.test.js", None),
    ],
)
async def test_one_file_is_run_by_a_quoted_path_or_not_at_all(
    name: str, run: str | None, path: str, command: str | None
) -> None:
    recipe = one_file(await layout(name), Wishes(run=run), path)
    assert (recipe and recipe.command.split("\n")[-1]) == command


@pytest.mark.parametrize(
    ("run", "everything"),
    [
        (None, True),
        ("pytest -q", True),
        ("python3 -m pytest --strict-markers", True),
        ("pytest tests/unit", False),
        ("pytest -k cart", False),
        ("make test", False),
        ("pytest -q && true", False),
    ],
)
async def test_it_is_known_whether_a_command_would_run_an_added_test(
    run: str | None, everything: bool
) -> None:
    assert runs_everything(await layout("pytest"), Wishes(run=run)) is everything


async def test_reports_of_many_classes_become_one_and_the_exit_code_stays(tmp_path: Path) -> None:
    recipe = whole(await layout("maven"), Wishes(run="sh ./write; exit 3"))
    assert recipe is not None
    suite = "<?xml version='1.0'?>\n<testsuite><testcase name='a'/></testsuite>"
    folder = "target/surefire-reports"
    write = f'mkdir -p {folder}\nfor n in 1 2; do echo "{suite}" > {folder}/$n.xml; done\n'
    lay_out({"write": write}, tmp_path)
    done = await asyncio.create_subprocess_exec("/bin/sh", "-c", recipe.command, cwd=tmp_path)
    assert await done.wait() == 3
    assert (tmp_path / "conductor-report.xml").read_text().count("<testcase") == 2


@pytest.mark.parametrize(
    ("name", "path", "text", "failures"),
    [("go", "conductor-report.json", GO, 3), ("jest", "conductor-report.json", JEST, 2)],
)
async def test_reports_of_frameworks_that_are_not_here_are_judged_like_all_others(
    name: str, path: str, text: str, failures: int
) -> None:
    files = {**PROJECTS[name], "cart_test.go": "\n" * 20, "src/cart.test.js": "x\n" * 9}
    workplace = MemoryWorkplace(files, {})

    def run(job: SandboxJob) -> SandboxResult:
        failed = job.at == "head"
        report = {path: text} if failed else {}
        return SandboxResult(sandbox=workplace.info, exit_code=int(failed), files=report)

    workplace.on_run = run
    result = await run_tests(workplace)
    assert result.conclusion is Conclusion.FAILURE
    assert result.outputs["new_failures"] == failures
