"""Real projects are run for head and base, and what their reports claim is compared."""

import pytest

from pipelines.model import Conclusion, SandboxJob, SandboxResult, TestReport
from tests.support.workplace import NO_SANDBOX, MemoryWorkplace
from tests.unit.agents.testing.trusted import a_workplace, run_tests

CART = "def total(prices):\n    return sum(prices)\n"
BROKEN = "def total(prices):\n    return sum(prices) + 1\n"
PYTEST = """\
from cart import total


def test_total():
    assert total([1, 2]) == 3


def test_empty():
    assert total([]) == 0
"""
UNITTEST = """\
import unittest

from cart import total


class CartTest(unittest.TestCase):
    def test_total(self):
        self.assertEqual(total([1, 2]), 3)

    @unittest.skip("later")
    def test_later(self):
        pass
"""
NODE = """\
const test = require('node:test');
const assert = require('node:assert');
const { total } = require('../cart.js');
test('adds prices', () => { assert.strictEqual(total([1, 2]), 3); });
"""
PROJECTS = {
    "pytest": ({"cart.py": CART, "test_cart.py": PYTEST}, {"cart.py": BROKEN}),
    "unittest": ({"cart.py": CART, "test_cart.py": UNITTEST}, {"cart.py": BROKEN}),
    "node": (
        {
            "package.json": '{"scripts": {"test": "node --test test/"}}',
            "cart.js": "exports.total = (p) => p.reduce((a, b) => a + b, 0);\n",
            "test/cart.test.js": NODE,
        },
        {"cart.js": "exports.total = (p) => p.reduce((a, b) => a + b, 1);\n"},
    ),
}


@pytest.mark.parametrize("name", list(PROJECTS))
async def test_a_sound_change_is_green_and_the_summary_says_what_ran_where(name: str) -> None:
    base, _ = PROJECTS[name]
    workplace = a_workplace(base, {"README.md": "# Cart\n"})
    result = await run_tests(workplace)
    assert result.conclusion is Conclusion.SUCCESS, result.summary
    assert "bubblewrap, level 1" in result.summary
    assert "a" * 40 in result.summary
    assert "b" * 40 in result.summary
    assert [job.at for job in workplace.jobs] == ["head", "base"]
    reports = [a for a in result.artifacts if isinstance(a, TestReport)]
    assert [report.sha for report in reports] == ["a" * 40, "b" * 40]
    assert all(report.cases for report in reports)


@pytest.mark.parametrize("name", list(PROJECTS))
async def test_a_new_failure_fails_the_check_and_is_put_on_its_line(name: str) -> None:
    base, head = PROJECTS[name]
    workplace = a_workplace(base, head)
    result = await run_tests(workplace)
    assert result.conclusion is Conclusion.FAILURE, result.summary
    assert result.findings
    for finding in result.findings:
        lines = workplace.files["head"][finding.path].split("\n")
        assert finding.quote == lines[finding.line - 1]
        assert finding.quote.strip()
    assert result.effects == ()


async def test_failures_that_base_has_too_are_old_and_do_not_block() -> None:
    workplace = a_workplace({"cart.py": BROKEN, "test_cart.py": PYTEST}, {"README.md": "x"})
    result = await run_tests(workplace)
    assert result.conclusion is Conclusion.NEUTRAL
    assert result.title == "No new failure; 2 tests fail on base, too"
    assert result.findings == ()
    assert result.outputs["old_failures"] == 2


async def test_a_test_that_comes_and_goes_is_flaky_and_not_new() -> None:
    workplace = MemoryWorkplace({"test_a.py": "def test_a(): pass\n"}, {})
    plain = a_workplace({}, {"test_a.py": "def test_a(): pass\n"})
    failing = a_workplace({}, {"test_a.py": "def test_a(): assert 0\n"})
    turns = [plain, failing, plain]

    def run(job: SandboxJob) -> SandboxResult:
        return turns[len(workplace.jobs) % 3].on_run(job)

    workplace.on_run = run
    result = await run_tests(workplace, options={"repeat": 3})
    assert result.conclusion is Conclusion.NEUTRAL
    assert result.title == "1 flaky test"
    assert "Flaky" in result.summary


async def test_without_a_sandbox_nothing_is_run_and_the_reason_is_said() -> None:
    workplace = MemoryWorkplace({"test_a.py": "def test_a(): pass\n"})
    workplace.info = NO_SANDBOX
    result = await run_tests(workplace)
    assert result.conclusion is Conclusion.NEUTRAL
    assert result.title == "no sandbox, tests not run"
    assert "no engine was found" in result.summary
    assert workplace.jobs == []


async def test_a_repository_without_tests_is_told_how_to_name_its_command() -> None:
    result = await run_tests(MemoryWorkplace({"README.md": "# A\n"}))
    assert result.conclusion is Conclusion.NEUTRAL
    assert "`run`" in result.title


async def test_a_command_of_the_configuration_is_believed_by_its_exit_code_and_says_so() -> None:
    workplace = a_workplace({"README.md": "# A\n"}, {"README.md": "# B\n"})
    result = await run_tests(workplace, options={"run": "test -f README.md"})
    assert result.conclusion is Conclusion.SUCCESS
    assert result.title == "The command exited with 0; it leaves no report"
    failed = await run_tests(workplace, options={"run": "grep A README.md"})
    assert failed.conclusion is Conclusion.FAILURE


async def test_the_configured_report_of_an_unknown_runner_is_read() -> None:
    report = "<testsuite><testcase name='one'/><testcase name='two'/></testsuite>"
    workplace = a_workplace({"made.xml": "stale"}, {"a.txt": ""})
    run = f'echo "{report}" > out.xml'
    result = await run_tests(workplace, options={"run": run, "junit": "out.xml"})
    assert result.title == "2 tests, none fails"


async def test_a_runner_that_is_not_there_is_neutral_when_base_has_none_either() -> None:
    workplace = a_workplace({"test_a.py": "def test_a(): pass\n"}, {"a.txt": ""})
    result = await run_tests(workplace, options={"run": "no-such-runner"})
    assert result.conclusion is Conclusion.NEUTRAL
    assert "could not be run" in result.title


async def test_a_limit_that_only_the_change_reaches_fails_it() -> None:
    workplace = a_workplace({"test_a.py": "def test_a(): pass\n"}, {"a.txt": ""})
    good = workplace.on_run

    def run(job: SandboxJob) -> SandboxResult:
        result = good(job)
        if job.at == "base":
            return result
        return result.model_copy(update={"exit_code": None, "limit": "time", "files": {}})

    workplace.on_run = run
    result = await run_tests(workplace)
    assert result.conclusion is Conclusion.FAILURE
    assert result.title == "The command was stopped at its time limit"


async def test_coverage_is_told_when_the_project_measures_it() -> None:
    lcov = "SF:cart.py\\nDA:1,1\\nDA:2,0\\n"
    workplace = a_workplace({"a.txt": ""}, {"b.txt": ""})
    options = {"run": f"printf '{lcov}' > cover.info", "coverage": "cover.info"}
    result = await run_tests(workplace, options=options)
    assert "1 of 2 lines (50%)" in result.summary


async def test_a_change_of_what_decides_how_tests_run_is_named() -> None:
    base, _ = PROJECTS["pytest"]
    result = await run_tests(a_workplace(base, {"conftest.py": "# nothing\n"}))
    assert "`conftest.py`" in result.summary


@pytest.mark.parametrize("options", [{"repeat": 0}, {"run": 3}, {"unknown": 1}])
async def test_options_that_make_no_sense_are_the_users_to_mend(options: dict[str, object]) -> None:
    result = await run_tests(MemoryWorkplace({}), options=options)
    assert result.failure is not None
    assert result.failure.kind == "user"
