"""Pull requests and their files."""

from typing import Literal

from bot.simulator import events
from bot.simulator.api.repos import diff_answer, wants_diff
from bot.simulator.branches import bring_head
from bot.simulator.diff import between
from bot.simulator.errors import invalid, validation_failed
from bot.simulator.merging import Method, Wish, merge
from bot.simulator.protocol import Answer, Body, Call, Operation
from bot.simulator.state import Account, Issue, PullRequest, Renaming, Repository
from bot.simulator.views import pulls, repositories
from bot.simulator.world import World

MAX_FILES = 3000
"""Files that the list of a pull request's files ever shows."""


class NewPull(Body):
    """A new pull request."""

    head: str
    base: str
    title: str
    body: str | None = None
    draft: bool = False


class PullChange(Body):
    """What to change about one."""

    title: str | None = None
    body: str | None = None
    state: Literal["open", "closed"] | None = None
    base: str | None = None


class Merge(Body):
    """How to merge one."""

    commit_title: str | None = None
    commit_message: str | None = None
    sha: str | None = None
    merge_method: Method = "merge"


def _custom(message: str) -> dict[str, str]:
    return {"resource": "PullRequest", "code": "custom", "message": message}


async def open_pull(
    world: World, repo: Repository, source: Repository, new: NewPull, author: Account
) -> PullRequest:
    """Open a pull request; raises Refused with GitHub's 422 for branches that do not allow it."""
    base = (await repo.git.refs("refs/heads/")).get(f"refs/heads/{new.base}")
    head = (await source.git.refs("refs/heads/")).get(f"refs/heads/{new.head}")
    if not base:
        raise validation_failed("PullRequest", "base")
    if not head:
        raise validation_failed("PullRequest", "head")
    label = f"{source.owner.login}:{new.head}"
    for other in repo.pulls:
        same = other.head is source and (other.head_ref, other.base_ref) == (new.head, new.base)
        if same and other.issue.state == "open":
            raise invalid(
                "Validation Failed", _custom(f"A pull request already exists for {label}.")
            )
    if head == base or (source is repo and await repo.git.is_ancestor(head, base)):
        words = f"No commits between {new.base} and {new.head}"
        raise invalid("Validation Failed", _custom(words))
    repo.last_number += 1
    now = world.now()
    issue = Issue(world.next_id(), repo.last_number, author, new.title, new.body, now, now)
    pull = PullRequest(
        world.next_id(), issue, new.base, base, source, new.head, head, draft=new.draft
    )
    issue.pull = pull
    repo.issues[issue.number] = issue
    await bring_head(repo, pull, head)
    await events.pull_request(world, repo, pull, "opened", author)
    return pull


async def create_pull(call: Call) -> Answer:
    """Open a pull request from a branch of this repository or ``owner:branch`` of a fork."""
    body = call.read(NewPull)
    owner, colon, branch = body.head.rpartition(":")
    source = call.repo
    if colon and owner != call.repo.owner.login:
        forks = call.world.state.repositories.values()
        found = next((r for r in forks if r.fork_of is call.repo and r.owner.login == owner), None)
        if not found:
            raise validation_failed("PullRequest", "head")
        source = found
    new = body.model_copy(update={"head": branch})
    pull = await open_pull(call.world, call.repo, source, new, call.actor)
    return Answer(await pulls.full(call.world, call.repo, pull), status=201)


async def list_pulls(call: Call) -> Answer:
    """Pull requests, newest first."""
    state = call.choice("state", ("open", "closed", "all"), "open")
    head, base = call.query.get("head"), call.query.get("base")
    found = [
        pull
        for pull in call.repo.pulls
        if state in ("all", pull.issue.state)
        and (not base or pull.base_ref == base)
        and (not head or (pull.head and f"{pull.head.owner.login}:{pull.head_ref}" == head))
    ]
    descending = call.choice("direction", ("asc", "desc"), "desc") == "desc"
    found.sort(key=lambda pull: pull.number, reverse=descending)
    return call.page(found, lambda pull: pulls.simple(call.world, call.repo, pull))


async def get_pull(call: Call) -> Answer:
    """One pull request, or its diff by media type."""
    pull, repo = call.pull, call.repo
    if wants_diff(call):
        return await diff_answer(repo, await call.world.diff_base(repo, pull), pull.head_sha)
    return Answer(await pulls.full(call.world, repo, pull))


async def update_pull(call: Call) -> Answer:
    """Change title, body, base or state."""
    body, pull, world = call.read(PullChange), call.pull, call.world
    issue, changed = pull.issue, dict[str, dict[str, str]]()
    if body.title is not None and body.title != issue.title:
        changed["title"] = {"from": issue.title}
        renaming = Renaming(world.next_id(), call.actor, world.now(), issue.title, body.title)
        issue.renamings.append(renaming)
        issue.title = body.title
    if "body" in body.model_fields_set and body.body != issue.body:
        changed["body"] = {"from": issue.body or ""}
        issue.body, issue.edited_at = body.body, world.now()
    if body.base and body.base != pull.base_ref:
        sha = await call.repo.git.resolve(f"refs/heads/{body.base}")
        if not sha:
            raise validation_failed("PullRequest", "base")
        pull.base_ref, pull.base_sha = body.base, sha
    issue.updated_at = world.now()
    if changed:
        await events.pull_request(world, call.repo, pull, "edited", call.actor, changes=changed)
    if body.state and body.state != issue.state:
        await set_state(world, call.repo, pull, body.state, call.actor)
    return Answer(await pulls.full(world, call.repo, pull))


async def merge_pull(call: Call) -> Answer:
    """Merge a pull request."""
    body = call.read(Merge)
    wish = Wish(body.merge_method, body.commit_title, body.commit_message, body.sha)
    sha = await merge(call.world, call.repo, call.pull, call.actor, wish)
    return Answer({"sha": sha, "merged": True, "message": "Pull Request successfully merged"})


async def set_state(
    world: World, repo: Repository, pull: PullRequest, state: Literal["open", "closed"], by: Account
) -> None:
    """Close or reopen; a merged one stays closed."""
    if pull.merged_at:
        raise validation_failed("PullRequest", "state")
    pull.issue.state = state
    pull.issue.closed_at = world.now() if state == "closed" else None
    await events.pull_request(world, repo, pull, "closed" if state == "closed" else "reopened", by)


async def list_files(call: Call) -> Answer:
    """The changed files, each with its patch if it has one that fits."""
    pull, repo = call.pull, call.repo
    files = await between(repo.git, await call.world.diff_base(repo, pull), pull.head_sha)
    return call.page(
        files[:MAX_FILES], lambda file: pulls.diff_entry(call.world, repo, pull.head_sha, file)
    )


async def list_commits(call: Call) -> Answer:
    """The commits, oldest first; GitHub lists 250."""
    pull, repo = call.pull, call.repo
    shas = (await repo.git.log(pull.base_sha, pull.head_sha))[:250]
    window, headers = call.window(len(shas))
    records = [await repo.git.commit(sha) for sha in shas[window]]
    return Answer([repositories.commit(call.world, repo, r) for r in records], headers=headers)


_READ, _WRITE = ("pull_requests=read",), ("pull_requests=write",)
_PULLS = "/repos/{owner}/{repo}/pulls"

OPERATIONS = (
    Operation("GET", _PULLS, list_pulls, _READ),
    Operation("POST", _PULLS, create_pull, _WRITE, creates=True),
    Operation("GET", f"{_PULLS}/{{number}}", get_pull, (*_READ, "contents=read")),
    Operation("PATCH", f"{_PULLS}/{{number}}", update_pull, _WRITE),
    Operation("PUT", f"{_PULLS}/{{number}}/merge", merge_pull, ("contents=write",)),
    Operation("GET", f"{_PULLS}/{{number}}/files", list_files, _READ),
    Operation("GET", f"{_PULLS}/{{number}}/commits", list_commits, _READ),
)
