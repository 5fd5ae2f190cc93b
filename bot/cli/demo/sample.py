"""The sample service: its files before the change, and what the change makes of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

_ROOT = Path(__file__).parent / "sample"
MODEL_SCRIPT = Path(__file__).parent / "model.json"


def sample_files(part: Literal["base", "defect"]) -> Mapping[str, str]:
    """Return the files of one commit by their paths."""
    root = _ROOT / part
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {
        path.relative_to(root).as_posix(): path.read_text()
        for path in files
        if "__pycache__" not in path.parts
    }
