"""Merging a pull request: what GitHub refuses, the commit it makes, and what follows.

https://docs.github.com/en/rest/pulls/pulls#merge-a-pull-request
"""

import re
from dataclasses import dataclass
from typing import Literal

from bot.simulator import events
from bot.simulator.api.issues import set_state
from bot.simulator.branches import moved, signature
from bot.simulator.errors import Refused
from bot.simulator.git import GitError, Signature
from bot.simulator.state import Account, PullRequest, Repository
from bot.simulator.views.repositories import WEB_FLOW
from bot.simulator.world import World

Method = Literal["merge", "squash"]
_CLOSING = re.compile(r"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):? #(\d+)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wish:
    """How somebody wants a pull request merged; ``sha`` is the head that they looked at."""

    method: Method = "merge"
    title: str | None = None
    message: str | None = None
    sha: str | None = None


async def merge(world: World, repo: Repository, pull: PullRequest, by: Account, wish: Wish) -> str:
    """Merge and announce it; returns the new commit. Raises Refused (405, 409) as GitHub does."""
    if pull.draft or pull.issue.state != "open":
        raise Refused(405, "Pull Request is not mergeable")
    if wish.sha is not None and wish.sha != pull.head_sha:
        raise Refused(409, "Head branch was modified. Review and try the merge again.")
    ref = f"refs/heads/{pull.base_ref}"
    tip = (await repo.git.refs(ref))[ref]
    tree = await _merged(repo, pull, tip)
    parents = [tip] if wish.method == "squash" else [tip, pull.head_sha]
    signed = signature(world, by)
    committer = Signature(*WEB_FLOW, signed.at)
    commit = await repo.git.write_commit(tree, parents, _message(pull, wish), signed, committer)
    await repo.git.move_ref(ref, commit, tip)
    now = world.now()
    pull.merged_at, pull.merged_by, pull.merge_commit = now, by, commit
    pull.issue.state, pull.issue.closed_at, pull.issue.updated_at = "closed", now, now
    await moved(world, repo, ref, tip, commit, by=by)
    await events.pull_request(world, repo, pull, "closed", by)
    await _close_issues(world, repo, pull, by)
    return commit


async def _merged(repo: Repository, pull: PullRequest, tip: str) -> str:
    """The tree of both sides together; 405 if they conflict."""
    try:
        out = await repo.git.text("merge-tree", "--write-tree", tip, pull.head_sha)
    except GitError:
        raise Refused(405, "Pull Request is not mergeable") from None
    return out.splitlines()[0]


def _message(pull: PullRequest, wish: Wish) -> str:
    owner = pull.head.owner.login if pull.head else "unknown repository"
    title, body = f"Merge pull request #{pull.number} from {owner}/{pull.head_ref}", ""
    if wish.method == "squash":
        title = f"{pull.issue.title} (#{pull.number})"
    else:
        body = pull.issue.title
    message = body if wish.message is None else wish.message
    return "\n\n".join(filter(None, (wish.title or title, message)))


async def _close_issues(world: World, repo: Repository, pull: PullRequest, by: Account) -> None:
    """Close what the description says it fixes, if the default branch has it now."""
    if pull.base_ref != repo.default_branch:
        return
    for number in dict.fromkeys(_CLOSING.findall(pull.issue.body or "")):
        issue = repo.issues.get(int(number))
        if issue and not issue.pull and issue.state == "open":
            set_state(world, repo, issue, "closed", by)
