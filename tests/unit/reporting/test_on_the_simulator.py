"""Reading and writing against a GitHub that keeps state and GitHub's own schemas."""

import random
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from bot.github.gateway import GitHub
from bot.github.permissions import Level, PermissionChecker
from bot.github.source import GitHubSource
from bot.github.throttle import Pace
from bot.github.transport import http_client
from bot.reporting.publisher import GitHubReporter
from bot.simulator import Simulator
from bot.simulator.faults import Fault
from bot.simulator.state import Account, PullRequest
from bot.simulator.state import Repository as SimulatedRepository
from pipelines.errors import Ambiguous, Retryable
from pipelines.model import (
    Actor,
    Change,
    PostComment,
    PullRequestTrigger,
    PushTrigger,
    React,
    Repository,
    StepState,
    WorkflowRun,
)
from tests.support.clock import VirtualClock
from tests.support.github_schema import SchemaChecker
from tests.unit.reporting.samples import answer, done, finding, result, review, run, step

CONFIG = "version: 1\n"
BEFORE = "".join(f"line {n}\n" for n in range(1, 21))
AFTER = BEFORE.replace("line 10\n", "for i in range(n - 1):\n")


@dataclass
class Shop:
    """One repository with an open pull request, and Conductor's two ends of GitHub."""

    simulator: Simulator
    repo: SimulatedRepository
    alice: Account
    pull: PullRequest
    repository: Repository
    source: GitHubSource
    reporter: GitHubReporter
    permissions: PermissionChecker
    clock: VirtualClock

    async def change(self) -> Change:
        trigger = PullRequestTrigger(
            repository=self.repository,
            actor=self.person,
            delivery_id="d-1",
            action="opened",
            number=self.pull.number,
            head_sha="a" * 40,
            head_ref="topic",
            base_ref="main",
            base_sha="b" * 40,
            head_repository_id=self.repository.id,
            author=self.person,
        )
        return await self.source.change(trigger)

    @property
    def person(self) -> Actor:
        return Actor(id=self.alice.id, login=self.alice.login)

    async def run(self, *steps: Any, run_id: str = "run1") -> WorkflowRun:
        return run(*steps).model_copy(update={"change": await self.change(), "id": run_id})


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    clock, schema = VirtualClock(), SchemaChecker()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    async with (
        Simulator(tmp_path, clock=clock, rng=random.Random(7), observer=schema) as simulator,
        http_client(verify=tls) as http,
    ):
        org, alice = simulator.create_organization("acme"), simulator.create_user("alice")
        app = await simulator.create_app(org)
        repo = await simulator.create_repository(
            org, "shop", {"a.py": BEFORE, ".conductor.yml": CONFIG}
        )
        simulator.set_role(repo, alice, "write")
        installation = simulator.install(app.app, org)
        await simulator.push(repo, "topic", {"a.py": AFTER}, alice)
        pull = await simulator.open_pull_request(repo, "topic", alice, body="Please look.")
        github = GitHub(
            http,
            app_id=str(app.app.id),
            private_key=app.private_key,
            api_url=simulator.base_url,
            clock=clock,
            version="0.0.0",
            register_secret=lambda _: None,
            pace=Pace(write_gap=0.0),
        )
        permissions = PermissionChecker(github, clock)
        yield Shop(
            simulator=simulator,
            repo=repo,
            alice=alice,
            pull=pull,
            repository=Repository(
                installation_id=installation.id, id=repo.id, owner="acme", name="shop"
            ),
            source=GitHubSource(github, permissions, clock),
            reporter=GitHubReporter(github, redact=lambda text: text),
            permissions=permissions,
            clock=clock,
        )
    schema.verify()


async def test_a_pull_request_and_its_files_are_read_as_they_are(shop: Shop) -> None:
    change = await shop.change()
    assert change.paths == ("a.py",)
    assert change.config
    assert change.config.text == CONFIG
    assert change.author_can_write
    assert (change.title, change.body) == ("A change", "Please look.")
    reader = shop.source.reader(change)
    listing = await reader.changed_files()
    assert listing.complete
    (file,) = listing.files
    assert file.patch
    assert "+for i in range(n - 1):" in file.patch
    head = await reader.read(["a.py", "gone.py"])
    assert head["a.py"].text == AFTER
    assert head["gone.py"].reason == "missing"
    assert (await reader.read(["a.py"], at="base"))["a.py"].text == BEFORE


async def test_a_push_is_compared_with_what_was_before(shop: Shop) -> None:
    before = await shop.change()
    push = PushTrigger(
        repository=shop.repository,
        actor=shop.person,
        delivery_id="d-2",
        ref="refs/heads/topic",
        before=before.base_sha,
        after=before.head_sha,
    )
    change = await shop.source.change(push)
    assert change.config == before.config
    assert [file.path for file in (await shop.source.reader(change).changed_files()).files] == [
        "a.py"
    ]


async def test_a_finding_lives_from_review_to_answer(shop: Shop) -> None:
    first = await shop.run()
    head = first.change.head_sha
    found = finding(path="a.py", start_line=10, line=10, suggestion="for i in range(n):")
    effect = review(found, finding(in_diff=False, fingerprint="beef0001", path="b.py"))
    effect = effect.model_copy(update={"head_sha": head, "number": shop.pull.number})
    receipt = await shop.reporter.carry_out(first, effect, repeated=False)
    assert receipt.status == "done"
    again = await shop.reporter.carry_out(first, effect, repeated=True)
    assert (again.status, again.url) == ("found", receipt.url)

    change = await shop.change()
    in_thread, in_text = change.prior_findings
    assert change.reviewed_shas == (head,)
    assert (in_thread.fingerprint, in_thread.anchor) == ("f00dfeed", "high.1a2b3c4d")
    assert (in_thread.path, in_thread.line, in_thread.title) == ("a.py", 10, "Off by one")
    assert (in_text.fingerprint, in_text.path) == ("beef0001", "b.py")

    await shop.simulator.push(shop.repo, "topic", {"a.py": BEFORE + "x\n"}, shop.alice)
    moved = await shop.reporter.carry_out(first, effect, repeated=False)
    assert moved.status == "found"
    stale = effect.model_copy(update={"head_sha": "c" * 40})
    assert (await shop.reporter.carry_out(first, stale, repeated=False)).status == "moved"

    second = await shop.run(run_id="run2")
    reply = answer(
        number=shop.pull.number,
        head_sha=second.change.head_sha,
        thread_id=in_thread.thread_id,
        comment_id=in_thread.comment_id,
        fixed_in=second.change.head_sha,
    )
    receipt = await shop.reporter.carry_out(second, reply, repeated=False)
    assert (receipt.status, receipt.message) == ("done", "")
    assert (await shop.reporter.carry_out(second, reply, repeated=True)).status == "found"
    after = (await shop.change()).prior_findings[0]
    assert after.answered
    assert after.resolved


async def test_a_line_outside_the_diff_falls_back_to_the_body(shop: Shop) -> None:
    first = await shop.run()
    effect = review(finding(path="a.py", start_line=1, line=1)).model_copy(
        update={"head_sha": first.change.head_sha, "number": shop.pull.number}
    )
    receipt = await shop.reporter.carry_out(first, effect, repeated=False)
    assert receipt.status == "done"
    assert "in the review's text" in receipt.message
    assert len((await shop.change()).prior_findings) == 1


async def test_a_step_s_check_run_tells_its_life(shop: Shop) -> None:
    shown: Any = await shop.reporter.report(await shop.run(), {}, {}, repeated=False)
    again = await shop.reporter.report(await shop.run(), {}, {}, repeated=True)
    assert again["review"].check_run_id == shown["review"].check_run_id
    running = await shop.run(step(StepState.RUNNING))
    shown = await shop.reporter.report(running, {}, shown, repeated=False)
    many = result(*(finding(path="a.py", start_line=n, line=n) for n in range(1, 61)))
    shown = await shop.reporter.report(
        await shop.run(done()), {"review": many}, shown, repeated=False
    )
    (check,) = shop.repo.checks.values()
    assert (check.status, check.conclusion) == ("completed", "success")
    assert len(check.annotations) == 60
    shown = await shop.reporter.report(await shop.run(), {}, shown, repeated=False)
    assert len(shop.repo.checks) == 2


async def test_a_command_is_answered_where_it_was_given(shop: Shop) -> None:
    asked = shop.simulator.comment(shop.repo, shop.pull.number, shop.alice, "/conductor status")
    first = await shop.run()
    for content in ("eyes", "rocket"):
        effect = React.model_validate({"comment_id": asked.id, "content": content})
        assert (await shop.reporter.carry_out(first, effect, repeated=False)).status == "done"
        assert (await shop.reporter.carry_out(first, effect, repeated=True)).status == "done"
    comment = PostComment(number=shop.pull.number, body="All is well.", reason="command/1")
    receipt = await shop.reporter.carry_out(first, comment, repeated=False)
    repeated = await shop.reporter.carry_out(first, comment, repeated=True)
    assert (repeated.status, repeated.url) == ("found", receipt.url)
    issue = shop.simulator.open_issue(shop.repo, shop.alice, "Help")
    on_issue = comment.model_copy(update={"number": issue.number})
    assert (await shop.reporter.carry_out(first, on_issue, repeated=True)).status == "done"


async def test_a_person_s_permission_is_what_github_says_now(shop: Shop) -> None:
    assert await shop.permissions.level(shop.repository, shop.person) is Level.WRITE
    stranger = shop.simulator.create_user("mallory")
    actor = Actor(id=stranger.id, login="mallory")
    assert await shop.permissions.level(shop.repository, actor) < Level.WRITE
    impostor = Actor(id=stranger.id, login="alice")
    assert await shop.permissions.level(shop.repository, impostor) is Level.NONE


async def until_done(shop: Shop, shown: WorkflowRun, effect: Any) -> int:
    """Carry an effect out as the coordinator does; returns how many tries it took."""
    for tries in range(10):
        try:
            await shop.reporter.carry_out(shown, effect, repeated=tries > 0)
        except Retryable:
            continue
        return tries + 1
    raise AssertionError("never done")


async def test_writes_that_are_cut_off_are_never_doubled(shop: Shop) -> None:
    rng = random.Random(5)
    first = await shop.run()
    expected = list[str]()
    cuts: list[Literal["before", "after", ""]] = ["before", "after", "after", ""]
    for number in range(100):
        cut = rng.choice(cuts)
        if cut:
            shop.simulator.faults.add(Fault(method="POST", path="*/comments", cut=cut))
        effect = PostComment(
            number=shop.pull.number, body=f"Number {number}.", reason=f"command/{number}"
        )
        assert await until_done(shop, first, effect) == (2 if cut else 1)
        expected.append(f"Number {number}.")
        await shop.clock.advance(40)
    bodies = [comment.body.split("\n")[0] for comment in shop.pull.issue.comments]
    assert bodies == expected


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_review_and_its_answer_that_are_cut_off_are_never_doubled(
    shop: Shop, cut: Literal["before", "after"]
) -> None:
    first = await shop.run()
    effect = review(finding(path="a.py", start_line=10, line=10)).model_copy(
        update={"head_sha": first.change.head_sha, "number": shop.pull.number}
    )
    shop.simulator.faults.add(Fault(method="POST", path="*/reviews", cut=cut))
    assert await until_done(shop, first, effect) == 2
    (prior,) = (await shop.change()).prior_findings
    reply = answer(
        number=shop.pull.number,
        head_sha=first.change.head_sha,
        thread_id=prior.thread_id,
        comment_id=prior.comment_id,
        fixed_in=first.change.head_sha,
    )
    shop.simulator.faults.add(Fault(method="POST", path="*/replies", cut=cut))
    assert await until_done(shop, first, reply) == 2
    (thread,) = shop.pull.threads
    assert len(thread.comments) == 2


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_check_run_that_is_cut_off_is_never_doubled(
    shop: Shop, cut: Literal["before", "after"]
) -> None:
    first = await shop.run()
    shop.simulator.faults.add(Fault(method="POST", path="*/check-runs", cut=cut))
    with pytest.raises(Ambiguous):
        await shop.reporter.report(first, {}, {}, repeated=False)
    await shop.reporter.report(first, {}, {}, repeated=True)
    assert len(shop.repo.checks) == 1
