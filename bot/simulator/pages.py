"""Pages to look at in a browser: repositories, pull requests, checks with buttons, deliveries.

What people write is shown as Markdown with raw HTML off; everything else is escaped. Forms act as a
person that the visitor picks, so they are taken from these pages only.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from bot.simulator.diff import FileDiff, Row, between
from bot.simulator.errors import Refused, not_found
from bot.simulator.people import People
from bot.simulator.state import (
    Account,
    CheckRun,
    Issue,
    PullRequest,
    Reaction,
    Repository,
    Thread,
)
from bot.simulator.views.repositories import verification
from bot.simulator.world import World

_PATHS = re.compile(
    r"/(?P<owner>[\w.-]+)/(?P<repo>[\w.-]+)"
    r"(?:/(?:pull|issues)/(?P<number>\d+)|/commit/(?P<sha>[0-9a-f]{40})|/(?P<list>deployments))?"
)
_FORMS = re.compile(r"/(?P<owner>[\w.-]+)/(?P<repo>[\w.-]+)/-/(?P<verb>\w+)")
_HIDDEN = re.compile(r"<!--.*?-->", re.DOTALL)
_EMOJI = {"+1": "👍", "-1": "👎", "laugh": "😄", "confused": "😕", "heart": "❤️"} | {
    "hooray": "🎉",
    "rocket": "🚀",
    "eyes": "👀",
}
MERGING = ("write", "maintain", "admin")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'"


@dataclass(frozen=True)
class _Said:
    user: str
    at: str
    html: Markup
    anchor: str = ""
    tag: str = ""
    reactions: str = ""


@dataclass(frozen=True)
class _Discussion:
    id: int
    where: str
    outdated: bool
    resolved_by: str
    comments: list[_Said]


@dataclass(frozen=True)
class _Line:
    kind: str
    text: str
    left: int | None
    right: int | None
    threads: list[_Discussion]


class Pages:
    """Renders the world, and acts on it for the person a form names."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._world: World = people.world
        self._markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
        self._templates = Environment(
            loader=PackageLoader("bot.simulator"), autoescape=True, undefined=StrictUndefined
        )

    async def answer(self, request: web.Request) -> web.StreamResponse | None:
        """Answer a request for a page or a form; None if the path is neither."""
        if request.method == "POST" and "/-/" in request.path:
            return await self._act(request)
        if request.method not in ("GET", "HEAD"):
            return None
        if request.path == "/":
            state = self._world.state
            found = sorted(state.repositories.values(), key=lambda repo: repo.full_name)
            return self._page("index.html", repositories=found, apps=state.apps.values())
        if request.path == "/-/deliveries":
            newest = sorted(self._world.state.deliveries.values(), key=lambda one: -one.id)
            return self._page("deliveries.html", deliveries=newest[:200])
        match = _PATHS.fullmatch(request.path)
        repo = self._world.state.repository(match["owner"], match["repo"]) if match else None
        if not match or not repo:
            return None
        return await self._below(repo, match)

    def _page(self, template: str, **values: object) -> web.Response:
        text = self._templates.get_template(template).render(**values)
        headers = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"}
        return web.Response(text=text, content_type="text/html", headers=headers)

    async def _below(self, repo: Repository, match: re.Match[str]) -> web.Response | None:
        if match["sha"]:
            return await self._commit(repo, match["sha"])
        if match["list"]:
            newest = list(reversed(repo.deployments.values()))
            return self._page("deployments.html", repo=repo, deployments=newest, is_web=_is_web)
        return await self._repository(repo, match["number"])

    async def _repository(self, repo: Repository, number: str | None) -> web.Response | None:
        if number is None:
            refs = await repo.git.refs("refs/heads/")
            branches = [(name.removeprefix("refs/heads/"), sha) for name, sha in refs.items()]
            issues = list(reversed(repo.issues.values()))
            return self._page("repository.html", repo=repo, branches=branches, issues=issues)
        issue = repo.issues.get(int(number))
        if not issue:
            return None
        return await self._conversation(repo, issue)

    async def _commit(self, repo: Repository, sha: str) -> web.Response | None:
        if await repo.git.kind(sha) != "commit":
            return None
        record = await repo.git.commit(sha)
        base = record.parents[0] if record.parents else await repo.git.write_tree(None, [])
        return self._page(
            "commit.html",
            repo=repo,
            commit=record,
            verified=verification(self._world, record)["verified"],
            files=await between(repo.git, base, sha),
        )

    async def _conversation(self, repo: Repository, issue: Issue) -> web.Response:
        pull = issue.pull
        files = await self._files(repo, pull) if pull else []
        threads = [self._discussion(thread) for thread in pull.threads] if pull else []
        shown = {t.id for rows in files for line in rows[1] for t in line.threads}
        checks = _newest(repo, pull.head_sha) if pull else []
        return self._page(
            "thread.html",
            repo=repo,
            issue=issue,
            pull=pull,
            people=[a for a in self._world.state.accounts.values() if a.kind == "User"],
            description=self._said(issue.user, issue.created_at, issue.body or ""),
            conversation=self._talk(issue),
            checks=[self._check(run) for run in checks],
            loose=[thread for thread in threads if thread.id not in shown],
            files=[{"diff": diff, "rows": rows} for diff, rows in files],
        )

    def _check(self, run: CheckRun) -> dict[str, object]:
        link = run.details_url if _is_web(run.details_url) else ""
        summary, text = self._html(run.summary or ""), self._html(run.text or "")
        return {"run": run, "link": link, "summary": summary, "text": text}

    def _talk(self, issue: Issue) -> list[_Said]:
        rows: list[tuple[datetime, _Said]] = []
        for one in issue.comments:
            anchor = f"issuecomment-{one.id}"
            said = self._said(one.user, one.created_at, one.body, anchor, one.reactions)
            rows.append((one.created_at, said))
        for one in issue.pull.reviews if issue.pull else ():
            if one.submitted_at and one.body:
                anchor = f"pullrequestreview-{one.id}"
                said = self._said(one.user, one.submitted_at, one.body, anchor)
                rows.append((one.submitted_at, said))
        return [said for _, said in sorted(rows, key=lambda row: row[0])]

    def _said(
        self,
        user: Account,
        at: datetime,
        body: str,
        anchor: str = "",
        reactions: Sequence[Reaction] = (),
    ) -> _Said:
        emoji = " ".join(_EMOJI[one.content] for one in reactions)
        return _Said(user.login, f"{at:%H:%M:%S}", self._html(body), anchor, reactions=emoji)

    def _html(self, body: str) -> Markup:
        rendered = self._markdown.render(_HIDDEN.sub("", body))
        return Markup(rendered)  # noqa: S704  (the renderer escapes; raw HTML is off)

    def _discussion(self, thread: Thread) -> _Discussion:
        first = thread.first
        comments = [
            self._said(c.user, c.created_at, c.body, f"discussion_r{c.id}", c.reactions)
            for c in thread.comments
        ]
        resolver = thread.resolved_by.login if thread.resolved_by else ""
        where = f"{first.path}:{first.line or first.original_line}"
        return _Discussion(thread.id, where, first.line is None, resolver, comments)

    async def _files(
        self, repo: Repository, pull: PullRequest
    ) -> list[tuple[FileDiff, list[_Line]]]:
        base = await self._world.diff_base(repo, pull)
        diffs = await between(repo.git, base, pull.head_sha)
        return [(diff, [self._line(pull, diff, row) for row in diff.rows]) for diff in diffs]

    def _line(self, pull: PullRequest, diff: FileDiff, row: Row) -> _Line:
        threads = [
            self._discussion(thread)
            for thread in pull.threads
            if thread.first.path == diff.path
            and thread.first.line is not None
            and thread.first.line == (row.left if thread.first.side == "LEFT" else row.right)
        ]
        kind = {"+": "add", "-": "del"}.get(row.text[:1], "")
        return _Line(kind, row.text, row.left, row.right, threads)

    # --- forms -----------------------------------------------------------------------------------

    async def _act(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Origin") != self._world.base_url:
            raise Refused(403, "Forms are taken from the simulator's own pages only.")
        form = {name: str(value) for name, value in (await request.post()).items()}
        if request.path == "/-/redeliver":
            delivery = self._world.state.deliveries.get(_number(form, "delivery"))
            if not delivery:
                raise not_found()
            self._people.redeliver(delivery)
            raise web.HTTPSeeOther("/-/deliveries")
        match = _FORMS.fullmatch(request.path)
        repo = self._world.state.repository(match["owner"], match["repo"]) if match else None
        issue = repo.issues.get(_number(form, "number")) if repo else None
        user = self._world.state.account(form.get("user", ""))
        if not match or not repo or not issue or not user or user.kind != "User":
            raise not_found()
        await self._carry_out(match["verb"], repo, issue, user, form)
        kind = "pull" if issue.pull else "issues"
        raise web.HTTPSeeOther(f"/{repo.full_name}/{kind}/{issue.number}")

    async def _carry_out(
        self,
        verb: str,
        repo: Repository,
        issue: Issue,
        user: Account,
        form: Mapping[str, str],
    ) -> None:
        match verb:
            case "comment":
                self._people.comment(repo, issue.number, user, form.get("body", ""))
            case "press" | "rerequest":
                run = repo.checks.get(_number(form, "run"))
                if not run:
                    raise not_found()
                if verb == "rerequest":
                    await self._people.rerequest(repo, run, user)
                else:
                    identifier = form.get("identifier", "")
                    await self._people.press_button(repo, run, identifier, user)
            case "resolve" if issue.pull:
                wanted = _number(form, "thread")
                thread = next((t for t in issue.pull.threads if t.id == wanted), None)
                if not thread:
                    raise not_found()
                resolved = thread.resolved_by is None
                self._people.resolve_thread(repo, issue.pull, thread, user, resolved=resolved)
            case "merge" if issue.pull:
                if repo.role(user) not in MERGING:
                    raise Refused(403, f"{user.login} may not merge here.")
                await self._people.merge(repo, issue.pull, user)
            case _:
                raise not_found()


def _number(form: Mapping[str, str], name: str) -> int:
    value = form.get(name, "")
    if not value.isdecimal():
        raise not_found()
    return int(value)


def _newest(repo: Repository, sha: str) -> list[CheckRun]:
    """The newest run of each name and App on a commit."""
    runs = [run for run in repo.checks.values() if run.head_sha == sha]
    return list({(run.suite.app_id, run.name): run for run in runs}.values())


def _is_web(url: str | None) -> bool:
    return urlsplit(url or "").scheme in ("http", "https")
