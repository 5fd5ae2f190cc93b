"""A CI/CD system: pipelines that are started, watched and checked."""

from abc import abstractmethod

from pydantic import AwareDatetime

from pipelines.integrations.target import DeploymentTarget
from pipelines.model import Frozen


class PipelineRun(Frozen):
    """One run of a pipeline."""

    id: str
    phase: str
    """``queued``, ``running``, ``success``, ``failure``, ``cancelled`` or ``unknown``."""
    url: str | None = None
    sha: str | None = None
    created_at: AwareDatetime | None = None


class PipelineProvider(DeploymentTarget):
    """Deploys by starting a pipeline of the repository that does it."""

    @abstractmethod
    async def start(self, pipeline: str, *, ref: str, inputs: dict[str, str]) -> PipelineRun:
        """Start a pipeline; its inputs carry a key by which a repeat finds it."""

    @abstractmethod
    async def run(self, run_id: str) -> PipelineRun:
        """Return a run as it is now."""
