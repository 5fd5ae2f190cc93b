"""The command line as people use it: a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

MODEL = Path(__file__).parents[2] / "bot/cli/demo/model.json"


def conductor(
    *arguments: str, folder: Path, timeout: float = 60.0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``conductor`` with an environment built from empty."""
    return subprocess.run(
        [sys.executable, "-m", "bot", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
