"""``conductor dead-letters list|show|requeue``: work that was given up."""

from typing import Annotated

import typer

dead_letters = typer.Typer(
    name="dead-letters",
    help="Look at work that was given up, and have it tried again.",
    no_args_is_help=True,
)

MessageId = Annotated[str, typer.Argument(help="The message's id, as `list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dead_letters.command("list")
def list_letters(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 100,
    after: Annotated[str, typer.Option(help="Only ids above this one, for the next page.")] = "",
    as_json: AsJson = False,
) -> None:
    """List what was given up, with the reasons; works beside a running server.

    Example: conductor dead-letters list --limit 20
    """
    from bot.cli import dead_letters_desk  # noqa: PLC0415  (keeps the other commands fast)

    typer.echo(dead_letters_desk.listing(limit, after, as_json=as_json))


@dead_letters.command("show")
def show(message: MessageId, as_json: AsJson = False) -> None:
    """Show one message that was given up; works beside a running server.

    Example: conductor dead-letters show delivery/72d3162e-cc78-11e3-81ab-4c9367dc0958
    """
    from bot.cli import dead_letters_desk  # noqa: PLC0415  (keeps the other commands fast)

    typer.echo(dead_letters_desk.details(message, as_json=as_json))


@dead_letters.command("requeue")
def requeue(message: MessageId, as_json: AsJson = False) -> None:
    """Put a message back into its queue, as if it had never failed.

    On SQLite no server may run meanwhile; it begins when one starts.

    Example: conductor dead-letters requeue delivery/72d3162e-cc78-11e3-81ab-4c9367dc0958
    """
    from bot.cli import dead_letters_desk  # noqa: PLC0415  (keeps the other commands fast)

    typer.echo(dead_letters_desk.requeued(message, as_json=as_json))


def add_to(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.add_typer(dead_letters)
