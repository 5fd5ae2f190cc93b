"""The scripted model: rules, order, failures, and files that are wrong."""

import asyncio
import json
from pathlib import Path

import pytest

from pipelines.errors import ModelUnavailable, Retryable, UserError
from pipelines.integrations.llm.base import BrokenAnswer
from pipelines.integrations.llm.mock import MockModel, load_script
from pipelines.integrations.llm.prices import price_table
from tests.support.clock import VirtualClock
from tests.unit.llm.conftest import request


def model(path: Path, clock: VirtualClock, *rules: object) -> MockModel:
    path = path / "script.jsonl"
    path.write_text("\n".join(json.dumps(rule) for rule in rules))
    return MockModel(str(path), load_script(path), clock=clock, prices=price_table())


async def test_one_script_serves_a_first_and_a_second_push(
    tmp_path: Path, clock: VirtualClock
) -> None:
    scripted = model(
        tmp_path,
        clock,
        {
            "purpose": "test",
            "contains": ["def total"],
            "lacks": ["if not items"],
            "replies": [{"json": {"findings": ["division by zero"]}}],
        },
        {"contains": ["def total"], "replies": [{"json": {"findings": []}}]},
    )
    first = await scripted.complete(request("def total(items): ..."))
    second = await scripted.complete(request("def total(items):\n  if not items: ..."))
    again = await scripted.complete(request("def total(items): ..."))
    assert json.loads(first.text) == {"findings": ["division by zero"]} == json.loads(again.text)
    assert json.loads(second.text) == {"findings": []}
    assert first.usage.cost_usd == 0
    assert first.usage.input_tokens > 0


async def test_replies_come_in_order_and_the_last_repeats(
    tmp_path: Path, clock: VirtualClock
) -> None:
    scripted = model(tmp_path, clock, {"replies": [{"text": "1"}, {"text": "2"}]})
    said = [(await scripted.complete(request())).text for _ in range(4)]
    assert said == ["1", "2", "2", "2"]


async def test_a_rule_with_times_is_used_up_and_the_next_one_takes_over(
    tmp_path: Path, clock: VirtualClock
) -> None:
    scripted = model(
        tmp_path,
        clock,
        {"times": 1, "replies": [{"status": 529, "retry_after": 4}]},
        {"replies": [{"text": "back", "stop": "length"}]},
    )
    with pytest.raises(Retryable) as caught:
        await scripted.complete(request())
    assert caught.value.retry_after == 4
    response = await scripted.complete(request())
    assert (response.text, response.stop) == ("back", "length")


async def test_a_reply_can_break_off_and_can_take_its_time(
    tmp_path: Path, clock: VirtualClock
) -> None:
    scripted = model(tmp_path, clock, {"replies": [{"broken": True, "delay": 2}]})
    call = asyncio.ensure_future(scripted.complete(request()))
    await clock.settle()
    assert not call.done()
    await clock.advance(2)
    with pytest.raises(BrokenAnswer):
        await call


async def test_the_purpose_must_be_equal(tmp_path: Path, clock: VirtualClock) -> None:
    scripted = model(tmp_path, clock, {"purpose": "review.repair", "replies": [{"text": "x"}]})
    with pytest.raises(ModelUnavailable, match=r"purpose 'test'.*add one to the file"):
        await scripted.complete(request())


async def test_a_script_may_be_one_object(tmp_path: Path, clock: VirtualClock) -> None:
    path = tmp_path / "script.json"
    path.write_text(json.dumps({"rules": [{"replies": [{"json": None}]}]}, indent=2))
    scripted = MockModel("s", load_script(path), clock=clock, prices=price_table())
    assert (await scripted.complete(request())).text == "null"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "at rules"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"rules": []}', "at rules"),
        (b'{"replies": []}', "at rules.0.replies"),
        (b'{"replies": [{}]}', "exactly one"),
        (b'{"replies": [{"text": "a", "status": 500}]}', "exactly one"),
        (b'{"replies": [{"status": 200}]}', "at rules.0.replies.0.status"),
        (b'{"contians": ["x"], "replies": [{"text": "a"}]}', "at rules.0.contians"),
        (b"5", "at rules.0"),
    ],
)
def test_a_wrong_script_is_one_sentence(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=told) as caught:
        load_script(path)
    assert "\n" not in str(caught.value)


def test_a_missing_script_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.json cannot be read"):
        load_script(tmp_path / "nowhere.json")


def test_a_device_or_folder_is_no_script(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/zero")):
        with pytest.raises(UserError, match="not a regular file"):
            load_script(path)
