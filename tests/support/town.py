"""A GitHub, its people and Conductor in one process: all of it real but the model and the time.

Time passes only while a test waits for something (``settled``, ``until``) and everything else has
come to rest; so an hour of waiting costs milliseconds and no test sleeps.
"""

import asyncio
import io
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from aiohttp import web

from bot.cli.serving import Triage, application
from bot.deliveries.delivery import SCHEDULES, Delivery, DeliveryStatus
from bot.events.filters import AppIdentity
from bot.intake.recovery import EVENT as RECOVERY
from bot.redactor import Redactor
from bot.settings import ConductorConfig
from bot.simulator import ApiCall, NewApp, Simulator
from bot.simulator.people import Files
from bot.simulator.state import (
    Account,
    CheckRun,
    Comment,
    Installation,
    Issue,
    PullRequest,
    Repository,
    Review,
)
from bot.telemetry import Metrics, logging_to
from bot.web.edge import Address, serving
from bot.wiring import Services, services
from bot.worker import Worker
from pipelines.agents.runner import LocalRunner
from pipelines.model import WorkflowRun
from pipelines.ports import Ids
from pipelines.system import SortableIds
from tests.support.at_work import WatchedRunner
from tests.support.clock import VirtualClock
from tests.support.github_schema import SchemaChecker
from tests.support.town_model import BROKEN_CART, CART, TownModel
from tests.support.waiting import passing

T = TypeVar("T")

OWN_EVENTS = frozenset({SCHEDULES, RECOVERY})
"""Deliveries that no sender brought: Conductor left them to itself."""

REAL_SECONDS = 60.0
"""How long a test may really wait for one thing before it fails and says what it waited for."""
LONG = 6 * 3600.0
"""The same in the town's own time."""
CALM, PATIENT = 3, 1000
"""Milliseconds without news before time passes; more while a sandbox or a service works."""


class TownClock(VirtualClock):
    """Time that also says when somebody wants to be woken next."""

    async def pass_to_next(self) -> None:
        """Move on to the moment for which somebody waits."""
        waiting = [due for due, _, sleeper in self._sleepers if not sleeper.done()]
        if waiting:
            await self.advance(max(0.0, min(waiting) - self.monotonic()) + 1e-6)


@dataclass
class Town:
    """One repository, ``acme/shop``, of which Ada is a maintainer and Conductor the reviewer."""

    github: Simulator
    clock: TownClock
    schema: SchemaChecker
    acme: Account
    ada: Account
    app: NewApp
    repo: Repository
    installation: Installation
    services: Services
    model: TownModel
    metrics: Metrics
    database: Path
    address: str
    log: io.StringIO
    answering: list[str]
    """API requests that are being answered at this moment."""
    agents: WatchedRunner
    beside_github: int = 0
    """Deliveries on record that GitHub did not send, less those that were lost with the store."""
    github_repeats: bool = True
    """Whether what was refused is sent again at once, which the real GitHub does not do."""
    running: "list[asyncio.Task[None]]" = field(default_factory=list["asyncio.Task[None]"])
    me: AppIdentity = field(init=False)
    worker: Worker = field(init=False)
    house: AsyncExitStack = field(init=False)
    """What ends when the process ends."""
    rebuild: Callable[[], Coroutine[Any, Any, None]] = field(init=False)

    # --- what people do --------------------------------------------------------------------------

    async def push(self, files: Files, branch: str = "topic", **options: Any) -> str:
        """Ada pushes whole files to a branch; returns the commit."""
        by = options.pop("by", self.ada)
        repo = options.pop("repo", self.repo)
        return await self.github.push(repo, branch, files, by, **options)

    async def configure(self, text: str) -> None:
        """Put a `.conductor.yml` on the default branch."""
        await self.push({".conductor.yml": text}, "main", message="Configure Conductor")
        await self.settled()

    async def open_pull_request(self, files: Files | None = None, **options: Any) -> PullRequest:
        """Ada opens a pull request with these files, by default with the broken cart."""
        branch, by = options.pop("branch", "topic"), options.pop("by", self.ada)
        source = options.get("source") or self.repo
        changed = {"shop/cart.py": BROKEN_CART} if files is None else files
        await self.push(changed, branch, by=by, repo=source)
        title = options.pop("title", "Show the average price of a cart")
        return await self.github.open_pull_request(self.repo, branch, by, title=title, **options)

    async def reviewed_pull_request(self, *files: Files, **options: Any) -> PullRequest:
        """Open a pull request and wait until Conductor has said all that it has to say."""
        pull = await self.open_pull_request(*files, **options)
        await self.settled()
        return pull

    def comment(self, pull: PullRequest, text: str, by: Account | None = None) -> Comment:
        """Say something in the pull request's conversation."""
        return self.github.comment(self.repo, pull.number, by or self.ada, text)

    async def say(self, pull: PullRequest, text: str, by: Account | None = None) -> Comment:
        """Say something and wait until Conductor has dealt with it."""
        comment = self.comment(pull, text, by)
        await self.settled()
        return comment

    # --- what can be seen ------------------------------------------------------------------------

    def checks(self, sha: str) -> dict[str, CheckRun]:
        """The newest check run of each name on a commit."""
        return {run.name: run for run in self.repo.checks.values() if run.head_sha == sha}

    def check(self, pull: PullRequest) -> CheckRun:
        """The one check on the pull request's head."""
        (check,) = self.checks(pull.head_sha).values()
        return check

    def step(self, sha: str, name: str) -> CheckRun:
        """The newest check of a step on a commit."""
        checks = self.checks(sha)
        found = [run for full, run in checks.items() if full.endswith(f"/ {name}")]
        assert found, f"no check of {name!r}; there is {list(checks)}"
        return found[-1]

    def pull_requests(self) -> list[PullRequest]:
        """Conductor's own pull requests, oldest first."""
        return [pull for pull in self.repo.pulls if pull.issue.user is self.app.app.bot]

    def issues(self) -> list[Issue]:
        """Conductor's own issues, oldest first."""
        found = [issue for issue in self.repo.issues.values() if issue.pull is None]
        return [issue for issue in found if issue.user is self.app.app.bot]

    def said(self, issue: Issue) -> list[str]:
        """Conductor's comments on an issue, as a reader sees them."""
        return [_visible(one.body) for one in issue.comments if one.user is self.app.app.bot]

    async def file(self, sha: str, path: str) -> str:
        """The text of a file at a commit."""
        return await self.repo.git.text("show", f"{sha}:{path}")

    def reviews(self, pull: PullRequest) -> list[Review]:
        """Conductor's reviews, oldest first."""
        return [review for review in pull.reviews if review.user is self.app.app.bot]

    def review(self, pull: PullRequest) -> Review:
        """Conductor's only review."""
        (review,) = self.reviews(pull)
        return review

    def answers(self, pull: PullRequest) -> list[str]:
        """What Conductor said in the conversation."""
        said = pull.issue.comments
        return [self.shown(one.body, pull) for one in said if one.user is self.app.app.bot]

    def reactions(self, comment: Comment) -> list[str]:
        """Conductor's reactions to a comment."""
        return [one.content for one in comment.reactions if one.user is self.app.app.bot]

    def shown(self, body: str | None, pull: PullRequest) -> str:
        """A text as a reader sees it: without hidden markers, commits by their number."""
        text = _visible(body)
        for number, sha in enumerate(pull.heads, 1):
            text = text.replace(sha, f"COMMIT-{number}").replace(sha[:10], f"COMMIT-{number}")
        return text

    @property
    def calls(self) -> list[ApiCall]:
        """Every request that Conductor made of GitHub for what happened, not by the clock."""
        return [call for call in self.github.calls if call.template != "/app/hook/deliveries"]

    def listed(self, calls: Sequence[ApiCall] | None = None) -> list[str]:
        """The requests as lines that a person can count."""
        return [f"{c.method} {c.template} {c.status}" for c in (calls or self.calls)]

    async def runs(self) -> list[WorkflowRun]:
        """Every run on record, newest first."""
        state = self.services.orchestration.state
        lines = (await state.recent(1000)).runs
        found = [await state.get(line.tenant, line.run_id) for line in lines]
        return [run for run in found if run is not None]

    async def deliveries(self) -> dict[str, Delivery]:
        """Every delivery on record."""
        records = [stored async for _, stored in self.services.store.scan("delivery/")]
        read = [Delivery.model_validate_json(stored.value) for stored in records]
        return {delivery.guid: delivery for delivery in read}

    # --- the process -----------------------------------------------------------------------------

    async def stop(self) -> None:
        """End the process: nothing is claimed any more, and what goes on may come to an end."""
        self.worker.stop()
        (running,) = self.running
        self.running.clear()
        await passing(self.clock, running)
        await self.house.aclose()

    async def restart(self, *, wiped: bool = False) -> None:
        """Have another process begin, on what is stored or with ``wiped`` on nothing."""
        await self.stop()
        for file in self.database.parent.glob(f"{self.database.name}*") if wiped else ():
            file.unlink()
        await self.rebuild()

    # --- waiting ---------------------------------------------------------------------------------

    async def settled(self) -> None:
        """Return when Conductor has done all it has to do."""
        await self.until(self._at_rest, "everything is done")

    async def until(self, condition: Callable[[], Any], what: str = "the condition holds") -> None:
        """Return when the condition holds; time passes as far as it must."""
        end = self.clock.monotonic() + LONG
        try:
            async with asyncio.timeout(REAL_SECONDS):
                while True:
                    await self._quiet()
                    if self._sent_again():
                        continue
                    holds = condition()
                    if await cast("Coroutine[Any, Any, bool]", holds) if _awaits(holds) else holds:
                        return
                    assert self.clock.monotonic() < end, f"{what}: not within {LONG:g} s"
                    await self.clock.pass_to_next()
        except TimeoutError as error:
            depth = await self.services.bus.depth()
            raise AssertionError(f"{what}: not in time; left: {depth}") from error

    def _sent_again(self) -> bool:
        """Have GitHub repeat what was not stored in time: a busy machine may refuse with a 503."""
        if not self.github_repeats:
            return False
        newest = {delivery.guid: delivery for delivery in self.github.deliveries}
        refused = [one for one in newest.values() if one.status_code in (503, 504)]
        for delivery in refused:
            self.github.redeliver(delivery)
        return bool(refused)

    async def _at_rest(self) -> bool:
        depth = await self.services.bus.depth()
        self._fail_with_worker()
        return not any(count for queue, count in depth.items() if queue != "timers")

    def _fail_with_worker(self) -> None:
        for task in self.running:
            assert not task.done(), f"the worker ended: {task}"

    async def _quiet(self) -> None:
        """Return when nothing goes on any more without time passing."""
        calm, before = 0, -1
        while calm < (PATIENT if self.agents.outside else CALM):
            await asyncio.sleep(0.001)
            pending = any(one.status == "pending" for one in self.github.deliveries)
            busy = bool(self.answering) or pending
            seen = len(self.calls) + len(self.github.deliveries) + len(self.model.requests)
            calm = 0 if busy or seen != before else calm + 1
            before = seen

    # --- the books -------------------------------------------------------------------------------

    async def check_accounts(self) -> None:
        """Every delivery that was accepted came to exactly one end, and no check spins for ever."""
        records = await self.deliveries()
        answered = {d.guid for d in self.github.deliveries if d.status_code in (200, 202)}
        statuses = Counter(record.status for record in records.values())
        ended = statuses.total() - statuses[DeliveryStatus.ACCEPTED]
        own = sum(record.event in OWN_EVENTS for record in records.values())
        accepted = len(answered) + own + self.beside_github
        assert ended == statuses.total() == accepted, statuses
        waiting = [run async for run in self.services.orchestration.state.live()]
        assert all(run.state == "waiting" for run in waiting), waiting


def _visible(body: str | None) -> str:
    """A text without hidden markers."""
    lines = [line for line in (body or "").splitlines() if not line.startswith("<!--")]
    return "\n".join(lines).strip() + "\n"


def _awaits(value: object) -> bool:
    return asyncio.iscoroutine(value)


@asynccontextmanager
async def running_town(folder: Path, **options: Any) -> AsyncGenerator[Town]:
    """Build the town, and close its books and its doors when the test is over.

    Options: ``permissions`` of the App, ``files`` of the repository, ``settings`` of Conductor.
    """
    clock, schema, log = TownClock(), SchemaChecker(), io.StringIO()
    github = Simulator(folder / "github", clock=clock, rng=random.Random(7), observer=schema)
    answering = _watched(github)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(github)
        acme, ada = github.create_organization("acme"), github.create_user("ada")
        files = options.get("files") or {"shop/cart.py": CART, "README.md": "# Shop\n"}
        repo = await github.create_repository(acme, "shop", files)
        github.set_role(repo, ada, "maintain")
        chosen = {"permissions": options["permissions"]} if "permissions" in options else {}
        app = await github.create_app(acme, **chosen)
        installation = github.install(app.app, acme, [repo])
        database = folder / "conductor.db"
        settings = _settings(github, app, database, options.get("settings", {}))
        metrics, redactor = Metrics(), Redactor(settings.secrets())
        stack.enter_context(
            logging_to(log, level="DEBUG", log_format="json", redactor=redactor, metrics=metrics)
        )
        model = TownModel(folder / "model.json", clock)
        agents = WatchedRunner(LocalRunner(lambda _: model, clock))

        ids = SortableIds(clock, random.Random(7))

        async def build() -> Building:
            return await _built(settings, clock, ids, redactor, metrics, agents)

        async def rebuild() -> None:
            building = await build()
            town.services, town.address = building.services, building.address
            app.app.webhook_url = f"{building.address}/webhooks/github"
            await _begin(town, building)

        built = await build()
        app.app.webhook_url = f"{built.address}/webhooks/github"
        town = Town(
            github=github,
            clock=clock,
            schema=schema,
            acme=acme,
            ada=ada,
            app=app,
            repo=repo,
            installation=installation,
            services=built.services,
            model=model,
            metrics=metrics,
            database=database,
            address=built.address,
            log=log,
            answering=answering,
            agents=agents,
        )
        town.rebuild = rebuild
        stack.push_async_callback(_close, town)
        await _begin(town, built)
        await town.until(lambda: _looked(github), "Conductor has looked for what it may have lost")
        await town.settled()
        github.calls.clear()
        yield town
        await town.settled()
        await town.check_accounts()
    schema.verify()


def _looked(github: Simulator) -> bool:
    return any(call.template == "/installation/repositories" for call in github.calls)


def _settings(
    github: Simulator, app: NewApp, database: Path, more: Mapping[str, Any]
) -> ConductorConfig:
    values = {
        "github_app_id": app.app.id,
        "github_private_key": app.private_key,
        "github_webhook_secret": app.webhook_secret,
        "github_api_url": github.base_url,
        "conductor_storage_url": f"sqlite:///{database}",
        **more,
    }
    return ConductorConfig.model_validate(values)


def _watched(github: Simulator) -> list[str]:
    """Have the simulator keep a list of the requests that it is answering."""
    api, answering = github._api, list[str]()
    answer = api.handle

    async def handle(request: web.Request) -> web.StreamResponse:
        answering.append(request.path)
        try:
            return await answer(request)
        finally:
            answering.remove(request.path)

    api.handle = handle
    return answering


@asynccontextmanager
async def _web(
    settings: ConductorConfig, parts: Services, metrics: Metrics, me: AppIdentity, clock: TownClock
) -> AsyncGenerator[str]:
    """The real web application on a free port."""
    triage = Triage()
    triage.identity = me
    app = application(settings, parts, metrics, triage, clock)
    async with serving(app, Address("127.0.0.1", 0)) as address:
        yield f"http://{address.host}:{address.port}"


@dataclass
class Building:
    """One process: its services, its web application, and who it is on GitHub."""

    services: Services
    address: str
    identity: AppIdentity
    house: AsyncExitStack


async def _built(
    settings: ConductorConfig,
    clock: TownClock,
    ids: Ids,
    redactor: Redactor,
    metrics: Metrics,
    agents: WatchedRunner,
) -> Building:
    async with AsyncExitStack() as house:
        parts = await house.enter_async_context(
            services(
                settings,
                clock=clock,
                ids=ids,
                rng=random.Random(7),
                redactor=redactor,
                metrics=metrics,
                runner=agents,
            )
        )
        identity = await parts.github.identity()
        me = AppIdentity(
            app_id=identity.app_id,
            bot_user_id=identity.bot_id,
            slug=identity.slug,
            marker_keys=settings.marker_keys,
        )
        address = await house.enter_async_context(_web(settings, parts, metrics, me, clock))
        return Building(parts, address, me, house.pop_all())


async def _begin(town: Town, building: Building) -> None:
    """Have the worker work in this building until the town closes or the process ends."""
    town.house, town.me = building.house, building.identity
    town.worker = town.services.worker(building.identity)
    running = asyncio.create_task(town.worker.run())
    town.running.append(running)
    town.house.push_async_callback(_end, town, running)


async def _close(town: Town) -> None:
    await town.house.aclose()


async def _end(town: Town, running: "asyncio.Task[None]") -> None:
    town.worker.stop()
    await running
