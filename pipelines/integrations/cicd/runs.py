"""How a release is found again among the runs of a pipeline that deploys: by a label it carries."""

import hashlib
import re
from collections.abc import Iterable
from typing import Literal

from pipelines.integrations.cicd.base import PipelineRun
from pipelines.integrations.target import refuse_older
from pipelines.model import EnvironmentPlan, Frozen, Release, ReleaseState

_LABEL = re.compile(
    r"conductor/(?P<environment>\S{1,100})/(?P<revision>[0-9]{1,12})"
    r"/(?P<sha>[0-9a-f]{40}(?:[0-9a-f]{24})?)/(?P<key>[0-9a-f]{16})(?![0-9a-f])"
)
Phase = Literal["progressing", "ready", "failed", "unknown"]
_PHASES: dict[str, Phase] = {
    "queued": "progressing",
    "running": "progressing",
    "success": "ready",
    "failure": "failed",
    "cancelled": "failed",
}


class Deployed(Frozen):
    """One run that deploys, as its label describes it."""

    environment: str
    revision: int
    sha: str
    key: str
    run: PipelineRun


def label(release: Release) -> str:
    """Return what names the release in one word: environment, revision, commit, digest of key."""
    return (
        f"conductor/{release.environment.name}/{release.revision}/{release.sha}/{_digest(release)}"
    )


def inputs(release: Release) -> dict[str, str]:
    """Return what the pipeline is told; ``key`` is the label that it must show."""
    return {
        "environment": release.environment.name,
        "sha": release.sha,
        "key": label(release),
    }


def found(runs: Iterable[tuple[str, PipelineRun]], plan: EnvironmentPlan) -> list[Deployed]:
    """Return the environment's runs by the texts that show their labels, newest release first."""
    deployed: list[Deployed] = []
    for text, run in runs:
        match = _LABEL.search(text)
        if match and match["environment"] == plan.name:
            deployed.append(
                Deployed.model_validate({**match.groupdict(), "run": run}, strict=False)
            )
    return sorted(deployed, key=lambda one: one.revision, reverse=True)


def begun(deployed: list[Deployed], release: Release) -> bool:
    """Whether the release was started; UserError if a later one was."""
    if any(one.key == _digest(release) for one in deployed):
        return True
    refuse_older(release, deployed[0].revision if deployed else None)
    return False


def state(deployed: list[Deployed], plan: EnvironmentPlan) -> ReleaseState:
    """Return how the newest release stands."""
    if not deployed:
        return ReleaseState(phase="absent")
    newest = deployed[0]
    phase: Phase = _PHASES.get(newest.run.phase, "unknown")
    return ReleaseState(
        phase=phase,
        sha=newest.sha,
        revision=newest.revision,
        message=f"The pipeline ended as {newest.run.phase}." if phase == "failed" else "",
        url=plan.url,
        log_url=newest.run.url,
        ready=1 if phase == "ready" else 0,
        wanted=1,
    )


def started(release: Release, run: PipelineRun) -> ReleaseState:
    """Return the state of a release whose pipeline was started just now."""
    return ReleaseState(
        phase="progressing",
        sha=release.sha,
        revision=release.revision,
        url=release.environment.url,
        log_url=run.url,
        wanted=1,
    )


def _digest(release: Release) -> str:
    return hashlib.sha256(release.key.encode()).hexdigest()[:16]
