"""Several channels as one."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

import structlog

from pipelines.errors import Retryable, UserError
from pipelines.integrations.notifications.base import Notifier
from pipelines.model import Notify

_MAX_REMEMBERED = 1_000
log = structlog.get_logger(__name__)


class Notifiers(Notifier):
    """Tells every channel; one that fails loses nothing for the others.

    If one may take it later the whole is ``Retryable``, and the repeat goes only to those that were
    not told yet. One that refuses is logged; only if nobody was told it is an error.
    """

    name = "all"

    def __init__(self, channels: Sequence[Notifier]) -> None:
        self._channels = tuple(channels)
        self._told: OrderedDict[tuple[str, int], None] = OrderedDict()

    async def send(self, notification: Notify) -> None:
        """Tell all that were not told of this key yet."""
        results = await asyncio.gather(
            *(self._tell(place, notification) for place in range(len(self._channels))),
            return_exceptions=True,
        )
        errors = [error for error in results if error is not None]
        refusals = [error for error in errors if isinstance(error, UserError)]
        for error in errors:
            if not isinstance(error, UserError):
                raise error
        if refusals and len(refusals) == len(self._channels):
            raise refusals[0]

    async def close(self) -> None:
        """Close every channel, whatever one of them says."""
        ends = await asyncio.gather(
            *(channel.close() for channel in self._channels), return_exceptions=True
        )
        for channel, end in zip(self._channels, ends, strict=True):
            if isinstance(end, BaseException):
                log.warning("channel not closed", channel=channel.name, error=type(end).__name__)

    async def _tell(self, place: int, notification: Notify) -> None:
        channel, key = self._channels[place], (notification.key, place)
        if key in self._told:
            return
        try:
            await channel.send(notification)
        except (Retryable, UserError) as error:
            log.warning("notification not sent", channel=channel.name, error=str(error))
            raise
        self._told[key] = None
        while len(self._told) > _MAX_REMEMBERED:
            self._told.popitem(last=False)
