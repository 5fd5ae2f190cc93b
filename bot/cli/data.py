"""``conductor data export|delete``: all that is stored of one installation or repository."""

from pathlib import Path
from typing import Annotated

import typer

data = typer.Typer(
    name="data",
    help="Hand over or delete all that is stored of an installation or a repository.",
    no_args_is_help=True,
)

Installation = Annotated[int, typer.Argument(min=0, help="The installation's id.")]
Repository = Annotated[
    int | None, typer.Option(min=0, help="Only this repository of it, by its id.")
]


@data.command("export")
def export(
    installation: Installation,
    repository: Repository = None,
    output: Annotated[
        Path | None, typer.Option(help="A file that is not there yet; else standard output.")
    ] = None,
) -> None:
    """Write every record of an installation or repository as a line of JSON.

    Works beside a running server.

    Example: conductor data export 41230981 --output acme.jsonl
    """
    from bot.cli.data_desk import exported  # noqa: PLC0415  (keeps the other commands fast)

    count = exported(installation, repository, output)
    typer.echo(f"{count} records.", err=True)


@data.command("delete")
def delete(
    installation: Installation,
    repository: Repository = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete every record of an installation or repository, while no server runs.

    Beside a running server, removing the App from the repository on GitHub does the same.

    Example: conductor data delete 41230981 --repository 77 --yes
    """
    from bot.cli.data_desk import deleted  # noqa: PLC0415  (keeps the other commands fast)

    whose = f"installation {installation}"
    whose += f", repository {repository}" if repository is not None else ""
    if not yes:
        typer.confirm(f"Delete all that is stored of {whose}?", abort=True)
    typer.echo(f"Deleted {deleted(installation, repository)} records of {whose}.")


def add_to(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.add_typer(data)
