"""The command line: one module a command group, imported only when its command is used."""

import sys
from typing import NoReturn

import typer

from bot import __version__
from pipelines.errors import ConductorError

app = typer.Typer(
    name="conductor",
    help="A self-hosted GitHub App that carries a change from code to production and back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.command()
def version() -> None:
    """Print the version.

    Example: conductor version
    """
    typer.echo(f"conductor {__version__}")


def _register() -> None:
    """Add the commands; each module keeps its heavy imports inside its command."""
    from bot.cli import (  # noqa: PLC0415  (breaks the cycle)
        configuration,
        data,
        dead_letters,
        deliveries,
        demo,
        local,
        runs,
        server,
    )

    configuration.add_to(app)
    local.add_to(app)
    server.add_to(app)
    demo.add_to(app)
    runs.add_to(app)
    data.add_to(app)
    deliveries.add_to(app)
    dead_letters.add_to(app)


def main() -> NoReturn:
    """Run the command line; exit code 2 for wrong use, 1 for a failed job, 130 for Ctrl-C."""
    _register()
    try:
        app()
    except ConductorError as error:
        typer.secho(f"conductor: {error}", err=True, fg="red")
        sys.exit(2)
    sys.exit(0)
