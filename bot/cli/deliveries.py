"""``conductor deliveries list|redeliver``: what came from GitHub, and what became of it."""

from typing import Annotated

import typer

from bot.deliveries.delivery import DeliveryStatus

deliveries = typer.Typer(
    name="deliveries",
    help="Look at what came from GitHub and what became of it; have it sent again.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@deliveries.command("list")
def list_deliveries(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 20,
    status: Annotated[
        DeliveryStatus | None, typer.Option(help="Only those that came to this.")
    ] = None,
    event: Annotated[str, typer.Option(help="Only this event, for example push.")] = "",
    as_json: AsJson = False,
) -> None:
    """List the newest deliveries of the last seven days; works beside a running server.

    Example: conductor deliveries list --status dead --limit 5
    """
    from bot.cli import deliveries_desk  # noqa: PLC0415  (keeps the other commands fast)

    typer.echo(deliveries_desk.listing(limit, status, event, as_json=as_json))


@deliveries.command("redeliver")
def redeliver(
    guid: Annotated[str, typer.Argument(help="The delivery's GUID, as GitHub and `list` show it.")],
    as_json: AsJson = False,
) -> None:
    """Have GitHub send a delivery of the last three days again.

    Where GitHub cannot, one that was given up here goes back into the queue; on SQLite that needs
    the server to be stopped.

    Example: conductor deliveries redeliver 72d3162e-cc78-11e3-81ab-4c9367dc0958
    """
    from bot.cli import deliveries_desk  # noqa: PLC0415  (keeps the other commands fast)

    typer.echo(deliveries_desk.redelivered(guid, as_json=as_json))


def add_to(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.add_typer(deliveries)
