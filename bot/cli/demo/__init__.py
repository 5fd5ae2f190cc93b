"""``conductor demo``: the main job on this machine, on real input, without key or account."""

from typing import Annotated

import typer


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running to look at.")
    ] = False,
) -> None:
    """Show the whole loop here: a defect goes live, is noticed, mended, proven and verified.

    Everything but the model's words is real, and with a key in the environment these are too. It
    takes about a minute.

    Example: conductor demo --keep
    """
    from bot.cli.demo.performance import perform  # noqa: PLC0415  (keeps other commands fast)

    perform(keep=keep)


def add_to(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command("demo")(demo)
