"""What a channel's HTTP status means for whoever sent to it."""

import math

from pipelines.errors import Retryable, UserError

_LATER = (408, 425, 429)
_MAX_WAIT_SECONDS = 900.0


def judge(channel: str, status: int, retry_after: str, said: str = "") -> None:
    """Return if the channel took it; ``said`` is its own short word, never its address.

    Raises Retryable if it may take it later, UserError if it refuses.
    """
    if 200 <= status < 300:
        return
    if status in _LATER or status >= 500:
        raise Retryable(
            f"{channel} cannot take notifications now (HTTP {status}).",
            retry_after=_seconds(retry_after),
            dependency=channel.lower(),
        )
    why = f": {said}" if said else ""
    raise UserError(f"{channel} refused a notification (HTTP {status}{why}); check its address.")


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return min(seconds, _MAX_WAIT_SECONDS) if math.isfinite(seconds) and seconds >= 0 else None
