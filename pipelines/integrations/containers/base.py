"""Isolated work: run one command over a repository's files and take nothing else from it."""

from abc import ABC, abstractmethod

from pipelines.integrations.target import DeploymentTarget
from pipelines.model import Frozen, SandboxInfo, SandboxJob, SandboxResult
from pipelines.ports import Snapshot


class Build(Frozen):
    """An image to build from files, without network unless ``network``."""

    dockerfile: str
    tag: str
    network: bool = False
    timeout_seconds: float = 600.0
    bases: tuple[str, ...] = ()
    """Images that it begins with; without network each must be there already."""
    keep: bool = True
    """Whether the image stays on the engine."""


class Built(Frozen):
    """How a build ended; ``image`` is the image's id."""

    ok: bool
    image: str | None = None
    output: str = ""


class Sandbox(ABC):
    """Runs untrusted commands inside the limits of the security guide.

    ``run`` raises ``Retryable`` when the runtime fails and ``UserError`` when the job cannot be
    run here; whatever the command itself does is in the result. Cancelling it ends the command.
    """

    @property
    @abstractmethod
    def info(self) -> SandboxInfo:
        """What it is and how strong."""

    @abstractmethod
    async def run(self, job: SandboxJob, snapshot: Snapshot) -> SandboxResult:
        """Lay the job's edits over the snapshot, run the command, bring back what is asked for."""

    @abstractmethod
    async def close(self) -> None:
        """End what still runs and remove what was left."""


class SandboxProvider(ABC):
    """Something that may give a sandbox on this machine."""

    @abstractmethod
    async def available(self) -> SandboxInfo:
        """Look whether it can be used here; ``none`` with the reason if not."""

    @abstractmethod
    def sandbox(self) -> Sandbox:
        """Return the sandbox that it gives; only after ``available`` said so."""


class ContainerRuntime(DeploymentTarget, SandboxProvider):
    """A container engine or cluster: a deployment target that also gives a sandbox and builds."""

    @abstractmethod
    async def build(self, build: Build, snapshot: Snapshot) -> Built:
        """Build an image from a snapshot's files."""
