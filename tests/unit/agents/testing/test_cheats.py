"""Changes that forge their own test results are called suspicious and are never plain green."""

import pytest

from pipelines.model import Conclusion, SandboxJob, SandboxResult, TestReport
from tests.unit.agents.testing.trusted import a_workplace, run_tests

TESTS = "from cart import total\n\n\n" + "".join(
    f"def test_{n}():\n    assert total([{n}]) == {n}\n\n\n" for n in range(3)
)
BASE = {"cart.py": "def total(prices):\n    return sum(prices)\n", "test_cart.py": TESTS}
BROKEN = "def total(prices):\n    return sum(prices) + 1\n"
FAKE = (
    "<testsuites><testsuite tests='3'>"
    + "".join(f"<testcase classname='test_cart' name='test_{n}'/>" for n in range(3))
    + "</testsuite></testsuites>"
)
EXIT = "import os\nos._exit(0)\n"
FORGE = f'''\
import os

with open("conductor-report.xml", "w") as report:
    report.write("""{FAKE}""")
os._exit(0)
'''
EXIT_AT_END = """\
import os


def pytest_unconfigure(config):
    os._exit(0)
"""
PATCHED = """\
import pytest


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    outcome.get_result().outcome = "passed"
    outcome.get_result().longrepr = None
"""
DUPLICATED = """\
def pytest_collection_modifyitems(items):
    items[:] = [items[0], items[0], items[0]]
"""

CHEATS = {
    "exits before pytest starts": ({"conftest.py": EXIT}, "the command left no report"),
    "exits when the code is imported": ({"cart.py": EXIT}, "the command left no report"),
    "commits a report and exits": (
        {"conftest.py": EXIT, "conductor-report.xml": FAKE},
        "the command left no report",
    ),
    "writes its own report and exits": ({"conftest.py": FORGE}, "did not print its closing line"),
    "exits with 0 after failures": (
        {"conftest.py": EXIT_AT_END, "cart.py": BROKEN},
        "its report has 3 failures",
    ),
    "removes tests": ({"test_cart.py": TESTS.split("def test_1")[0]}, "2 tests vanished"),
    "deselects tests": (
        {"pytest.ini": "[pytest]\naddopts = --deselect test_cart.py::test_2\n"},
        "1 test vanished",
    ),
    "skips tests": (
        {
            "test_cart.py": TESTS.replace(
                "def test_1", "import pytest\n@pytest.mark.skip\ndef test_1"
            )
        },
        "1 test newly skipped",
    ),
    "marks tests as expected to fail": (
        {
            "cart.py": BROKEN,
            "test_cart.py": TESTS.replace(
                "def test", "import pytest\n@pytest.mark.xfail\ndef test"
            ),
        },
        "3 tests newly skipped",
    ),
    "runs one test again and again": ({"conftest.py": DUPLICATED}, "1 name duplicated"),
    "has an empty report": (
        {"conftest.py": FORGE.replace(FAKE, "<testsuites/>")},
        "0 tests collected",
    ),
    "declares entities in its report": (
        {"conftest.py": FORGE.replace(FAKE, "<!DOCTYPE a [<!ENTITY b 'c'>]><testsuites/>")},
        "declares a document type",
    ),
    "miscounts": (
        {"conftest.py": FORGE.replace("tests='3'", "tests='4'")},
        "own totals are not those of its tests",
    ),
}


@pytest.mark.parametrize("name", list(CHEATS))
async def test_a_forged_result_is_not_green(name: str) -> None:
    head, clause = CHEATS[name]
    result = await run_tests(a_workplace(BASE, head))
    assert result.conclusion in (Conclusion.NEUTRAL, Conclusion.FAILURE), result.summary
    assert clause in result.summary
    assert "Suspicious" in result.summary
    head_report, _ = (a for a in result.artifacts if isinstance(a, TestReport))
    assert head_report.suspicious
    assert result.effects == ()


async def test_a_title_says_suspicious_when_nothing_else_is_worse() -> None:
    result = await run_tests(a_workplace(BASE, {"conftest.py": EXIT}))
    assert result.conclusion is Conclusion.NEUTRAL
    assert result.title.startswith("suspicious: the command exited with 0, but")


@pytest.mark.parametrize("cart", [BROKEN, BASE["cart.py"]])
async def test_outcomes_that_are_patched_are_given_away_by_a_test_that_must_fail(cart: str) -> None:
    result = await run_tests(a_workplace(BASE, {"conftest.py": PATCHED, "cart.py": cart}))
    assert result.conclusion is Conclusion.NEUTRAL
    assert "a test that must fail was added, and the command still exited with 0" in result.summary
    assert "This change edits what decides how tests run: `conftest.py`" in result.summary


async def test_a_strangers_green_run_has_to_tell_a_test_that_must_fail() -> None:
    hide = "import atexit, os, sys\nif 'pytest' in sys.modules:\n    atexit.register(os._exit, 0)\n"
    head = {"cart.py": hide + BASE["cart.py"]}
    result = await run_tests(a_workplace(BASE, head), tainted=True)
    assert result.conclusion is Conclusion.NEUTRAL
    assert "a test that must fail was added" in result.summary
    honest = await run_tests(a_workplace(BASE, {"README.md": "x"}), tainted=True)
    assert honest.conclusion is Conclusion.SUCCESS
    assert "and it was told" in honest.summary


@pytest.mark.parametrize("code", [139, 137, 2, 1])
async def test_a_crash_with_a_report_that_says_all_is_well_fails(code: int) -> None:
    workplace = a_workplace(BASE, {"README.md": "x"})
    plain = workplace.on_run

    def run(job: SandboxJob) -> SandboxResult:
        result = plain(job)
        return result.model_copy(update={"exit_code": code}) if job.at == "head" else result

    workplace.on_run = run
    result = await run_tests(workplace)
    assert result.conclusion is Conclusion.FAILURE
    assert f"exited with {code}" in result.title


async def test_a_report_that_may_not_be_taken_out_of_the_sandbox_is_missing() -> None:
    workplace = a_workplace(BASE, {"README.md": "x"})
    plain = workplace.on_run

    def run(job: SandboxJob) -> SandboxResult:
        refused = {"conductor-report.xml": "it is a symbolic link"}
        return plain(job).model_copy(update={"files": {}, "refused": refused})

    workplace.on_run = run
    result = await run_tests(workplace)
    assert result.conclusion is Conclusion.NEUTRAL
    assert "it is a symbolic link" in result.summary


async def test_a_report_of_any_size_becomes_a_record_of_some_size_with_its_failures_first() -> None:
    cases = "".join(f"<testcase name='{'é' * 400}{n}'/>" for n in range(4_000))
    report = f"<testsuite>{cases}<testcase name='last'><failure/></testcase></testsuite>"
    workplace = a_workplace({"a": ""}, {"b": report})
    result = await run_tests(workplace, options={"run": "cp b out.xml; false", "junit": "out.xml"})
    stored, _ = (a for a in result.artifacts if isinstance(a, TestReport))
    assert stored.cases[0].name == "last"
    assert len(stored.model_dump_json()) < 200_000
    assert "4000 passed, 1 failed" in result.summary


async def test_names_of_tests_cannot_write_markdown() -> None:
    name = "x`](https://evil.example) ![](https://evil.example/a.png)\n# Hello"
    report = f"<testsuite><testcase name='{name}'><failure/></testcase></testsuite>"
    workplace = a_workplace({"a": ""}, {"b": report})
    result = await run_tests(workplace, options={"run": "cp b out.xml; false", "junit": "out.xml"})
    assert result.conclusion is Conclusion.FAILURE
    assert "\n# Hello" not in result.summary
    line = next(row for row in result.summary.splitlines() if "evil" in row)
    assert line.count("`") == 2
    assert line.startswith("- `")
    assert line.endswith("`")
