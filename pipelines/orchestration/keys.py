"""Where each kind of record is: the only place that knows the layout of keys.

Every part that comes from outside is one segment, escaped by ``stores.backend.key``, and a tenant
is two numbers; so no text can name another tenant's record. The list is in ``docs/storage.md``.
"""

from datetime import UTC, date, datetime

from pipelines.stores.backend import key
from pipelines.stores.tenants import tenant_segments

LIVE = "live/"
RECENT = "recent/"
AGENTS = "agent/"
ENVIRONMENTS = "environment/"

_LAST_MILLISECOND = 10**14 - 1


def run_key(tenant: str, run_id: str) -> str:
    """A run."""
    return key("run", *tenant_segments(tenant), run_id)


def result_key(tenant: str, run_id: str, step: str) -> str:
    """The newest result of a step."""
    return key("result", *tenant_segments(tenant), run_id, step)


def group_key(tenant: str, group: str) -> str:
    """The newest run of a group."""
    return key("group", *tenant_segments(tenant), group)


def concurrency_key(tenant: str, group: str) -> str:
    """Which run of a concurrency group works, and which is next."""
    return key("concurrency", *tenant_segments(tenant), group)


def checks_key(tenant: str, run_id: str) -> str:
    """What users were last shown of a run's steps."""
    return key("checks", *tenant_segments(tenant), run_id)


def effect_key(tenant: str, effect: str) -> str:
    """What became of an effect; ``effect`` is its own key."""
    return key("effect", *tenant_segments(tenant), effect)


def environment_key(tenant: str, name: str) -> str:
    """Who has an environment, and what runs there."""
    return key("environment", *tenant_segments(tenant), name)


def incidents_key(tenant: str) -> str:
    """The monitor's incidents in a repository."""
    return key("incidents", *tenant_segments(tenant))


def live_key(tenant: str, run_id: str) -> str:
    """The mark of a run that is not completed."""
    return LIVE + key(*tenant_segments(tenant), run_id)


def recent_key(created_at: datetime, tenant: str, run_id: str) -> str:
    """A run's line in the list of runs, newest first in key order."""
    age = _LAST_MILLISECOND - int(created_at.timestamp() * 1000)
    return RECENT + key(f"{age:014d}", *tenant_segments(tenant), run_id)


def day_of(moment: datetime) -> date:
    """The day, in UTC, that spending at this moment counts for."""
    return moment.astimezone(UTC).date()


def spending_prefix(day: date) -> str:
    """What begins every spending record of that day."""
    return key("spend", day.isoformat()) + "/"


def spending_count_key(day: date) -> str:
    """The mark whose version says how many spending records of that day were stored."""
    return key("spend-count", day.isoformat())


def spend_moment(moment: datetime) -> str:
    """Where records of that moment begin among all spending records, which are in time order."""
    at = moment.astimezone(UTC)
    return spending_prefix(at.date()) + at.strftime("%H%M%S%f")


def spend_key(moment: datetime, tenant: str, run_id: str, version: int) -> str:
    """What one transition of a run cost."""
    return f"{spend_moment(moment)}/{key(*tenant_segments(tenant), run_id, str(version))}"


def agent_key(worker: str, agent: str) -> str:
    """The lifecycle of one agent in one worker."""
    return AGENTS + key(worker, agent)
