"""The chain: order, what moves it on, what it costs, what it records."""

import asyncio

import pytest

from pipelines.errors import ModelUnavailable, Retryable, UserError
from pipelines.integrations.llm.base import BrokenAnswer
from pipelines.integrations.llm.chain import CallRecord, ModelChain
from pipelines.integrations.llm.mock import MockModel, Script
from pipelines.integrations.llm.prices import price_table
from tests.support.clock import VirtualClock
from tests.unit.llm.conftest import request


def scripted(clock: VirtualClock, name: str, *replies: dict[str, object]) -> MockModel:
    script = Script.model_validate({"rules": [{"replies": list(replies)}]})
    return MockModel(name, script, clock=clock, prices=price_table())


def chain(
    clock: VirtualClock, *models: MockModel, records: list[CallRecord] | None = None
) -> ModelChain:
    recorder = records.append if records is not None else None
    return ModelChain(models, clock=clock, recorder=recorder)


async def test_the_first_model_answers_and_the_second_is_not_asked(clock: VirtualClock) -> None:
    records: list[CallRecord] = []
    first, second = scripted(clock, "a", {"text": "one"}), scripted(clock, "b", {"text": "two"})
    response = await chain(clock, first, second, records=records).complete(request())
    assert (response.text, response.model) == ("one", "mock:a")
    assert [record.model for record in records] == ["mock:a"]


@pytest.mark.parametrize("failure", [{"status": 529}, {"status": 429}, {"status": 402}])
async def test_a_model_that_cannot_serve_is_passed_over(
    clock: VirtualClock, failure: dict[str, object]
) -> None:
    records: list[CallRecord] = []
    models = scripted(clock, "a", failure), scripted(clock, "b", {"text": "two"})
    response = await chain(clock, *models, records=records).complete(request())
    assert response.text == "two"
    assert [(record.model, record.ok) for record in records] == [
        ("mock:a", False),
        ("mock:b", True),
    ]
    assert records[0].error in ("passing", "unavailable")


async def test_what_a_broken_answer_cost_is_in_the_usage_of_the_next(clock: VirtualClock) -> None:
    models = scripted(clock, "a", {"broken": True}), scripted(clock, "b", {"text": "two"})
    usage = (await chain(clock, *models).complete(request())).usage
    assert usage.calls == 2
    assert usage.models == ("mock:a", "mock:b")


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_what_somebody_must_mend_ends_the_chain(clock: VirtualClock, status: int) -> None:
    models = scripted(clock, "a", {"status": status}), scripted(clock, "b", {"text": "two"})
    with pytest.raises(UserError):
        await chain(clock, *models).complete(request())


async def test_when_all_are_busy_the_shortest_wait_is_kept(clock: VirtualClock) -> None:
    models = (
        scripted(clock, "a", {"status": 429, "retry_after": 30}),
        scripted(clock, "b", {"status": 529, "retry_after": 5}),
    )
    with pytest.raises(Retryable) as caught:
        await chain(clock, *models).complete(request())
    assert caught.value.retry_after == 5
    assert caught.value.dependency == "mock"
    assert not isinstance(caught.value, BrokenAnswer)


async def test_when_all_fail_after_one_broke_off_the_cost_is_in_the_error(
    clock: VirtualClock,
) -> None:
    models = scripted(clock, "a", {"broken": True}), scripted(clock, "b", {"status": 503})
    with pytest.raises(BrokenAnswer) as caught:
        await chain(clock, *models).complete(request())
    assert caught.value.usage.calls == 1


async def test_no_model_that_can_be_expected_back_is_model_unavailable(
    clock: VirtualClock,
) -> None:
    with pytest.raises(ModelUnavailable, match="billing"):
        await chain(clock, scripted(clock, "a", {"status": 402})).complete(request())


def test_an_empty_chain_is_a_mistake_of_the_caller(clock: VirtualClock) -> None:
    with pytest.raises(ValueError, match="at least one"):
        chain(clock)


async def test_each_call_is_recorded_with_latency_and_purpose(clock: VirtualClock) -> None:
    records: list[CallRecord] = []
    model = scripted(clock, "a", {"text": "slow", "delay": 3})
    call = asyncio.ensure_future(chain(clock, model, records=records).complete(request()))
    await clock.settle()
    await clock.advance(3)
    await call
    (record,) = records
    assert (record.ok, record.purpose, record.latency_seconds) == (True, "test", 3.0)
    assert record.usage.output_tokens > 0


async def test_a_cancelled_call_is_recorded_too(clock: VirtualClock) -> None:
    records: list[CallRecord] = []
    model = scripted(clock, "a", {"text": "never", "delay": 3})
    call = asyncio.ensure_future(chain(clock, model, records=records).complete(request()))
    await clock.settle()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert [(record.ok, record.error) for record in records] == [(False, "cancelled")]


def test_limits_and_costs_hold_for_whichever_model_answers(clock: VirtualClock) -> None:
    one, two = scripted(clock, "a", {"text": "x"}), scripted(clock, "b", {"text": "x"})
    both = chain(clock, one, two)
    assert both.context_tokens == one.context_tokens
    assert both.estimate_tokens("some text") == one.estimate_tokens("some text")
    assert both.worst_cost_usd(request()) == 0
    assert both.name == "mock:a,mock:b"
