"""What follows when a branch moves: events, pull requests and comments brought up to date."""

from collections.abc import Sequence

from bot.simulator import events
from bot.simulator.diff import FileDiff, LineMap, between, line_maps
from bot.simulator.git import Signature
from bot.simulator.state import Account, PullRequest, Repository, ReviewComment
from bot.simulator.world import World


async def moved(
    world: World, repo: Repository, ref: str, old: str | None, new: str | None, *, by: Account
) -> None:
    """Announce that a ref went from one commit to another and update what depends on it."""
    repo.pushed_at = world.now()
    await events.push(world, repo, ref, old, new, sender=by)
    if new is None or not ref.startswith("refs/heads/"):
        return
    branch = ref.removeprefix("refs/heads/")
    for target in list(world.state.repositories.values()):
        for pull in target.pulls:
            if pull.issue.state != "open":
                continue
            if pull.head is repo and pull.head_ref == branch and pull.head_sha != new:
                await _synchronize(world, target, pull, new, by)
            elif target is repo and pull.base_ref == branch:
                await _rebased(world, target, pull, new)


async def _synchronize(
    world: World, repo: Repository, pull: PullRequest, new: str, by: Account
) -> None:
    before = pull.head_sha
    await bring_head(repo, pull, new)
    await carry_comments(
        world, repo, pull, pull.comments(), old_head=before, old_base_tip=pull.base_sha
    )
    pull.issue.updated_at = world.now()
    await events.pull_request(world, repo, pull, "synchronize", by, before=before, after=new)


async def _rebased(world: World, repo: Repository, pull: PullRequest, new: str) -> None:
    before, pull.base_sha = pull.base_sha, new
    await carry_comments(
        world, repo, pull, pull.comments(), old_head=pull.head_sha, old_base_tip=before
    )


async def bring_head(repo: Repository, pull: PullRequest, sha: str) -> None:
    """Make a commit the pull request's head, fetching it when it lives in a fork."""
    if pull.head and pull.head is not repo:
        source = str(pull.head.git.path)
        await repo.git.run(
            "-c", "protocol.file.allow=always", "fetch", "--quiet", "--no-tags", source, sha
        )
    await repo.git.move_ref(f"refs/pull/{pull.number}/head", sha)
    pull.head_sha = sha
    pull.heads.append(sha)


async def carry_comments(
    world: World,
    repo: Repository,
    pull: PullRequest,
    comments: Sequence[ReviewComment],
    *,
    old_head: str,
    old_base_tip: str,
) -> None:
    """Move comments from the diff they were placed in to the one the pull request has now."""
    placed = [comment for comment in comments if comment.line is not None]
    if not placed:
        return
    old_base = await repo.git.merge_base(old_base_tip, old_head) or old_base_tip
    new_base = await world.diff_base(repo, pull)
    right = await line_maps(repo.git, old_head, pull.head_sha)
    left = await line_maps(repo.git, old_base, new_base)
    files = {file.path: file for file in await between(repo.git, new_base, pull.head_sha)}
    for comment in placed:
        maps = right if comment.side == "RIGHT" else left
        _carry(comment, maps.get(comment.path), files.get(comment.path), pull.head_sha)


def _carry(comment: ReviewComment, way: LineMap | None, file: FileDiff | None, head: str) -> None:
    """Move a comment with its lines; outdated once one of them is not in the diff as it was."""
    assert comment.line is not None
    first = comment.start_line or comment.line
    lines = list(range(first, comment.line + 1))
    kept = [way(line) if way else line for line in lines]
    if way and way.target != comment.path:
        kept = [None]
    last = kept[-1]
    row = file.find(comment.side, last) if file and last is not None else None
    together = all(a is not None and a == (kept[0] or 0) + i for i, a in enumerate(kept))
    if row is None or not together:
        comment.line = comment.start_line = comment.position = None
        return
    comment.line, comment.position, comment.commit = last, row.position, head
    comment.start_line = kept[0] if comment.start_line is not None else None


async def commit_files(
    repo: Repository,
    parent: str | None,
    files: dict[str, bytes | None],
    *,
    message: str,
    author: Signature,
    committer: Signature | None = None,
) -> str:
    """Commit whole files over a parent; None removes one. Modes of existing files are kept."""
    tree = (await repo.git.commit(parent)).tree if parent else None
    modes: dict[str, str] = {}
    if tree:
        modes = {e.path: e.mode for e in await repo.git.tree(tree, recursive=True)}
    changes: list[tuple[str, str, str | None]] = []
    for path, content in files.items():
        sha = None if content is None else await repo.git.write_blob(content)
        changes.append((path, modes.get(path, "100644"), sha))
    new_tree = await repo.git.write_tree(tree, changes)
    parents = [parent] if parent else []
    return await repo.git.write_commit(new_tree, parents, message, author, committer or author)


def signature(world: World, account: Account) -> Signature:
    """How an account signs its commits."""
    return Signature(account.name, account.email, world.now())
