"""The story that the demo tells: a defect goes live, is noticed, mended, proven and verified."""

from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

from bot.cli.demo.city import City, build
from bot.cli.demo.sample import sample_files
from bot.cli.demo.stage import Stage
from bot.settings import ConductorConfig
from bot.simulator.state import Deployment, Issue, PullRequest

STAGES = 10
CUSTOMERS_SEE = "GET /carts/new"


class Story:
    """Tells the story on a stage, with everything it starts below one folder."""

    def __init__(
        self, stage: Stage, folder: Path, settings: ConductorConfig, *, keep: bool = False
    ) -> None:
        self._stage = stage
        self._folder = folder
        self._settings = settings
        self._keep = keep
        self._open = AsyncExitStack()

    async def __aenter__(self) -> "Story":
        await self._open.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._open.aclose()

    async def tell(self) -> None:
        """Run all stages; what is started stays up until the context closes."""
        city = await self._city()
        await self._first_release(city)
        pull = await self._change(city)
        await self._merge(city, pull, "Ada merges it all the same, and it is deployed")
        issue = await self._breach(city)
        fix = await self._mend(city, issue)
        await self._prove(city, fix)
        await self._merge(city, fix, "Ada merges the fix, and it is deployed")
        await self._verify(city, issue)
        await self._summary(city, issue, fix)

    async def _city(self) -> City:
        self._stage.begin("A GitHub on this machine, a service in it, and Conductor")
        city = await build(self._open, self._folder, self._settings)
        self._stage.fact(
            f"{city.pages}, App {city.app.app.slug!r} installed",
            f"{city.conductor}/readyz, durable in {city.folder / 'conductor.db'}",
            f"model: {city.model}",
        )
        return city

    async def _first_release(self, city: City) -> None:
        self._stage.begin("Ada pushes to main, and Conductor deploys to staging")
        text = sample_files("base")["README.md"] + "\nStaging follows `main`.\n"
        sha = await city.simulator.push(
            city.repository, "main", {"README.md": text}, city.ada, message="Say what staging is"
        )
        await self._deployed(city, sha)
        await self._watched(city, sha)

    async def _change(self, city: City) -> PullRequest:
        self._stage.begin("Ada opens a pull request: carts get an average price")
        simulator, repo = city.simulator, city.repository
        await simulator.push(
            repo, "average", sample_files("defect"), city.ada, message="Show the average price"
        )
        pull = await simulator.open_pull_request(
            repo, "average", city.ada, title="Show the average price of a cart"
        )
        self._stage.fact(f"{city.pages}/pull/{pull.number}")
        await self._checked(city, pull)
        for thread in pull.threads:
            comment = thread.comments[0]
            self._stage.fact(f"review of {comment.commit[:7]}: {comment.path}:{comment.line}")
            self._stage.fact(*_shown(comment.body), style="dim")
        return pull

    async def _merge(self, city: City, pull: PullRequest, title: str) -> None:
        self._stage.begin(title)
        sha = await city.simulator.merge(city.repository, pull, city.ada)
        await self._deployed(city, sha)

    async def _breach(self, city: City) -> Issue:
        self._stage.begin("Customers meet the defect, and Conductor notices")
        issue = await self._stage.until("an issue by Conductor", city.own_issue)
        await self._stage.until("its report", lambda: _reported(issue))
        await self._visit(city)
        self._stage.fact(f"{city.pages}/issues/{issue.number}: {issue.title}")
        self._stage.fact(*_shown(issue.body or "")[:12], style="dim")
        return issue

    async def _mend(self, city: City, issue: Issue) -> PullRequest:
        self._stage.begin("The issue starts the coding agent")
        pull = await self._stage.until("a pull request by Conductor", city.own_pull)
        self._stage.fact(f"{city.pages}/pull/{pull.number}: {pull.issue.title}")
        self._stage.fact(*_shown(pull.issue.body or "")[:14], style="dim")
        diff = await city.repository.git.run("diff", pull.base_sha, pull.head_sha)
        self._stage.fact(*_changed_lines(diff.decode()))
        return pull

    async def _prove(self, city: City, pull: PullRequest) -> None:
        self._stage.begin("Conductor holds its own fix to the same rules")
        await self._checked(city, pull)

    async def _verify(self, city: City, issue: Issue) -> None:
        self._stage.begin("Conductor verifies that the signal is back")
        await self._visit(city)
        await self._stage.until("the issue to be closed", lambda: issue.closed_at)
        self._stage.fact(f"{city.pages}/issues/{issue.number} is closed")
        self._stage.fact(*_shown(issue.comments[-1].body)[:8], style="dim")

    # --- what chapters share ---------------------------------------------------------------------

    async def _checked(self, city: City, pull: PullRequest) -> None:
        for step in ("review", "tests"):
            check = await self._stage.until(
                f"the check of {step}", lambda s=step: city.completed(pull.head_sha, s)
            )
            self._stage.fact(f"check {check.name!r}: {check.conclusion}: {check.title}")

    async def _deployed(self, city: City, sha: str) -> None:
        deployment = await self._stage.until("the deployment", lambda: city.deployment(sha))
        self._stage.fact(f"deployment of {sha[:7]}: {_history(deployment)}")
        await self._visit(city)

    async def _watched(self, city: City, sha: str) -> None:
        check = await self._stage.until("the watch", lambda: city.completed(sha, "watch"))
        self._stage.fact(f"check {check.name!r}: {check.conclusion}: {check.title}")

    async def _visit(self, city: City) -> None:
        status, text = await city.customers.ask("/carts/new")
        self._stage.fact(f"{CUSTOMERS_SEE} → {status} {text}")

    def _loop_seconds(self, city: City) -> float:
        """How long customers had to live with the defect, and Conductor needed to be sure."""
        _, defect, _ = city.repository.deployments.values()
        closed = max(i.closed_at for i in city.repository.issues.values() if i.closed_at)
        return (closed - defect.created_at).total_seconds()

    async def _summary(self, city: City, issue: Issue, fix: PullRequest) -> None:
        self._stage.begin("Done")
        simulator = city.simulator
        await simulator.settled()
        statuses = Counter(str(delivery.status_code) for delivery in simulator.deliveries)
        calls = [call for call in simulator.calls if call.app_id == city.app.app.id]
        customers = ", ".join(
            f"{count} times {status or 'no answer'}"
            for status, count in sorted(city.customers.answers.items())
        )
        self._stage.fact(
            f"{len(simulator.deliveries)} webhook deliveries, answered "
            + ", ".join(f"{count} times {status}" for status, count in sorted(statuses.items())),
            f"{len(calls)} GitHub calls, {len(city.repository.deployments)} deployments",
            f"customers were answered {customers}",
            f"from the defect going live to its verified fix: {self._loop_seconds(city):.0f} s, "
            f"issue #{issue.number}, pull request #{fix.number}",
        )
        if not self._keep:
            self._stage.fact("To look at it all in a browser: make demo ARGS=--keep")
            return
        self._stage.fact(
            f"repository:   {city.pages}",
            f"the issue:    {city.pages}/issues/{issue.number}",
            f"the fix:      {city.pages}/pull/{fix.number}",
            f"deliveries:   {simulator.base_url}/-/deliveries",
            f"Conductor:    {city.conductor}/metrics",
            f"its log:      {city.folder / 'conductor.log'}",
        )


def _reported(issue: Issue) -> str | None:
    """Return the issue's text once it has its marker, which comes last."""
    body = issue.body or ""
    return body if "conductor:feedback" in body else None


def _history(deployment: Deployment) -> str:
    return " → ".join(status.state for status in deployment.statuses)


def _changed_lines(diff: str) -> list[str]:
    """Return the lines of a diff that say something."""
    lines = diff.splitlines()
    return [line for line in lines if line[:1] in "+-" and not line.startswith(("+++", "---"))]


def _shown(body: str) -> list[str]:
    """The text without its hidden markers, and without what only Markdown needs."""
    lines = (line.rstrip().replace("\\_", "_") for line in body.splitlines())
    return [line for line in lines if line and not line.startswith("<!--")]
