"""``conductor runs list|show|cancel|retry|replay``: the runs on record."""

from typing import Annotated

import typer

runs = typer.Typer(
    name="runs",
    help="Look at runs, stop them, start them again, go through them again offline.",
    no_args_is_help=True,
)

RunId = Annotated[str, typer.Argument(help="The run's id, or as much of it as is unique.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@runs.command("list")
def list_runs(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 20,
    repository: Annotated[str, typer.Option(help="Only this one, as OWNER/NAME.")] = "",
    live: Annotated[bool, typer.Option("--live", help="Only runs that are not completed.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the newest runs; works beside a running server.

    Example: conductor runs list --repository acme/shop --limit 5
    """
    from bot.cli import runs_desk  # noqa: PLC0415  (keeps the other commands fast)

    typer.echo(runs_desk.listing(limit, repository, live=live, as_json=as_json))


@runs.command("show")
def show(run: RunId, as_json: AsJson = False) -> None:
    """Show a run, its steps and what they found; works beside a running server.

    Example: conductor runs show 01k9x3 --json
    """
    from bot.cli import runs_desk  # noqa: PLC0415  (keeps the other commands fast)

    typer.echo(runs_desk.details(run, as_json=as_json))


@runs.command("cancel")
def cancel(
    run: RunId,
    reason: Annotated[str, typer.Option(help="Shown in the run's checks.")] = "",
    as_json: AsJson = False,
) -> None:
    """Cancel a live run, while no server runs; what it has already written stays.

    Beside a running server, cancel with the button of a check or with `/conductor cancel`.

    Example: conductor runs cancel 01k9x3 --reason "Deploys are frozen."
    """
    from bot.cli import runs_desk  # noqa: PLC0415  (keeps the other commands fast)

    typer.echo(runs_desk.cancelled(run, reason, as_json=as_json))


@runs.command("retry")
def retry(run: RunId, as_json: AsJson = False) -> None:
    """Start a completed run again on its commit and configuration, while no server runs.

    The new run begins when a server starts. Beside a running server, use the Retry button of a
    check or `/conductor retry`.

    Example: conductor runs retry 01k9x3
    """
    from bot.cli import runs_desk  # noqa: PLC0415  (keeps the other commands fast)

    typer.echo(runs_desk.retried(run, as_json=as_json))


@runs.command("replay")
def replay(
    run: RunId,
    allow_prompt_drift: Annotated[
        bool, typer.Option("--allow-prompt-drift", help="Changed prompts are no failure.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Go through a recorded run again, offline, with the code as it is now.

    Needs no network and no key, and changes nothing. Exit code 1 if anything comes out otherwise.

    Example: conductor runs replay 01k9x3
    """
    from bot.cli import runs_desk  # noqa: PLC0415  (keeps the other commands fast)

    report = runs_desk.replayed(run)
    typer.echo(report.model_dump_json(indent=2) if as_json else runs_desk.replay_text(report))
    raise typer.Exit(0 if report.ok(allow_drift=allow_prompt_drift) else 1)


def add_to(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.add_typer(runs)
