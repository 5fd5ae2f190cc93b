"""The App's webhook, for a command that needs nothing else of GitHub."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from bot import __version__
from bot.github.gateway import GitHub
from bot.github.hook_deliveries import HookDeliveries
from bot.github.transport import http_client
from bot.settings import ConductorConfig
from pipelines.errors import UserError
from pipelines.system import SystemClock


@asynccontextmanager
async def hook_deliveries(settings: ConductorConfig) -> AsyncGenerator[HookDeliveries]:
    """Open the way to the App's deliveries; UserError if no App is configured."""
    key = settings.private_key()
    if settings.github_app_id is None or key is None:
        raise UserError("Set GITHUB_APP_ID and GITHUB_PRIVATE_KEY or GITHUB_PRIVATE_KEY_PATH.")
    async with http_client() as http:
        github = GitHub(
            http,
            app_id=str(settings.github_app_id),
            private_key=key.get_secret_value(),
            api_url=str(settings.github_api_url),
            clock=SystemClock(),
            version=__version__,
            register_secret=_never_minted,
        )
        yield HookDeliveries(github.app)


def _never_minted(token: str) -> None:
    raise AssertionError("The App's own requests need no installation token.")
