"""Work in a sandbox: what is run there and what comes back, all of it a claim of what ran."""

from typing import Literal

from pydantic import Field

from pipelines.model.base import Frozen
from pipelines.model.commit import FileEdit


class SandboxInfo(Frozen):
    """Which isolation is there; ``level`` as in the security guide, 0 is none."""

    name: str
    """``kubernetes``, ``docker+runsc``, ``docker``, ``bubblewrap``, ``host`` or ``none``."""
    level: int = Field(ge=0, le=4)
    reason: str = ""
    """Why there is none, or none that is stronger."""

    @property
    def usable(self) -> bool:
        """Whether anything can be run."""
        return self.name != "none"


class SandboxJob(Frozen):
    """One command over the repository's files, without network, inside fixed limits.

    ``at`` names whose files; ``edits`` are laid over them. ``command`` is given to ``/bin/sh -c``
    inside the sandbox. ``collect`` are paths of regular files to bring back, relative to the root.
    """

    at: Literal["head", "base"] = "head"
    edits: tuple[FileEdit, ...] = Field(default=(), max_length=400)
    command: str = Field(min_length=1, max_length=8192)
    image: str | None = None
    environment: dict[str, str] = Field(default_factory=dict, max_length=64)
    collect: tuple[str, ...] = Field(default=(), max_length=20)
    timeout_seconds: float = Field(default=900.0, gt=0, le=3600)
    memory_bytes: int = Field(default=1024**3, ge=16 * 1024**2, le=16 * 1024**3)
    processes: int = Field(default=256, ge=1, le=4096)


class BuildResult(Frozen):
    """How the build of an image ended; the image itself is not kept."""

    ok: bool
    image: str | None = None
    """Its id."""
    output: str = ""
    """What the builder said, head and tail, as text."""
    reason: str = ""
    """Why nothing was built, as half a sentence; empty if the build began."""


class SandboxResult(Frozen):
    """How the command ended; output is its head and tail, with what was left out said between."""

    sandbox: SandboxInfo
    exit_code: int | None
    """None if it was killed by a limit; ``limit`` says which."""
    limit: Literal["", "time", "memory", "output", "disk"] = ""
    output: str = ""
    """Standard output and error in the order they came, as text."""
    files: dict[str, str] = Field(default_factory=dict)
    """Collected files that were there, regular, of UTF-8 and at most 10 MiB."""
    refused: dict[str, str] = Field(default_factory=dict)
    """Files that were asked for and not taken, with the reason."""
    seconds: float = 0.0
    image: str | None = None
    """Image with digest, where the sandbox has images."""
