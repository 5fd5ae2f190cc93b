"""What agents may do beyond words: commits, pull requests, deployments and issues."""

from dataclasses import replace
from datetime import UTC, datetime, time
from typing import Any

import pytest

from pipelines.model import (
    Actor,
    Approval,
    Breach,
    CloseIssue,
    CommandTrigger,
    DeploymentTrigger,
    Effect,
    EnvironmentPlan,
    EnvironmentState,
    FeedbackPayload,
    FileEdit,
    FreezeWindow,
    LastGood,
    OpenIssue,
    OpenPullRequest,
    Provenance,
    PushCommit,
    ScheduleTrigger,
    Severity,
    Step,
    WorkflowRun,
)
from pipelines.orchestration.policy import (
    Allow,
    Deny,
    Facts,
    PolicyEngine,
    RequireApproval,
    Verdict,
)
from tests.simulation.plans import AUTHOR, HEAD, OTHER, REPOSITORY, a_change, a_run, a_step
from tests.support.clock import EPOCH
from tests.unit.orchestration.yard import (
    AGENTS,
    STAGING,
    created,
    deploying,
    pushed,
    released,
    told,
)

POLICY = PolicyEngine()
GOOD = "e" * 40
FRIDAY_EVENING = datetime(2026, 1, 9, 20, 0, tzinfo=UTC)
WEEKEND = FreezeWindow(start_day=4, start=time(16), end_day=0, end=time(8), zone="UTC")
LIVE = EnvironmentPlan(name="production", target="kubernetes", production=True, approval=1)
KNOWN = EnvironmentState(
    plan=STAGING,
    deployment_id=7,
    deployment_sha=HEAD,
    last_good=LastGood(sha=GOOD, deployment_id=3, at=EPOCH),
)
FACTS = Facts(
    known_agents=AGENTS,
    now=EPOCH,
    environment=KNOWN,
    deployments=frozenset({7}),
    feedback={12: "abcdef01"},
)


def judge(run: WorkflowRun, effect: Effect, facts: Facts = FACTS, **step: Any) -> Verdict:
    return POLICY.check_effect(run, run.steps[0].model_copy(update=step), effect, facts)


def start(run: WorkflowRun, facts: Facts = FACTS, **step: Any) -> Verdict:
    return POLICY.check_task(run, run.steps[0].model_copy(update=step), facts)


def why(verdict: Verdict) -> str:
    assert isinstance(verdict, Deny | RequireApproval), verdict
    return verdict.reason


def consent(by: int = 9, level: str = "write") -> Approval:
    return Approval(by_id=by, by_login="grace", level=level, at=EPOCH)


# --- commits -------------------------------------------------------------------------------------


def commit(*paths: str, branch: str = "conductor/fix-1", content: str = "x = 1\n") -> PushCommit:
    edits = tuple(FileEdit(path=path, content=content) for path in paths or ("shop/cart.py",))
    return PushCommit(head_sha=HEAD, branch=branch, edits=edits, headline="Fix the cart")


def pull(made: PushCommit | None = None, **fields: Any) -> OpenPullRequest:
    known: dict[str, Any] = {
        "head_sha": HEAD,
        "commit": made or commit(),
        "base_ref": "main",
        "title": "Fix",
        "body": "Because.",
    }
    return OpenPullRequest(**(known | fields))


def working(agent: str = "coding", **change: Any) -> WorkflowRun:
    run = a_run(a_step("work", agent=agent), change=a_change(**change))
    return run.model_copy(update={"protected": ("secrets/**",), "environments": (STAGING,)})


GRANTING = (
    *(".conductor.yml", "CODEOWNERS", "docs/CODEOWNERS", ".gitattributes", ".gitmodules"),
    *("a/.gitattributes", ".npmrc", ".env", ".husky/pre-commit", ".pre-commit-config.yaml"),
    *(".git/hooks/pre-commit", "../outside", "/etc/passwd", "a/../b", "GIT~1/config"),
)
SHIPPING = (
    *(".github/workflows/ci.yml", ".GitHub/workflows/ci.yml", ".gitlab-ci.yml", "Dockerfile"),
    *("poetry.lock", "package-lock.json", ".circleci/config.yml", "Jenkinsfile"),
    *("docker-compose.yml", "secrets/token.txt"),
)


@pytest.mark.parametrize("agent", ["coding", "test", "test-data", "devops"])
@pytest.mark.parametrize("path", GRANTING)
def test_no_agent_writes_what_grants_power_whoever_consents(agent: str, path: str) -> None:
    step: dict[str, Any] = {"held": True, "approvals": (consent(level="admin"),)}
    assert isinstance(judge(working(agent), commit("fine.py", path), **step), Deny)


@pytest.mark.parametrize("agent", ["coding", "test", "test-data"])
@pytest.mark.parametrize("path", SHIPPING)
def test_what_ships_is_not_written_by_agents_with_other_business(agent: str, path: str) -> None:
    step: dict[str, Any] = {"held": True, "approvals": (consent(level="admin"),)}
    assert path in why(judge(working(agent), commit(path), **step))


@pytest.mark.parametrize("path", SHIPPING)
def test_devops_writes_what_ships_only_with_consent_to_exactly_that(path: str) -> None:
    run, wanted = working("devops"), pull(commit(path, "README.md"))
    verdict = judge(run, wanted)
    assert isinstance(verdict, RequireApproval)
    assert (verdict.level, path in verdict.reason) == ("write", True)
    assert "README" not in verdict.reason
    early = judge(run, wanted, approvals=(consent(),))
    assert isinstance(early, RequireApproval), "a consent from before the commit is none"
    low = judge(run, wanted, held=True, approvals=(consent(level="triage"),))
    assert isinstance(low, RequireApproval)
    assert judge(run, wanted, held=True, approvals=(consent(),)) == Allow()


@pytest.mark.parametrize("content", ["a\0b", "x\u202ey", "tag\U000e0041"])
def test_text_that_hides_something_is_not_committed(content: str) -> None:
    assert isinstance(judge(working(), commit(content=content)), Deny)


@pytest.mark.parametrize(
    "branch",
    [
        *("main", "MAIN", "develop", "release/1", "feature2", "refs/heads/main", "conductor"),
        *("conductor/", "conductor/../main", "conductor//x", "conductor/x.lock", "conductor/.x"),
        *("Conductor/x", "x/conductor/y"),
    ],
)
def test_no_commit_goes_to_a_branch_that_is_not_conductors_or_the_pull_requests(
    branch: str,
) -> None:
    assert isinstance(judge(working(), commit(branch=branch)), Deny)
    assert isinstance(judge(working(), pull(commit(branch=branch))), Deny)


def test_a_commit_goes_to_conductors_own_branch_or_to_the_pull_requests() -> None:
    assert judge(working(), commit()) == Allow()
    assert judge(working(), commit(branch="feature")) == Allow()
    assert "from a `conductor/…`" in why(judge(working(), pull(commit(branch="feature"))))


def test_no_commit_goes_to_a_default_branch_of_any_name_or_to_a_base() -> None:
    own = REPOSITORY.model_copy(update={"default_branch": "conductor/main"})
    assert isinstance(judge(working(repository=own), commit(branch="conductor/main")), Deny)
    stacked = working(base_ref="conductor/base")
    assert isinstance(judge(stacked, commit(branch="conductor/base")), Deny)
    assert isinstance(judge(working(head_ref="main"), commit(branch="main")), Deny)


def test_nothing_is_written_to_a_fork() -> None:
    consented: dict[str, Any] = {"approvals": (consent(),)}
    verdict = judge(working(head_repository_id=666), commit(branch="feature"), **consented)
    assert "fork" in why(verdict)


def test_a_pull_request_goes_where_the_change_was_going() -> None:
    for base in ("main", "feature"):
        assert judge(working(), pull(base_ref=base)) == Allow()
    assert isinstance(judge(working(), pull(base_ref="gh-pages")), Deny)


def test_a_pull_request_answers_the_runs_own_issue_only() -> None:
    run = working(number=None, issue=31, head_ref="", base_ref="main")
    assert judge(run, pull(answers_issue=31)) == Allow()
    assert "issue 32" in why(judge(run, pull(answers_issue=32)))
    foreign = commit().model_copy(update={"head_sha": OTHER})
    assert "another parent" in why(judge(run, pull(foreign)))


@pytest.mark.parametrize("effect", [commit(), pull()])
def test_a_strangers_text_leads_to_no_commit_without_a_writers_consent(effect: Effect) -> None:
    run = working(author_can_write=False)
    assert "without write access" in why(judge(run, effect))
    assert judge(run, effect, approvals=(consent(),)) == Allow()


def test_the_last_of_conductors_own_actions_starts_no_further_one() -> None:
    for depth, fine in ((0, True), (2, True), (3, False)):
        run = working()
        trigger = run.trigger.model_copy(update={"provenance": Provenance(depth=depth)})
        run = run.model_copy(update={"trigger": trigger})
        for effect in (commit(), pull()):
            assert isinstance(judge(run, effect), Allow if fine else Deny)


# --- deployments ---------------------------------------------------------------------------------


def commanded(verb: str = "deploy", by: Actor | None = None, **change: Any) -> WorkflowRun:
    trigger = CommandTrigger(
        repository=REPOSITORY,
        actor=by or Actor(id=9, login="grace"),
        delivery_id="d",
        number=5,
        on_pull_request=True,
        comment_id=1,
        verb=verb,
        arguments=("staging",),
    )
    return deploying("a", trigger=trigger, change=a_change(**change))


def to_production(plan: EnvironmentPlan = LIVE, **fields: Any) -> WorkflowRun:
    run = deploying("a", environments=(STAGING, plan), **fields)
    ship = run.steps[0].model_copy(update={"options": {"environment": "production"}})
    return run.model_copy(update={"steps": (ship,)})


def test_a_push_to_the_default_branch_is_deployed() -> None:
    run = deploying("a")
    assert start(run) == Allow()
    assert judge(run, created(run)) == Allow()
    assert judge(run, released(run, 7)) == Allow()
    assert judge(run, told(run, 7, "success")) == Allow()


@pytest.mark.parametrize(
    "changes",
    [
        {"environment": "Staging"},
        {"environment": "staging "},
        {"environment": "production"},
        {"environment": "staging\u200b"},
        {"sha": OTHER},
        {"sha": OTHER, "rollback": True},
        {"sha": HEAD, "rollback": True},
        {"head_sha": OTHER, "sha": OTHER},
        {"production": True},
    ],
    ids=str,
)
def test_a_hijacked_deployment_is_refused(changes: dict[str, Any]) -> None:
    run = deploying("a")
    assert isinstance(judge(run, created(run, **changes)), Deny)
    if "production" not in changes:
        assert isinstance(judge(run, released(run, 7, **changes)), Deny)


def test_what_another_kind_of_agent_says_names_no_environment() -> None:
    run = to_production()
    ship = a_step("ship", "before", agent="deploy")
    for agent, found in (("test", None), ("coding", None), ("deploy", LIVE)):
        before = a_step("before", agent=agent)
        before = before.model_copy(update={"outputs": {"environment": "production"}})
        told_so = run.model_copy(update={"steps": (before, ship)})
        assert told_so.environment_of(ship) == found


def test_a_deployment_of_somebody_else_is_neither_released_nor_told_anything() -> None:
    run = deploying("a")
    assert isinstance(judge(run, released(run, 8)), Deny)
    for state in ("success", "failure", "inactive", "in_progress"):
        assert "Deployment 8" in why(judge(run, told(run, 8, state)))


def test_a_commit_that_is_not_on_the_default_branch_is_deployed_at_a_persons_word_only() -> None:
    pull_request = deploying("a", trigger=a_run("x").trigger, change=a_change())
    topic = deploying("a", trigger=pushed(ref="refs/heads/topic"))
    moved = deploying("a", trigger=pushed(after=OTHER))
    tag = deploying("a", trigger=pushed(ref="refs/tags/v1"))
    for run in (pull_request, topic, moved, tag):
        assert "/conductor deploy staging" in why(start(run))
        assert isinstance(judge(run, created(run)), Deny)
    assert start(commanded()) == Allow()
    assert isinstance(start(commanded("fix")), Deny)


def test_a_commit_of_a_fork_is_never_deployed() -> None:
    run = commanded(head_repository_id=666)
    consented: dict[str, Any] = {"approvals": (consent(level="admin"),)}
    assert "fork" in why(start(run, **consented))
    assert isinstance(judge(run, created(run), **consented), Deny)


def a_deployment(**fields: Any) -> DeploymentTrigger:
    known: dict[str, Any] = {
        "repository": REPOSITORY,
        "actor": AUTHOR,
        "delivery_id": "d",
        "deployment_id": 7,
        "environment": "staging",
        "sha": HEAD,
        "ref": "main",
    }
    return DeploymentTrigger(**(known | fields))


def test_a_deployment_event_counts_as_a_persons_word_only_from_a_person() -> None:
    assert start(deploying("a", trigger=a_deployment())) == Allow()
    bot = Actor(id=66, login="robot", type="Bot")
    assert isinstance(start(deploying("a", trigger=a_deployment(actor=bot))), Deny)
    assert isinstance(start(deploying("a", trigger=a_deployment(sha=OTHER))), Deny)


def test_a_schedule_deploys_the_default_branch() -> None:
    trigger = ScheduleTrigger(
        repository=REPOSITORY,
        actor=AUTHOR,
        delivery_id="d",
        workflow="nightly",
        cron="0 3 * * *",
        due_at=EPOCH,
    )
    assert start(deploying("a", trigger=trigger)) == Allow()


def test_a_frozen_environment_takes_no_new_deployment_and_lets_a_begun_one_end() -> None:
    frozen = replace(FACTS, now=FRIDAY_EVENING)
    run = deploying("a", environments=(STAGING.model_copy(update={"freeze": (WEEKEND,)}),))
    assert "frozen until 2026-01-12 08:00 UTC" in why(start(run, frozen))
    assert isinstance(judge(run, created(run), frozen), Deny)
    assert judge(run, released(run, 7), frozen) == Allow()
    not_begun = replace(frozen, environment=KNOWN.model_copy(update={"deployment_id": None}))
    assert isinstance(judge(run, released(run, 7), not_begun), Deny)


def test_a_rollback_to_a_good_release_waits_for_nothing() -> None:
    frozen = replace(FACTS, now=FRIDAY_EVENING)
    plan = LIVE.model_copy(update={"freeze": (WEEKEND,)})
    run = to_production(plan)
    back = created(run, environment="production", production=True, sha=GOOD, rollback=True)
    assert judge(run, back, frozen) == Allow()
    assert isinstance(judge(run, back, replace(frozen, environment=None)), Deny)


def test_production_waits_for_somebody_entitled_who_is_not_the_author() -> None:
    run = to_production()
    verdict = start(run)
    assert isinstance(verdict, RequireApproval)
    assert verdict.level == "maintain"
    assert "1 more person" in verdict.reason
    for nobody in (consent(level="write"), consent(AUTHOR.id, "admin")):
        assert isinstance(start(run, approvals=(nobody,)), RequireApproval)
        wanted = created(run, environment="production", production=True)
        assert isinstance(judge(run, wanted, approvals=(nobody,)), Deny)
    assert start(run, approvals=(consent(level="maintain"),)) == Allow()
    wanted = created(run, environment="production", production=True)
    assert judge(run, wanted, approvals=(consent(level="maintain"),)) == Allow()


def test_a_named_approver_counts_whatever_their_role_and_nobody_counts_twice() -> None:
    run = to_production(LIVE.model_copy(update={"approval": 2, "approvers": (77,)}))
    one = consent(77, "read")
    assert "1 more person" in why(start(run, approvals=(one, one)))
    assert start(run, approvals=(one, consent(78, "maintain"))) == Allow()


def test_the_command_of_somebody_entitled_counts_as_one_approval() -> None:
    plan = STAGING.model_copy(update={"approval": 1})
    assert start(commanded().model_copy(update={"environments": (plan,)})) == Allow()
    own = commanded(by=AUTHOR).model_copy(update={"environments": (plan,)})
    assert isinstance(start(own), RequireApproval)


def test_the_monitor_deploys_nothing_but_the_way_back_and_only_if_told_to() -> None:
    run = deploying("a")
    back = created(run, sha=GOOD, rollback=True)
    watching: dict[str, Any] = {"agent": "monitor"}
    options = {"environment": "staging", "on_breach": "rollback"}
    assert judge(run, back, **watching, options=options) == Allow()
    assert isinstance(judge(run, created(run), **watching, options=options), Deny)
    assert isinstance(judge(run, back, **watching), Deny)


# --- issues --------------------------------------------------------------------------------------


def incident(fingerprint: str = "abcdef01", **fields: Any) -> OpenIssue:
    payload = FeedbackPayload(
        fingerprint=fingerprint,
        environment=fields.pop("environment", "staging"),
        severity=Severity.HIGH,
        title="Errors",
        breaches=(Breach(rule="errors", observed=1.0),),
        findings=("It fails.",),
        observed_at=EPOCH,
    )
    return OpenIssue(head_sha=HEAD, payload=payload, occasion="a/watch")


def closing(number: int, fingerprint: str) -> CloseIssue:
    return CloseIssue(
        head_sha=HEAD,
        number=number,
        fingerprint=fingerprint,
        evidence=("0.1 is usual.",),
        fixed_in=HEAD,
        occasion="a/watch",
    )


def watching() -> WorkflowRun:
    watch: Step = a_step("watch", agent="monitor", options={"environment": "staging"})
    return deploying("a", HEAD, watch)


def test_a_storm_of_incidents_opens_five_issues_a_day() -> None:
    run = watching()
    assert judge(run, incident(), replace(FACTS, new_issues_today=4)) == Allow()
    stormy = replace(FACTS, new_issues_today=5)
    assert "limit is 5" in why(judge(run, incident(), stormy))
    counted = replace(stormy, known_incidents=frozenset({"abcdef01"}))
    assert judge(run, incident(), counted) == Allow()


def test_an_issue_is_about_the_environment_that_was_watched() -> None:
    assert "does not watch" in why(judge(watching(), incident(environment="production")))


@pytest.mark.parametrize(
    ("number", "fingerprint"), [(13, "abcdef01"), (12, "ffffffff"), (5, "abcdef01")]
)
def test_only_the_monitors_own_issue_of_that_fingerprint_is_closed(
    number: int, fingerprint: str
) -> None:
    assert judge(watching(), closing(12, "abcdef01")) == Allow()
    assert isinstance(judge(watching(), closing(number, fingerprint)), Deny)


@pytest.mark.parametrize("agent", ["review", "coding", "test", "test-data", "devops", "deploy"])
def test_nobody_but_the_monitor_opens_or_closes_incidents(agent: str) -> None:
    run = deploying("a", HEAD, a_step("x", agent=agent, options={"environment": "staging"}))
    for effect in (incident(), closing(12, "abcdef01")):
        assert "may not" in why(judge(run, effect))


def test_deeds_during_a_task_are_for_those_who_need_them() -> None:
    run = deploying("a")
    step = run.steps[0]
    assert POLICY.check_during(run, step, created(run), FACTS) == Allow()
    run = watching()
    assert "may not" in why(POLICY.check_during(run, run.steps[0], incident(), FACTS))
    run = working()
    assert "may not" in why(POLICY.check_during(run, run.steps[0], commit(), FACTS))


@pytest.mark.parametrize(
    ("branch", "series", "base"),
    [
        ("conductor/fix-issue-1-run1", "conductor/fix-", "main"),
        ("conductor/work-into-main-0-run1", "conductor/other-into-main-", "main"),
        ("conductor/work-into-other-0-run1", "conductor/work-into-other-", "main"),
        ("conductor/fix-issue-1-run1", "conductor/work-into-main-", "main"),
    ],
)
def test_a_step_takes_over_from_its_own_pull_requests_alone(
    branch: str, series: str, base: str
) -> None:
    effect = pull(commit(branch=branch), series=series, base_ref=base)
    assert isinstance(judge(working(), effect), Deny)


def test_a_step_may_take_over_from_what_it_proposed_into_the_same_base() -> None:
    series = "conductor/work-into-main-"
    effect = pull(commit(branch=f"{series}0-run1"), series=series)
    assert isinstance(judge(working(), effect), Allow)
