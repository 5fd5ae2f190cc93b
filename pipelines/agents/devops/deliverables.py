"""What can be asked for, under which paths it may be written, and which of it is there."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipelines import globs
from pipelines.config.steps import Deliverable

_FOLDERS = ("k8s", "kubernetes", "manifests", "deploy/k8s", "deploy/kubernetes")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of deliverable."""

    title: str
    usual: tuple[str, ...]
    """Where it is written if it is not there yet."""
    patterns: tuple[str, ...]

    def has(self, path: str) -> bool:
        """Whether a path belongs to it."""
        return globs.any_match(globs.compile_all(self.patterns), path)


KINDS: Mapping[Deliverable, Kind] = {
    "dockerfile": Kind(
        "Dockerfile",
        ("Dockerfile", ".dockerignore"),
        ("Dockerfile", "*.Dockerfile", "Dockerfile.*", "docker/Dockerfile*", ".dockerignore"),
    ),
    "compose": Kind(
        "Compose file",
        ("compose.yaml",),
        ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"),
    ),
    "github-actions": Kind(
        "GitHub workflow",
        (".github/workflows/ci.yml",),
        (".github/workflows/*.yml", ".github/workflows/*.yaml"),
    ),
    "gitlab-ci": Kind("GitLab pipeline", (".gitlab-ci.yml",), (".gitlab-ci.yml",)),
    "kubernetes": Kind(
        "Kubernetes manifests",
        ("k8s/deployment.yaml",),
        tuple(f"{folder}/{name}" for folder in _FOLDERS for name in ("*.yaml", "*.yml")),
    ),
}


def kind_of(path: str, asked: Iterable[Deliverable]) -> Deliverable | None:
    """Return which of the deliverables asked for a path belongs to."""
    return next((name for name in asked if KINDS[name].has(path)), None)


def is_ignore_file(path: str) -> bool:
    """Whether it says what stays out of an image."""
    return PurePosixPath(path).name == ".dockerignore"


def there(paths: Sequence[str], name: Deliverable) -> tuple[str, ...]:
    """Return the paths of a tree that belong to a deliverable."""
    return tuple(path for path in paths if KINDS[name].has(path))
