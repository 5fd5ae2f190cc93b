"""Runs a test's own sample projects for real, and the pieces that every test of the agent needs.

Nothing here isolates anything: only projects that are written in this folder may be run with it.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from pipelines.integrations.llm.base import LanguageModel
from pipelines.model import SandboxInfo, SandboxJob, SandboxResult, Task, TaskResult
from tests.support.carrying import carried_out
from tests.support.clock import VirtualClock
from tests.support.models import ScriptedModel
from tests.support.samples import a_change, a_trigger
from tests.support.workplace import MemoryWorkplace

_PLAIN = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""Our own plugins take longer to load than a sample takes to run."""
NO_TESTS = '{"tests": []}'


def lay_out(files: Mapping[str, str], root: Path) -> None:
    for path, text in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


def execute(workplace: MemoryWorkplace, job: SandboxJob) -> SandboxResult:
    """Do what a sandbox does, without being one; the same base is run once in all tests."""
    files = dict(workplace.files[job.at])
    for edit in job.edits:
        files[edit.path] = edit.content or ""
    if job.at == "head":
        return _run(workplace.info, job, files)
    key = f"{sorted(files.items())}{job.model_dump_json(exclude={'timeout_seconds'})}"
    if key not in _BASES:
        _BASES[key] = _run(workplace.info, job, files)
    return _BASES[key]


_BASES: dict[str, SandboxResult] = {}


def _run(info: SandboxInfo, job: SandboxJob, files: Mapping[str, str]) -> SandboxResult:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        lay_out(files, root)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["/bin/sh", "-c", job.command],
            cwd=root,
            env={"PATH": path, "HOME": folder, **_PLAIN, **job.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        found = {name: root / name for name in job.collect if (root / name).is_file()}
        return SandboxResult(
            sandbox=info,
            exit_code=done.returncode,
            output=done.stdout,
            files={name: file.read_text() for name, file in found.items()},
            seconds=0.1,
        )


def a_workplace(base: Mapping[str, str], head: Mapping[str, str]) -> MemoryWorkplace:
    """A workplace whose jobs are really run; ``head`` has what differs from base."""
    workplace = MemoryWorkplace({**base, **head}, base)
    workplace.on_run = lambda job: execute(workplace, job)
    return workplace


def a_task(**changes: Any) -> Task:
    values: dict[str, Any] = {
        "run_id": "run-1",
        "step": "tests",
        "agent": "test",
        "attempt": 1,
        "trigger": a_trigger(),
        "change": a_change(title="Count the cart"),
        "budget_usd": 1.0,
        "deadline": VirtualClock().now() + timedelta(minutes=15),
        **changes,
    }
    return Task.model_validate(values)


async def run_tests(
    workplace: MemoryWorkplace, model: LanguageModel | None = None, **changes: Any
) -> TaskResult:
    """Run one test step from start to stop."""
    task = a_task(**changes)
    return await carried_out(task, workplace, model or ScriptedModel(NO_TESTS))
