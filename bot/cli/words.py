"""How the command line shows what it found."""

import json
from collections.abc import Sequence
from datetime import datetime


def to_json(value: object) -> str:
    """Return a value as JSON for people and programs."""
    return json.dumps(value, indent=2)


def in_short(moment: datetime) -> str:
    """Return a moment to the second."""
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")


def as_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows, of which there is at least one, in aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
