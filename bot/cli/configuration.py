"""``conductor check-config`` and ``conductor schema``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from pipelines.checkout import CONFIG_NAMES
from pipelines.errors import UserError


def check_config(
    file: Annotated[
        Path | None, typer.Argument(help="The file; found by its usual names if left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a .conductor.yml; each mistake is named with its line.

    Example: conductor check-config .conductor.yml
    """
    from pipelines.config.loader import load  # noqa: PLC0415  (keeps the other commands fast)

    path = file or _found()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{str(path)!r} cannot be read: {error.strerror}.") from error
    loaded = load(content, str(path))
    if as_json:
        found = [diagnostic.model_dump(mode="json") for diagnostic in loaded.diagnostics]
        typer.echo(json.dumps({"valid": not found, "diagnostics": found}, indent=2))
    else:
        for diagnostic in loaded.diagnostics:
            typer.echo(str(diagnostic))
        if not loaded.diagnostics:
            typer.echo(f"{path}: no mistakes found")
    raise typer.Exit(1 if loaded.diagnostics else 0)


def schema() -> None:
    """Print the JSON Schema of .conductor.yml, for editors and other checkers.

    Example: conductor schema > conductor.schema.json
    """
    from pipelines.config.loader import json_schema  # noqa: PLC0415  (keeps the others fast)

    typer.echo(json.dumps(json_schema(), indent=2))


def _found() -> Path:
    for name in CONFIG_NAMES:
        if Path(name).is_file():
            return Path(name)
    raise UserError(f"There is no {', '.join(CONFIG_NAMES)} here; name the file to check.")


def add_to(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command("check-config")(check_config)
    app.command("schema")(schema)
