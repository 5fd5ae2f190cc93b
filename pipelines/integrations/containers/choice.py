"""Which sandbox a change gets: the strongest that works here and is strong enough for it.

Whoever wires the parts together makes one ``SandboxChoice`` with a provider for every name that the
operator has set up, and asks it for each task::

    choice = SandboxChoice(settings.sandbox, {"docker": docker, "bubblewrap": bubblewrap}, clock)
    sandbox = await choice.strongest(change.author_can_write)
    if isinstance(sandbox, SandboxInfo):   # none, with the reason
        ...
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.errors import UserError
from pipelines.integrations.containers.base import (
    ContainerRuntime,
    Sandbox,
    SandboxProvider,
)
from pipelines.model import SandboxInfo
from pipelines.ports import Clock

UNTRUSTED_LEVEL = 2
"""The least that a stranger's code may run in."""
WANTED = ("auto", "kubernetes", "docker", "bubblewrap", "host", "none")
AUTOMATIC = ("kubernetes", "docker", "bubblewrap")
"""``host`` is never chosen without the operator's word."""
_RECHECK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which provider is taken, None for no sandbox; ``info`` says what that is and why."""

    provider: str | None
    info: SandboxInfo


def candidates(wanted: str) -> tuple[str, ...]:
    """Return the providers that a setting allows; UserError if it is none of ``WANTED``."""
    if wanted not in WANTED:
        raise UserError(f"There is no sandbox {wanted!r}; choose one of {', '.join(WANTED)}.")
    if wanted == "none":
        return ()
    return AUTOMATIC if wanted == "auto" else (wanted,)


def decide(wanted: str, found: Mapping[str, SandboxInfo], *, trusted: bool) -> Verdict:
    """Choose among what was found; the strongest first, of equals the first of ``AUTOMATIC``."""
    names = candidates(wanted)
    if not names:
        return _nothing("the operator has switched sandboxes off")
    infos = {name: found.get(name, _absent()) for name in names}
    usable = [name for name in names if infos[name].usable]
    why_not = "; ".join(f"{name}: {infos[name].reason}" for name in names if name not in usable)
    if not usable:
        return _nothing(why_not)
    best = max(usable, key=lambda name: infos[name].level)
    info = infos[best]
    if not trusted and info.level < UNTRUSTED_LEVEL:
        return _nothing(
            f"{info.name} has level {info.level} and this change, by someone who cannot write to "
            f"the repository, needs level {UNTRUSTED_LEVEL} ({why_not or 'nothing else was asked'})"
        )
    reasons = [info.reason, why_not if wanted == "auto" else ""]
    reason = "; ".join(filter(None, reasons))
    return Verdict(best, info.model_copy(update={"reason": reason}))


class SandboxChoice:
    """Looks once what there is, and again a minute after nothing was found to work."""

    def __init__(self, wanted: str, providers: Mapping[str, SandboxProvider], clock: Clock) -> None:
        self._wanted = wanted
        self._names = candidates(wanted)
        self._providers = providers
        self._clock = clock
        self._found: dict[str, SandboxInfo] = {}
        self._looked_at: dict[str, float] = {}
        self._looking = asyncio.Lock()

    async def strongest(self, trusted: bool) -> Sandbox | SandboxInfo:
        """Return the sandbox for a change, or ``none`` with the reason why it gets none.

        ``trusted`` is whether its author may write to the repository and it is no fork's.
        """
        verdict = await self.verdict(trusted=trusted)
        if verdict.provider is None:
            return verdict.info
        return self._providers[verdict.provider].sandbox()

    async def builder(self, trusted: bool) -> ContainerRuntime | SandboxInfo:
        """Return what builds images for a change, or ``none`` with the reason why nothing does."""
        verdict = await self.verdict(trusted=trusted)
        if verdict.provider is None:
            return verdict.info
        provider = self._providers[verdict.provider]
        if isinstance(provider, ContainerRuntime):
            return provider
        reason = f"{verdict.info.name} builds no images"
        return SandboxInfo(name="none", level=0, reason=reason)

    async def verdict(self, *, trusted: bool) -> Verdict:
        """Return what ``strongest`` would give, and why, without giving it."""
        async with self._looking:
            for name in self._names:
                await self._look(name)
        return decide(self._wanted, self._found, trusted=trusted)

    async def _look(self, name: str) -> None:
        provider = self._providers.get(name)
        now = self._clock.monotonic()
        known = self._found.get(name)
        fresh = known and (known.usable or now - self._looked_at[name] < _RECHECK_SECONDS)
        if provider is None or fresh:
            return
        self._found[name] = await provider.available()
        self._looked_at[name] = now


def _absent() -> SandboxInfo:
    return SandboxInfo(name="none", level=0, reason="not set up")


def _nothing(reason: str) -> Verdict:
    return Verdict(None, SandboxInfo(name="none", level=0, reason=reason))
