"""An alert as a trigger: the repository that it names, as its installation sees it."""

import hashlib
from collections.abc import Awaitable, Callable

from pipelines.errors import Ignorable
from pipelines.integrations.observability.alerts import Alert
from pipelines.model import Actor, AlertTrigger, Repository

Repositories = Callable[[str], Awaitable[Repository | None]]
"""Returns the repository of a name, None if the App is not installed there."""

ALERTMANAGER = Actor(id=0, login="alertmanager", type="Bot")
"""Nobody's account: an alert has no permission on any repository."""


async def alert_trigger(alert: Alert, repositories: Repositories) -> AlertTrigger:
    """Return the trigger of an alert; raises Ignorable if its repository is not ours to act in."""
    repository = await repositories(alert.repository)
    if repository is None:
        raise Ignorable(f"The App is not installed in {alert.repository}.")
    state = "firing" if alert.firing else "resolved"
    said = f"{repository.tenant}/{alert.fingerprint}/{state}/{alert.at}"
    return AlertTrigger(
        repository=repository,
        actor=ALERTMANAGER,
        delivery_id=f"alert-{hashlib.sha256(said.encode()).hexdigest()[:40]}",
        occurred_at=alert.at,
        fingerprint=alert.fingerprint,
        name=alert.name,
        firing=alert.firing,
        severity=alert.severity,
        environment=alert.environment,
    )
