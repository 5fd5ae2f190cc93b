"""What ``conductor data`` does: opens the store and hands over or deletes what is a tenant's."""

import asyncio
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from bot.intake.belongings import delete_everything, everything
from bot.settings import load_settings
from pipelines.errors import NotStored, UserError
from pipelines.stores.backend import StorageBackend
from pipelines.stores.open import open_backend
from pipelines.stores.tenancy import Scope
from pipelines.system import SystemClock


def exported(installation: int, repository: int | None, output: Path | None) -> int:
    """Write the records and return their number; UserError for a file that is there already."""
    scope = Scope(installation, repository)

    async def exporting(target: BinaryIO) -> int:
        count = 0
        store = _open(read_only=True)
        try:
            async for line in everything(store, scope):
                target.write(line)
                count += 1
        finally:
            await store.close()
        return count

    with ExitStack() as opened:
        target = opened.enter_context(_private(output)) if output else sys.stdout.buffer
        return asyncio.run(exporting(target))


def deleted(installation: int, repository: int | None) -> int:
    """Delete the records and return their number."""

    async def deleting() -> int:
        store = _open(read_only=False)
        try:
            return await delete_everything(store, Scope(installation, repository))
        finally:
            await store.close()

    return asyncio.run(deleting())


def _open(*, read_only: bool) -> StorageBackend:
    url = load_settings().conductor_storage_url
    try:
        return open_backend(url, SystemClock(), read_only=read_only)
    except NotStored as error:
        if "in use" in str(error):
            raise UserError(
                "A server is running on this store; stop it first, or remove the App from the "
                "repository on GitHub, which deletes the same."
            ) from error
        raise


def _private(path: Path) -> BinaryIO:
    """Open a new file that only its owner can read."""
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except OSError as error:
        raise UserError(f"{str(path)!r} cannot be written: {error.strerror}.") from error
