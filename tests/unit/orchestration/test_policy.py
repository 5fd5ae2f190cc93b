from dataclasses import replace
from typing import Any

import pytest

from pipelines.model import (
    AnswerFinding,
    Approval,
    CommandTrigger,
    Conclusion,
    Coverage,
    Effect,
    PostComment,
    PriorFinding,
    Provenance,
    React,
    Step,
    SubmitReview,
    Usage,
    WorkflowRun,
)
from pipelines.orchestration.policy import (
    Allow,
    Deny,
    Facts,
    KnownAgent,
    PolicyEngine,
    RequireApproval,
    Rule,
    Taint,
    Verdict,
    approved,
)
from tests.simulation.plans import (
    AUTHOR,
    HEAD,
    OTHER,
    REPOSITORY,
    a_change,
    a_run,
    a_step,
    a_trigger,
)
from tests.support.clock import EPOCH

FACTS = Facts(known_agents=frozenset({"review", "coding", "test"}), now=EPOCH)
POLICY = PolicyEngine()
EARLIER = PriorFinding(fingerprint="f", thread_id="T_1", comment_id=77, path="src/shop.py")
STRANGERS = a_change(head_repository_id=None, author_can_write=False)


def task(run: WorkflowRun, step: Step | None = None, **facts: Any) -> Verdict:
    known: dict[str, Any] = {"known_agents": FACTS.known_agents, "now": EPOCH}
    return POLICY.check_task(run, step or run.steps[0], Facts(**(known | facts)))


def effect(run: WorkflowRun, wanted: Effect, facts: Facts = FACTS) -> Verdict:
    return POLICY.check_effect(run, run.steps[0], wanted, facts)


def reasons(verdict: Verdict) -> str:
    assert isinstance(verdict, Deny | RequireApproval)
    return verdict.reason


def a_review(number: int = 5, head_sha: str = HEAD) -> SubmitReview:
    return SubmitReview(
        number=number, head_sha=head_sha, findings=(), summary="Fine.", coverage=Coverage()
    )


def an_answer(number: int = 5, head_sha: str = HEAD) -> AnswerFinding:
    return AnswerFinding(
        number=number,
        head_sha=head_sha,
        fingerprint="f",
        thread_id="T_1",
        comment_id=77,
        fixed_in=HEAD,
    )


def consent(level: str) -> Approval:
    return Approval(by_id=9, by_login="grace", level=level, at=EPOCH)


def test_an_ordinary_review_is_allowed_and_so_are_its_effects() -> None:
    run = a_run("review", change=a_change(prior_findings=(EARLIER,)))
    assert task(run) == Allow()
    assert effect(run, a_review()) == Allow()
    assert effect(run, an_answer()) == Allow()


def test_an_answer_to_a_thread_that_no_review_of_ours_began_is_refused() -> None:
    assert "comment 77" in reasons(effect(a_run("review"), an_answer()))


# --- the commit and the conversation -------------------------------------------------------------


@pytest.mark.parametrize("make", [a_review, an_answer])
def test_an_effect_for_another_commit_is_refused(make: Any) -> None:
    verdict = effect(a_run("review"), make(head_sha=OTHER))
    assert isinstance(verdict, Deny)
    assert verdict.conclusion is Conclusion.FAILURE
    assert OTHER[:12] in verdict.reason
    assert HEAD[:12] in verdict.reason


@pytest.mark.parametrize("make", [a_review, an_answer])
def test_an_effect_for_another_pull_request_is_refused(make: Any) -> None:
    assert "number 6" in reasons(effect(a_run("review"), make(number=6)))


def may_talk(run: WorkflowRun, wanted: Effect) -> Verdict:
    return POLICY.check_effect(run, a_step("answer", agent="conductor"), wanted, FACTS)


def commanded(run: WorkflowRun, **fields: Any) -> WorkflowRun:
    trigger = CommandTrigger(
        repository=REPOSITORY,
        actor=AUTHOR,
        delivery_id="d-2",
        number=5,
        on_pull_request=True,
        comment_id=31,
        verb="review",
        **fields,
    )
    return run.model_copy(update={"trigger": trigger})


def test_a_reaction_goes_to_the_comment_that_gave_the_command_and_to_no_other() -> None:
    run = commanded(a_run("review"))
    assert may_talk(run, React(comment_id=31, content="eyes")) == Allow()
    assert "comment 32" in reasons(may_talk(run, React(comment_id=32, content="eyes")))


def test_a_comment_goes_to_the_runs_own_conversation() -> None:
    run = commanded(a_run("review"))
    assert may_talk(run, PostComment(number=5, body="Hi", reason="command/31")) == Allow()
    assert "number 9" in reasons(may_talk(run, PostComment(number=9, body="Hi", reason="x")))


# --- agents and capabilities ---------------------------------------------------------------------


def test_an_agent_that_is_not_installed_is_refused_with_those_that_are() -> None:
    verdict = task(a_run(a_step("ship", agent="deploy")))
    assert reasons(verdict) == (
        "This installation has no agent `deploy`; it has: coding, review, test."
    )


def test_an_agent_may_only_ask_for_its_own_kinds_of_effect() -> None:
    run = a_run("review")
    comment = PostComment(number=5, body="Buy gold.", reason="model")
    assert reasons(effect(run, comment)) == "The review agent may not `post_comment`."


def test_conductor_itself_answers_and_does_not_review() -> None:
    assert isinstance(may_talk(a_run("review"), a_review()), Deny)


def test_an_agent_without_capabilities_may_ask_for_nothing() -> None:
    run = a_run(a_step("tests", agent="test"))
    assert isinstance(effect(run, a_review()), Deny)


# --- taint ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("agent", ["coding", "test"])
def test_a_strangers_change_is_only_reviewed_until_a_writer_approves(agent: str) -> None:
    run = a_run(a_step("work", agent=agent), change=STRANGERS)
    verdict = task(run)
    assert isinstance(verdict, RequireApproval)
    assert verdict.level == "write"
    consented = run.steps[0].model_copy(update={"approvals": (consent("maintain"),)})
    assert task(run, consented) == Allow()
    too_low = run.steps[0].model_copy(update={"approvals": (consent("triage"),)})
    assert isinstance(task(run, too_low), RequireApproval)


def test_a_strangers_change_is_reviewed_without_approval() -> None:
    run = a_run("review", change=STRANGERS)
    assert task(run) == Allow()
    assert effect(run, a_review()) == Allow()


def test_no_deed_of_a_tainted_run_passes_whatever_the_agent_may_do_otherwise() -> None:
    run = a_run("review", change=STRANGERS)
    deed = a_review().model_copy(update={"kind": "push_commit"})
    verdict = Taint().effect(run, run.steps[0], deed, FACTS)
    assert isinstance(verdict, Deny)
    assert "a writer's approval" in verdict.reason
    own = a_run("review")
    assert Taint().effect(own, own.steps[0], deed, FACTS) == Allow()


def test_an_unknown_level_is_no_approval() -> None:
    step = a_step("work").model_copy(update={"approvals": (consent("emperor"),)})
    assert not approved(step, "read")


# --- money ---------------------------------------------------------------------------------------


def test_a_run_that_spent_its_budget_starts_nothing_more_and_ends_neutral() -> None:
    run = a_run("review", budget_usd=1.5).model_copy(update={"usage": Usage(cost_usd=1.5)})
    verdict = task(run)
    assert isinstance(verdict, Deny)
    assert verdict.conclusion is Conclusion.NEUTRAL
    assert "1.50 of 1.50 USD" in verdict.reason
    assert "per_run" in verdict.reason


def test_a_spent_day_starts_nothing_more() -> None:
    run = a_run("review")
    assert task(run, spent_today_usd=24.99, day_budget_usd=25) == Allow()
    assert "per_day" in reasons(task(run, spent_today_usd=25, day_budget_usd=25))
    assert task(run, spent_today_usd=10**6) == Allow()


def test_a_budget_of_zero_allows_what_costs_nothing() -> None:
    assert task(a_run("review", budget_usd=0), day_budget_usd=0) == Allow()


def test_effects_that_were_paid_for_are_published_though_the_budget_is_spent() -> None:
    run = a_run("review").model_copy(update={"usage": Usage(cost_usd=99)})
    assert effect(run, a_review()) == Allow()


# --- pause and loops -----------------------------------------------------------------------------


def test_a_pause_stops_tasks_and_effects_of_automatic_runs() -> None:
    run = a_run("review")
    paused = replace(FACTS, paused=True)
    assert "/conductor resume" in reasons(task(run, paused=True))
    assert "/conductor resume" in reasons(effect(run, a_review(), paused))


def test_what_a_person_asks_for_is_done_though_the_pull_request_is_paused() -> None:
    assert task(commanded(a_run("review")), paused=True) == Allow()


@pytest.mark.parametrize(("depth", "fine"), [(0, True), (3, True), (4, False)])
def test_conductor_follows_its_own_actions_three_deep(depth: int, fine: bool) -> None:
    trigger = a_trigger(provenance=Provenance(root_run="r", depth=depth))
    assert isinstance(task(a_run("review", trigger=trigger)), Allow if fine else Deny)


# --- the chain -----------------------------------------------------------------------------------


class Says(Rule):
    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def task(self, run: WorkflowRun, step: Step, facts: Facts) -> Verdict:
        return self.verdict


def test_the_first_refusal_wins_over_later_ones_and_over_approvals() -> None:
    run = a_run("review")
    wish = RequireApproval("write", "Please.")
    chain = [Says(wish), Says(Deny("First.")), Says(Deny("Second."))]
    assert PolicyEngine(chain).check_task(run, run.steps[0], FACTS) == Deny("First.")


def test_the_first_wish_for_approval_is_the_one_that_is_asked() -> None:
    run = a_run("review")
    chain = [KnownAgent(), Says(RequireApproval("write", "A")), Says(RequireApproval("admin", "B"))]
    verdict = PolicyEngine(chain).check_task(run, run.steps[0], FACTS)
    assert verdict == RequireApproval("write", "A")
