"""Pull requests of one series: the same proposal is not made twice, and a newer one takes over."""

from collections.abc import Sequence
from urllib.parse import quote

from pydantic import Field

from bot.github.wire import Wire, parse, parse_all
from bot.reporting import comments
from bot.reporting.outlet import Outlet
from pipelines.model import DIGEST_IN_BRANCH, OpenPullRequest, PostComment


class _User(Wire):
    id: int


class _Branch(Wire):
    ref: str


class Older(Wire):
    """An open pull request of a series."""

    number: int = Field(ge=1)
    html_url: str = ""
    user: _User | None = None
    head: _Branch


class _Whole(Wire):
    commits: int = 1


async def older_ones(outlet: Outlet, effect: OpenPullRequest) -> Sequence[Older]:
    """Return the open pull requests of our own in the effect's series, the newest first."""
    if not effect.series:
        return ()
    base = quote(effect.base_ref, safe="")
    listed = await outlet.get(f"/pulls?state=open&base={base}&per_page=100")
    bot_id = await outlet.bot_id()
    return tuple(
        pull
        for pull in parse_all(Older, listed, "pull requests")
        if pull.user is not None
        and pull.user.id == bot_id
        and pull.head.ref.startswith(effect.series)
        and pull.head.ref != effect.commit.branch
    )


def same_as(effect: OpenPullRequest, olders: Sequence[Older]) -> Older | None:
    """Return the one that proposes the very same, None if none does."""
    beginning = f"{effect.series}{effect.commit.digest[:DIGEST_IN_BRANCH]}-"
    return next((older for older in olders if older.head.ref.startswith(beginning)), None)


async def supersede(outlet: Outlet, olders: Sequence[Older], number: int) -> str:
    """Close those that the pull request ``number`` takes over from; return what is to be said.

    One with commits that came later, perhaps a person's, stays open.
    """
    kept: list[str] = []
    for older in olders:
        whole = await outlet.get(f"/pulls/{older.number}")
        if parse(_Whole, whole, "a pull request").commits > 1:
            kept.append(f"#{older.number}")
            continue
        words = PostComment(
            number=older.number,
            body=f"Superseded by pull request {number}, which proposes this anew.",
            reason=f"superseded/{number}",
        )
        await comments.post(outlet, words, addressee="", pull_request=True, repeated=True)
        await outlet.patch(f"/pulls/{older.number}", {"state": "closed"})
    return f"Others have worked on {', '.join(kept)}, so it stays open." if kept else ""
