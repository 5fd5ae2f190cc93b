"""``conductor serve``: web and worker in one process, durable in one SQLite file."""

import typer


def serve() -> None:
    """Receive webhooks and work on them, in one process.

    Settings are environment variables or lines of a `.env` file; docs/operations.md lists them.

    Example: GITHUB_APP_ID=1 GITHUB_PRIVATE_KEY_PATH=app.pem GITHUB_WEBHOOK_SECRET=… conductor serve
    """
    from bot.cli.serving import serve_forever  # noqa: PLC0415  (keeps the other commands fast)

    serve_forever()


def add_to(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command("serve")(serve)
