"""What `conductor run` can print: one function a format, all from the same report."""

from collections.abc import Callable

from bot.cli.formats.html import as_html
from bot.cli.formats.json import as_json
from bot.cli.formats.markdown import as_markdown
from bot.cli.formats.sarif import as_sarif
from bot.cli.report import RunReport

FORMATS: dict[str, Callable[[RunReport], str]] = {
    "json": as_json,
    "sarif": as_sarif,
    "markdown": as_markdown,
    "html": as_html,
}
"""The formats that are files; the terminal's own is in ``terminal.py``."""
