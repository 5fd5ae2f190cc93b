"""GitHub's rate limits: per installation and hour, and the secondary ones by the minute.

Numbers: https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bot.simulator.errors import Refused
from bot.simulator.world import World

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@dataclass
class _Budget:
    reset: datetime
    used: int = 0
    recent: deque[tuple[datetime, int, bool]] = field(
        default_factory=deque[tuple[datetime, int, bool]]
    )


@dataclass
class Limits:
    """Counts the requests of each installation and refuses what is too much."""

    world: World
    hourly: int = 5_000
    points_a_minute: int = 900
    contents_a_minute: int = 80
    _budgets: dict[int, _Budget] = field(default_factory=dict[int, _Budget])

    def _budget(self, installation_id: int) -> _Budget:
        now = self.world.now()
        budget = self._budgets.get(installation_id)
        if budget is None or budget.reset <= now:
            recent = budget.recent if budget else deque[tuple[datetime, int, bool]]()
            budget = self._budgets[installation_id] = _Budget(now + HOUR, recent=recent)
        return budget

    def exhaust(self, installation_id: int) -> datetime:
        """Use up what is left of the hour; returns when it is reset."""
        budget = self._budget(installation_id)
        budget.used = self.hourly
        return budget.reset

    def headers(self, installation_id: int, resource: str = "core") -> dict[str, str]:
        """The ``X-RateLimit-…`` headers of an answer."""
        budget = self._budget(installation_id)
        return {
            "X-RateLimit-Limit": str(self.hourly),
            "X-RateLimit-Remaining": str(max(self.hourly - budget.used, 0)),
            "X-RateLimit-Used": str(min(budget.used, self.hourly)),
            "X-RateLimit-Reset": str(int(budget.reset.timestamp())),
            "X-RateLimit-Resource": resource,
        }

    def give_back(self, installation_id: int) -> None:
        """Take the newest request out of the hour's count."""
        self._budget(installation_id).used -= 1

    def spend(self, installation_id: int, *, write: bool, creates: bool) -> None:
        """Count one request; raises Refused when a limit is reached."""
        budget, now = self._budget(installation_id), self.world.now()
        if budget.used >= self.hourly:
            message = f"API rate limit exceeded for installation ID {installation_id}."
            raise Refused(403, message)
        while budget.recent and budget.recent[0][0] <= now - MINUTE:
            budget.recent.popleft()
        points = sum(cost for _, cost, _ in budget.recent)
        contents = sum(made for _, _, made in budget.recent)
        cost = 5 if write else 1
        too_much = points + cost > self.points_a_minute
        if too_much or (creates and contents >= self.contents_a_minute):
            message = "You have exceeded a secondary rate limit. Please wait a few minutes."
            raise Refused(403, message, headers={"Retry-After": "60"})
        budget.used += 1
        budget.recent.append((now, cost, creates))
