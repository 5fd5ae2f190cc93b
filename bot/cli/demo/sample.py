"""The sample service: its files before the change, with the defect, and with the fix."""

import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Literal

from bot.cli.demo.processes import program
from pipelines.checkout import Git

_ROOT = Path(__file__).parent / "sample"
MODEL_SCRIPT = Path(__file__).parent / "model.json"


def sample_files(part: Literal["base", "defect", "fix"]) -> Mapping[str, str]:
    """Return the files of one commit by their paths."""
    root = _ROOT / part
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {
        path.relative_to(root).as_posix(): path.read_text()
        for path in files
        if "__pycache__" not in path.parts
    }


async def check_out(repository: Path, commit: str, folder: Path) -> None:
    """Write the files of a commit of a bare repository into an existing folder."""
    await Git(folder).run(
        f"--git-dir={repository}", f"--work-tree={folder}", "checkout", "-qf", commit, "--", "."
    )


def service(folder: Path, log: Path) -> AbstractAsyncContextManager[str]:
    """Run the service from a folder on a free port; yields its address."""
    return program(
        [sys.executable, "-m", "shop", "--port", "0"],
        folder=folder,
        log=log,
        environment={"PYTHONDONTWRITEBYTECODE": "1"},
    )
