"""Asking the model: repair, salvage, honest failure, money, and what ends up as seen."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.agents.review import ReviewAgent
from pipelines.errors import Ambiguous, ModelUnavailable, Retryable, UserError
from pipelines.model import ChangedFiles, Conclusion, Coverage, SubmitReview, TaskResult
from tests.support.models import (
    Answer,
    HangingModel,
    ScriptedModel,
    Stop,
    findings,
    prompt_of,
    proposal,
)
from tests.unit.agents.material import (
    Tree,
    TreeReader,
    change,
    changed_files,
    context_for,
    posted,
    review,
    review_task,
)

HEAD = {"a.py": "x = 1\n", "b.py": "y = 2\nz = 3\n"}
ONE = proposal("a.py", 1, "x = 1")
TWO = proposal("b.py", 2, "z = 3")


async def ask(*answers: Answer, **task: object) -> tuple[TaskResult, ScriptedModel]:
    model = ScriptedModel(*answers)
    return await review(TreeReader({}, HEAD), model, review_task(None, **task)), model


async def test_an_invalid_answer_gets_one_chance_to_be_repaired() -> None:
    result, model = await ask("Sure! {'findings': []}", findings(ONE))
    assert [finding.path for finding in posted(result)] == ["a.py"]
    assert result.title == "1 new finding (1 high)"
    first, second = model.requests
    assert (first.purpose, second.purpose) == ("review", "review.repair")
    assert second.messages[0] == first.messages[0]
    assert [turn.role for turn in second.messages] == ["user", "assistant", "user"]
    assert "no complete JSON object" in second.messages[-1].text
    assert result.usage.calls == 2


async def test_what_is_valid_is_kept_when_the_repair_fails_too() -> None:
    broken = findings(ONE, {**TWO, "severity": "awful"})
    result, model = await ask(broken, broken[:-3])
    assert [finding.path for finding in posted(result)] == ["a.py"]
    assert result.conclusion is Conclusion.NEUTRAL
    assert result.title == (
        "The model's answer was unusable as a whole; its valid findings were kept"
    )
    assert result.coverage.seen == ()
    assert [item.path for item in result.coverage.partial] == ["a.py", "b.py"]
    assert len(model.requests) == 2


async def test_kept_findings_of_a_broken_answer_still_block() -> None:
    result, _ = await ask(findings(ONE)[:-1], options={"block_on": "high"})
    assert result.conclusion is Conclusion.FAILURE


@pytest.mark.parametrize(
    "answer",
    ["", "   ", "null", "[]", "I will not.", "{", "{" * 3000, "NaN", findings(ONE) * 2 + "x"[:0]],
    ids=["empty", "blank", "null", "list", "prose", "brace", "braces", "nan", "two"],
)
async def test_two_unusable_answers_end_neutral_and_never_silent(answer: str) -> None:
    result, model = await ask(answer)
    assert len(model.requests) == 2
    assert result.status == "completed"
    assert result.conclusion is Conclusion.NEUTRAL
    assert result.title.startswith("The model's answer was unusable")
    assert not result.coverage.seen


@pytest.mark.parametrize("stop", ["refusal", "filtered"])
async def test_a_refusal_is_not_argued_with(stop: Stop) -> None:
    model = ScriptedModel((findings(), stop))
    result = await review(TreeReader({}, HEAD), model)
    assert len(model.requests) == 1
    assert result.conclusion is Conclusion.NEUTRAL
    assert result.title == "The model refused to review this change"
    assert [item.reason for item in result.coverage.unseen] == [result.title] * 2


async def test_a_refusal_of_the_repair_leaves_what_was_valid_before() -> None:
    result, _ = await ask(findings(ONE)[:-1], ("I refuse.", "refusal"))
    assert [finding.path for finding in posted(result)] == ["a.py"]


async def test_an_answer_that_was_cut_off_is_asked_for_again_shorter() -> None:
    result, model = await ask((findings(ONE, TWO)[:-30], "length"), findings(ONE))
    assert "cut off at the output limit" in model.requests[1].messages[-1].text
    assert "at most 10 findings" in model.requests[1].messages[-1].text
    assert result.title == "1 new finding (1 high)"


async def test_a_whole_answer_at_the_limit_is_taken() -> None:
    result, model = await ask((findings(ONE), "length"))
    assert len(model.requests) == 1
    assert len(posted(result)) == 1


@pytest.mark.parametrize(
    "error", [ModelUnavailable("No model answered."), UserError("The key is wrong.")]
)
async def test_without_a_model_the_review_is_neutral_with_the_reason(error: Exception) -> None:
    result, _ = await ask(error)
    assert result.status == "completed"
    assert result.conclusion is Conclusion.NEUTRAL
    assert result.title == str(error).rstrip(".")
    assert [item.path for item in result.coverage.unseen] == ["a.py", "b.py"]


@pytest.mark.parametrize("error", [Retryable("Busy.", retry_after=3.0), Ambiguous("Cut.")])
async def test_a_passing_fault_fails_the_task_so_that_it_is_tried_again(error: Exception) -> None:
    result, _ = await ask(error)
    assert result.status == "failed"
    assert result.failure
    assert result.failure.kind == "retry"
    assert result.usage.calls == 1


async def test_a_spent_budget_is_neutral_and_nothing_is_sent() -> None:
    result, model = await ask(findings(ONE), budget_usd=0.0001)
    assert model.requests == []
    assert result.conclusion is Conclusion.NEUTRAL
    assert result.title.startswith("The budget has 0.0001 USD left")
    reasons = {item.reason for item in result.coverage.unseen}
    assert reasons == {"the budget does not pay for showing it"}
    assert result.usage.cost_usd == 0


async def test_a_small_budget_buys_a_smaller_review_that_says_so() -> None:
    head = {f"m{n}.py": f"value_{n} = {n}\n" * 400 for n in range(10)}
    model = ScriptedModel(findings())
    result = await review(TreeReader({}, head), model, review_task(budget_usd=0.021))
    assert len(model.requests) == 1
    assert 0 < len(result.coverage.seen) < 10
    assert result.conclusion is Conclusion.NEUTRAL
    assert result.title.startswith(f"Looked at {len(result.coverage.seen)} of 10 files.")
    assert result.usage.cost_usd <= 0.021


async def test_a_repair_that_the_budget_does_not_pay_for_is_not_made() -> None:
    model = ScriptedModel(findings(ONE)[:-1], price=1.0)
    await review(TreeReader({}, HEAD), model)
    worst = model.worst_cost_usd(model.requests[0])
    result, model = await ask(findings(ONE)[:-1], budget_usd=worst)
    assert len(model.requests) == 1
    assert [finding.path for finding in posted(result)] == ["a.py"]
    assert result.conclusion is Conclusion.NEUTRAL


async def test_a_model_with_a_tiny_context_is_not_asked() -> None:
    model = ScriptedModel(findings(), context_tokens=1_000)
    result = await review(TreeReader({}, HEAD), model)
    assert model.requests == []
    assert result.title == "The model's context is too small for any changed file"
    assert result.conclusion is Conclusion.NEUTRAL


async def test_the_request_never_exceeds_the_models_context() -> None:
    head = {f"m{n}.py": f"value_{n} = {n}\n" * 900 for n in range(40)}
    model = ScriptedModel(findings(), context_tokens=20_000)
    result = await review(TreeReader({}, head), model)
    assert len(model.requests) == 4
    for request in model.requests:
        assert model.estimate_tokens(prompt_of(request)) + request.max_output_tokens <= 20_000
    assert result.coverage.total == 40
    assert result.coverage.unseen


BIG = {f"m{n}.py": f"value_{n} = {n}\n" * 900 for n in range(6)}


async def test_what_does_not_fit_into_one_request_goes_into_the_next() -> None:
    model = ScriptedModel(findings(proposal("m0.py", 1, "value_0 = 0")), context_tokens=30_000)
    result = await review(TreeReader({}, BIG), model)
    assert 1 < len(model.requests) <= 4
    assert result.coverage.seen == tuple(sorted(BIG))
    assert result.title == "1 new finding (1 high)"
    assert len(posted(result)) == 1
    prefixes = {(r.system[0].text, r.messages[0].parts[0].text) for r in model.requests}
    assert len(prefixes) == 1, "a provider can cache what never changes"


@pytest.mark.parametrize("trouble", [Retryable("Busy."), ModelUnavailable("Gone."), "nonsense"])
async def test_trouble_with_a_later_request_keeps_what_the_first_one_found(trouble: Answer) -> None:
    bugs = [proposal(path, 1, f"value_{n} = {n}") for n, path in enumerate(BIG)]
    model = ScriptedModel(findings(*bugs), trouble, context_tokens=30_000)
    result = await review(TreeReader({}, BIG), model)
    assert result.status == "completed"
    assert posted(result)
    assert 0 < len(result.coverage.seen) < len(BIG)
    assert result.coverage.total == len(BIG)
    assert result.conclusion is Conclusion.NEUTRAL


async def test_cancelling_a_review_cancels_the_model() -> None:
    model = HangingModel()
    agent = ReviewAgent()
    await agent.start()
    context = context_for(TreeReader({}, HEAD), model)
    running = asyncio.create_task(agent.execute_task(review_task(), context))
    await model.started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert model.cancelled == 1


def without_patch(listing: ChangedFiles, path: str) -> ChangedFiles:
    """The same listing after GitHub left one patch out."""
    changes = {"patch": None}
    files = (f.model_copy(update=changes) if f.path == path else f for f in listing.files)
    return ChangedFiles(files=tuple(files), complete=listing.complete)


# --- coverage ------------------------------------------------------------------------------------


async def test_ignored_files_are_named_and_not_shown() -> None:
    head = {**HEAD, "dist/app.js": "secret_marker()\n"}
    model = ScriptedModel(findings())
    result = await review(TreeReader({}, head), model, review_task(ignore=("dist/**",)))
    assert [item.path for item in result.coverage.ignored] == ["dist/app.js"]
    assert result.coverage.total == 2
    assert "secret_marker" not in model.prompt
    assert result.conclusion is Conclusion.SUCCESS


async def test_nothing_in_scope_is_neutral_and_costs_nothing() -> None:
    model = ScriptedModel(findings())
    result = await review(TreeReader({}, HEAD), model, review_task(ignore=("**",)))
    assert model.requests == []
    assert result.conclusion is Conclusion.NEUTRAL
    assert result.title == "Nothing to review: no changed file is in scope"


async def test_a_listing_that_stopped_early_is_never_success() -> None:
    listing = ChangedFiles(files=changed_files({}, HEAD).files, complete=False)
    result = await review(TreeReader({}, HEAD, listing), ScriptedModel(findings()))
    assert result.conclusion is Conclusion.NEUTRAL
    assert "GitHub did not list all files." in result.title


async def test_a_file_hidden_behind_a_huge_change_is_compared_and_reviewed() -> None:
    head = {**HEAD, "evil.py": "steal()\n"}
    listing = changed_files({}, head)
    bare = without_patch(listing, "evil.py")
    model = ScriptedModel(findings(proposal("evil.py", 1, "steal()")))
    source = TreeReader({}, head, bare)
    (finding,) = posted(await review(source, model))
    assert finding.path == "evil.py"
    assert not finding.in_diff


async def test_a_file_that_cannot_be_seen_is_said_first() -> None:
    listing = changed_files({}, {**HEAD, "evil.bin": "x\n"})
    bare = without_patch(listing, "evil.bin")
    source = TreeReader({}, HEAD, bare)
    source.unreadable = {"evil.bin": "binary"}
    result = await review(source, ScriptedModel(findings()))
    assert result.conclusion is Conclusion.NEUTRAL
    assert result.title == "Looked at 2 of 3 files. No findings"
    assert [(item.path, item.reason) for item in result.coverage.unseen] == [("evil.bin", "binary")]


words = st.text(alphabet="ab ()\n", max_size=30)
trees = st.dictionaries(st.sampled_from(["a.py", "b.go", "dist/c.js", "d.lock", "e"]), words)
answers = st.sampled_from(
    [
        findings(),
        findings(proposal("a.py", 1, "a")),
        "broken",
        ("no", "refusal"),
        findings(ONE)[:-1],
    ]
)


@given(trees, trees, answers, st.booleans(), st.floats(0, 0.02), st.booleans())
async def test_every_changed_file_has_exactly_one_state_and_success_means_all_seen(
    base: Tree, head: Tree, answer: Answer, complete: bool, budget_usd: float, bare: bool
) -> None:
    whole = changed_files(base, head).model_copy(update={"complete": complete})
    listing = without_patch(whole, "e") if bare else whole
    source = TreeReader(base, head, listing)
    task = review_task(change(), ignore=("dist/**",), budget_usd=budget_usd)
    result = await review(source, ScriptedModel(answer), task)
    coverage = result.coverage
    states = [*coverage.seen, *(item.path for item in named(coverage))]
    assert sorted(states) == sorted(file.path for file in listing.files)
    assert result.usage.cost_usd <= budget_usd
    if result.conclusion is Conclusion.SUCCESS:
        assert coverage.complete
        assert coverage.total
        assert not result.findings
    for effect in result.effects:
        assert isinstance(effect, SubmitReview)
        assert effect.head_sha == task.change.head_sha


def named(coverage: Coverage):
    return (*coverage.partial, *coverage.unseen, *coverage.ignored)
