"""``conductor run``: the pull-request workflow on the current branch, without GitHub."""

from pathlib import Path
from typing import Annotated

import typer

FORMATS = ("terminal", "json", "sarif", "markdown", "html")


def run(
    base: Annotated[
        str | None, typer.Option(help="Compare with this branch or commit; found if left out.")
    ] = None,
    output_format: Annotated[
        str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")
    ] = "terminal",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file instead.")
    ] = None,
    folder: Annotated[
        Path, typer.Option("--repository", "-C", help="A folder of the repository.")
    ] = Path(),
) -> None:
    """Run the pull-request workflow on the current branch against its merge base.

    Needs git and a model (ANTHROPIC_API_KEY, OPENAI_API_KEY or CONDUCTOR_MODELS), nothing of
    GitHub. Exit code 1 if a finding blocks.

    Example: conductor run --format sarif --output conductor.sarif
    """
    if output_format not in FORMATS:
        raise typer.BadParameter(f"{output_format!r} is not one of {', '.join(FORMATS)}.")
    from bot.cli.local_run import LocalRun  # noqa: PLC0415  (keeps the other commands fast)

    LocalRun(folder, base=base, output_format=output_format, output=output).perform()


def add_to(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command("run")(run)
