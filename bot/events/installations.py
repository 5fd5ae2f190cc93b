"""Where the App is installed, and on what: the deliveries that change it."""

from typing import Literal, get_args

from bot.events.decoding import JsonDict
from bot.events.filters import AppIdentity, Ignored
from bot.events.payloads import InstallationEvent, NamedRepository
from pipelines.model import Frozen, Repository

InstallationAction = Literal[
    "created",
    "deleted",
    "suspend",
    "unsuspend",
    "new_permissions_accepted",
    "added",
    "removed",
]
EVENTS: dict[str, frozenset[str]] = {
    "installation": frozenset(get_args(InstallationAction)) - {"added", "removed"},
    "installation_repositories": frozenset({"added", "removed"}),
}


class InstallationChanged(Frozen):
    """An installation came, went or changed; whatever is cached or kept for it must follow.

    ``added`` and ``removed`` are repository ids of an installation on selected repositories.
    """

    installation_id: int
    action: InstallationAction
    added: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()
    repositories: tuple[Repository, ...] = ()
    """Those that the App may see from now on, as far as the event names them."""


def installation_changed(payload: JsonDict, identity: AppIdentity) -> InstallationChanged | Ignored:
    """Return what changed; raises pydantic's ValidationError if a field is missing or odd."""
    event = InstallationEvent.model_validate(payload)
    if event.installation.app_id != identity.app_id:
        return Ignored(reason="The installation is another App's.")
    return InstallationChanged.model_validate(
        {
            "installation_id": event.installation.id,
            "action": payload.get("action"),
            "added": tuple(repository.id for repository in event.repositories_added),
            "removed": tuple(repository.id for repository in event.repositories_removed),
            "repositories": _seen(event, payload.get("action")),
        }
    )


def _seen(event: InstallationEvent, action: object) -> tuple[Repository, ...]:
    if action not in ("created", "unsuspend", "added"):
        return ()
    named = (each.repository(event.installation.id) for each in _listed(event))
    return tuple(repository for repository in named if repository is not None)


def _listed(event: InstallationEvent) -> list[NamedRepository]:
    return [*event.repositories, *event.repositories_added]
