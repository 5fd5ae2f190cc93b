"""The coding agent with a real sandbox: the project's tests really run over its edits."""

from collections.abc import AsyncIterator

import pytest

from pipelines.agents.fence import one_line
from pipelines.integrations.containers.base import Sandbox
from pipelines.model import Conclusion, SandboxJob, SandboxResult
from pipelines.ports import Snapshot
from tests.support.models import ScriptedModel, call
from tests.support.sandbox import bubblewrap
from tests.support.workplace import MemoryWorkplace
from tests.unit.agents.coding.material import FIX, FIXED, answer, code, create, edit, opened, task

FILES = {
    "shop/__init__.py": "",
    "shop/stats.py": "def mean(values):\n    return sum(values) / len(values)\n",
    "tests/__init__.py": "",
    "tests/test_stats.py": (
        "import unittest\n\nfrom shop.stats import mean\n\n\n"
        "class Mean(unittest.TestCase):\n"
        "    def test_two(self):\n"
        "        self.assertEqual(mean([1, 3]), 2)\n"
    ),
}
PROOF = (
    FILES["tests/test_stats.py"]
    .replace("test_two", "test_none")
    .replace("mean([1, 3]), 2", "mean([]), 0")
)


class Bench(MemoryWorkplace):
    """Runs jobs in a real sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(FILES)
        self._sandbox = sandbox
        self.info = sandbox.info
        self.results: list[SandboxResult] = []

    async def run(self, job: SandboxJob) -> SandboxResult:
        files = {path: text.encode() for path, text in self.files[job.at].items()}
        result = await self._sandbox.run(job, Snapshot(sha="a" * 40, files=files))
        self.results.append(result)
        return result


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with bubblewrap() as sandbox:
        yield Bench(sandbox)


async def test_a_fix_with_its_test_is_proven_in_the_sandbox(bench: Bench) -> None:
    steps = (create("tests/test_none.py", PROOF), FIX, answer())
    result = await code(ScriptedModel(*steps), task(), bench)
    assert result.conclusion is Conclusion.SUCCESS, result.summary
    assert [run.exit_code for run in bench.results] == [0]
    body = opened(result).body
    assert "Tested: `python3 -m unittest discover" in body
    assert f"({bench.info.name})" in body


async def test_a_wrong_fix_is_told_and_mended(bench: Bench) -> None:
    steps = (
        create("tests/test_none.py", PROOF),
        (call("run_tests"),),
        edit("/ len(values)", "/ (len(values) + 1)"),
        answer(),
        edit("/ (len(values) + 1)", FIXED),
        answer(),
    )
    model = ScriptedModel(*steps)
    result = await code(model, task(), bench)
    assert result.conclusion is Conclusion.SUCCESS, result.summary
    first = model.requests[2].messages[-1].results[0].content
    assert "ZeroDivisionError" in first
    assert "test_two" in one_line(model.requests[4].messages[-1].text, 100_000)
    assert [run.exit_code == 0 for run in bench.results] == [False, True, False, True]
