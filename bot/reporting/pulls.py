"""A commit on a branch of Conductor's own and the pull request that explains it."""

from collections.abc import Sequence
from urllib.parse import quote

from pydantic import Field

from bot.github import markers
from bot.github.errors import Forbidden, Invalid
from bot.github.tokens import OPEN_PULL
from bot.github.wire import Wire, parse, parse_all
from bot.reporting import commits, series
from bot.reporting.messages import pull_title
from bot.reporting.outlet import Outlet
from bot.reporting.render import fit, own_markdown
from bot.reporting.wording import footer
from pipelines.model import OWN_BRANCHES, OpenPullRequest
from pipelines.ports import Receipt

LABEL = "conductor"


class _User(Wire):
    id: int


class _Label(Wire):
    name: str


class _Pull(Wire):
    number: int = Field(ge=1)
    html_url: str = ""
    user: _User | None = None
    labels: tuple[_Label, ...] = ()


async def open_pull(
    outlet: Outlet, effect: OpenPullRequest, *, key: bytes, repeated: bool
) -> Receipt:
    """Commit, open the pull request and label it; each part is found if it is there already."""
    if not effect.commit.branch.startswith(OWN_BRANCHES):
        words = f"Conductor opens pull requests from {OWN_BRANCHES}… branches only."
        return Receipt(key=effect.key, status="denied", message=words)
    way = outlet.with_permissions(OPEN_PULL)
    try:
        olders = await series.older_ones(way, effect)
    except Forbidden as error:
        return Receipt(key=effect.key, status="denied", message=str(error))
    if same := series.same_as(effect, olders):
        words = f"Pull request {same.number} proposes the same already."
        url = same.html_url or None
        return Receipt(key=effect.key, status="found", message=words, url=url, number=same.number)
    pushed = await commits.push(outlet, effect.commit)
    if pushed.sha is None:
        return pushed.model_copy(update={"key": effect.key})
    try:
        pull = await _earlier(way, effect) if repeated or pushed.status == "found" else None
        status = "done" if pull is None else "found"
        pull = pull or await _create(way, effect, key)
        await _label(way, pull)
        said = await series.supersede(way, olders, pull.number)
    except (Forbidden, Invalid) as error:
        return Receipt(key=effect.key, status="denied", message=str(error), sha=pushed.sha)
    return Receipt(
        key=effect.key,
        status=status,
        message=" ".join(part for part in (pushed.message, said) if part),
        url=pull.html_url or None,
        number=pull.number,
        sha=pushed.sha,
    )


async def _earlier(outlet: Outlet, effect: OpenPullRequest) -> _Pull | None:
    """Return the pull request of that branch, also a closed one: it is not asked for again."""
    head = quote(f"{outlet.change.repository.owner}:{effect.commit.branch}", safe="")
    listed = await outlet.get(f"/pulls?state=all&head={head}&per_page=100")
    bot_id = await outlet.bot_id()
    for pull in parse_all(_Pull, listed, "pull requests"):
        if pull.user is not None and pull.user.id == bot_id:
            return pull
    return None


async def _create(outlet: Outlet, effect: OpenPullRequest, key: bytes) -> _Pull:
    wish = {
        "title": pull_title(outlet.redacted(effect.title)),
        "head": effect.commit.branch,
        "base": effect.base_ref,
        "body": _body(outlet, effect, key),
    }
    try:
        return parse(_Pull, await outlet.post("/pulls", wish), "a new pull request")
    except Invalid:
        there = await _earlier(outlet, effect)
        if there is None:
            raise
        return there


async def _label(outlet: Outlet, pull: _Pull) -> None:
    if all(label.name != LABEL for label in pull.labels):
        await outlet.post(f"/issues/{pull.number}/labels", {"labels": [LABEL]})


def _body(outlet: Outlet, effect: OpenPullRequest, key: bytes) -> str:
    marker = markers.provenance_marker(
        key,
        repository_id=outlet.change.repository.id,
        branch=effect.commit.branch,
        provenance=outlet.provenance,
    )
    tail = footer(effect.head_sha, outlet.run_url(), [markers.key(effect.key), marker])
    return fit([*own_markdown(outlet.redacted(effect.body)).split("\n\n"), _facts(effect)], tail)


def made_for(issue: int) -> str:
    """Return the words by which a pull request of our own says which issue it answers."""
    return f"Made for #{issue}"


def _facts(effect: OpenPullRequest) -> str:
    count = len(effect.commit.edits)
    lines: Sequence[str] = [f"{count} file{'' if count == 1 else 's'} changed in one commit."]
    if effect.answers_issue is not None:
        lines = [
            f"{made_for(effect.answers_issue)}, which stays open until the fix is verified.",
            *lines,
        ]
    return " ".join(lines)
