"""Nothing is sent that the budget could not pay for, and every call is counted."""

import asyncio

import pytest

from pipelines.agents.budget import MeteredModel
from pipelines.errors import Ambiguous, BudgetExceeded, Retryable
from pipelines.integrations.llm.base import BrokenAnswer, ChatMessage, ModelRequest, Part
from pipelines.model import Usage
from tests.support.models import Answer, HangingModel, ScriptedModel

ASK = ModelRequest(
    purpose="test",
    system=(),
    messages=(ChatMessage(role="user", parts=(Part(text="x" * 4000),)),),
    max_output_tokens=1000,
)
WORST = ScriptedModel(price=1000.0).worst_cost_usd(ASK)


def metered(budget_usd: float, *answers: Answer) -> tuple[MeteredModel, ScriptedModel]:
    model = ScriptedModel(*answers, price=1000.0)
    return MeteredModel(model, budget_usd), model


async def test_a_call_that_could_cost_too_much_is_not_made() -> None:
    meter, model = metered(WORST * 0.99, "short")
    assert not meter.affords(ASK)
    with pytest.raises(BudgetExceeded) as caught:
        await meter.complete(ASK)
    assert caught.value.left_usd == pytest.approx(WORST * 0.99)
    assert caught.value.needed_usd == pytest.approx(WORST)
    assert model.requests == []
    assert meter.usage.calls == 0


async def test_what_was_not_used_of_the_worst_case_is_left_for_the_next_call() -> None:
    meter, model = metered(WORST * 1.9, "short")
    await meter.complete(ASK)
    spent = meter.usage.cost_usd
    assert 0 < spent < WORST * 0.9
    assert meter.left_usd == pytest.approx(WORST * 1.9 - spent)
    while meter.affords(ASK):
        await meter.complete(ASK)
    with pytest.raises(BudgetExceeded):
        await meter.complete(ASK)
    assert meter.usage.cost_usd <= WORST * 1.9
    assert meter.usage.calls == len(model.requests)


async def test_the_tally_has_the_call_under_way_at_its_worst_and_then_at_its_cost() -> None:
    told: list[Usage] = []
    model = ScriptedModel("short", Retryable("Busy."), Ambiguous("Cut."), price=1000.0)
    meter = MeteredModel(model, WORST * 9, told.append)
    spent = (await meter.complete(ASK)).usage.cost_usd
    for _ in range(2):
        with pytest.raises(Retryable):
            await meter.complete(ASK)
    costs = [WORST, spent, spent + WORST, spent, spent + WORST, spent + WORST]
    assert [usage.cost_usd for usage in told] == pytest.approx(costs)
    assert [usage.calls for usage in told] == [1, 1, 2, 2, 3, 3]


async def test_a_call_that_is_cancelled_stays_in_the_tally_at_its_worst() -> None:
    told: list[Usage] = []
    model = HangingModel()
    call = asyncio.create_task(MeteredModel(model, 99.0, told.append).complete(ASK))
    await model.started.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    worst = model.worst_cost_usd(ASK)
    assert [usage.cost_usd for usage in told] == pytest.approx([worst, worst])


async def test_a_refused_call_costs_nothing_a_broken_one_its_worst() -> None:
    meter, _ = metered(WORST * 5, Retryable("Busy."), Ambiguous("Broken off."))
    with pytest.raises(Retryable):
        await meter.complete(ASK)
    assert meter.usage.cost_usd == 0
    with pytest.raises(Ambiguous):
        await meter.complete(ASK)
    assert meter.usage.cost_usd == pytest.approx(WORST)
    assert meter.usage.calls == 2


async def test_what_a_broken_answer_is_known_to_have_cost_is_what_is_charged() -> None:
    usage = Usage(calls=2, output_tokens=3, cost_usd=WORST / 4)
    meter, _ = metered(WORST * 5, BrokenAnswer("Cut.", dependency="x", usage=usage))
    with pytest.raises(BrokenAnswer):
        await meter.complete(ASK)
    assert meter.usage == usage


async def test_a_free_model_works_without_a_budget() -> None:
    meter = MeteredModel(ScriptedModel("hi", price=0.0), 0.0)
    assert (await meter.complete(ASK)).text == "hi"
    assert meter.context_tokens == 200_000
