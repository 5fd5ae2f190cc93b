"""Who brought a commit into a repository."""

from pipelines.model.base import Frozen
from pipelines.model.trigger import Actor


class BroughtBy(Frozen):
    """A pull request that a commit belongs to; ``merge_sha`` is what its merge made."""

    title: str
    author: Actor
    head_ref: str
    from_fork: bool
    merged: bool
    merge_sha: str | None = None
    paths: tuple[str, ...] = ()


class Contribution(Frozen):
    """A commit, whose account it is under and the pull requests it came by; texts are data."""

    sha: str
    message: str
    author_id: int | None = None
    """The account that the source knows the author as, None if there is none."""
    pulls: tuple[BroughtBy, ...] = ()
