"""Requests that GitHub keeps refusing are not sent again and again.

"If your integration ignores validation errors, it may be suspended":
https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api
"""

from collections import OrderedDict
from dataclasses import dataclass

from pipelines.errors import Retryable

MOST_ALIKE = 5
PAUSE_SECONDS = 600.0
_REMEMBERED = 2000
_FINE = frozenset({401, 404, 409})
"""Said in the normal course of things; each has its own handling."""


@dataclass(slots=True)
class _Refusal:
    status: int
    count: int
    at: float


Request = tuple[str, str, str, int]
"""Scope, method, address and a hash of the body: what makes two requests the same."""


class Refusals:
    """Counts identical 4xx answers; from the fifth on, such a request rests for ten minutes."""

    def __init__(self) -> None:
        self._seen: OrderedDict[Request, _Refusal] = OrderedDict()

    def check(self, request: Request, now: float) -> None:
        """Raise Retryable if this request was refused too often; ``now`` is monotonic seconds."""
        known = self._seen.get(request)
        if known is None or known.count < MOST_ALIKE:
            return
        left = known.at + PAUSE_SECONDS - now
        if left > 0:
            raise Retryable(
                f"GitHub answered {known.status} to the same request {known.count} times; it rests "
                f"for {left:.0f} s.",
                retry_after=left,
            )
        del self._seen[request]

    def note(self, request: Request, status: int, now: float) -> None:
        """Count a refusal; any other answer clears what was counted."""
        known = self._seen.pop(request, None)
        if not 400 <= status < 500 or status in _FINE:
            return
        count = known.count + 1 if known is not None and known.status == status else 1
        self._seen[request] = _Refusal(status, count, now)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
