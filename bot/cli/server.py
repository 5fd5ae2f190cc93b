"""``conductor serve``, ``conductor web`` and ``conductor worker``: what runs on servers."""

import typer


def serve() -> None:
    """Receive webhooks and work on them, in one process.

    Settings are environment variables or lines of a `.env` file; docs/operations.md lists them.

    Example: GITHUB_APP_ID=1 GITHUB_PRIVATE_KEY_PATH=app.pem GITHUB_WEBHOOK_SECRET=… conductor serve
    """
    from bot.cli import serving  # noqa: PLC0415  (keeps the other commands fast)

    serving.run_forever(serving.serve)


def web() -> None:
    """Receive webhooks and store them for the workers; any number of processes.

    Example: REDIS_URL=redis://localhost:6379/0 conductor web
    """
    from bot.cli import serving  # noqa: PLC0415  (keeps the other commands fast)

    serving.run_forever(serving.receive)


def worker() -> None:
    """Work on what web processes received; any number of processes.

    Example: REDIS_URL=redis://localhost:6379/0 conductor worker
    """
    from bot.cli import serving  # noqa: PLC0415  (keeps the other commands fast)

    serving.run_forever(serving.work)


def add_to(app: typer.Typer) -> None:
    """Add this group's commands."""
    for command in (serve, web, worker):
        app.command(command.__name__)(command)
