"""The fixed texts of prompts: Markdown files that are versioned with the code."""

from functools import cache
from importlib import resources


@cache
def load(name: str) -> str:
    """Return the prompt of that name, without the extension; FileNotFoundError if none is."""
    return resources.files(__name__).joinpath(f"{name}.md").read_text(encoding="utf-8")
