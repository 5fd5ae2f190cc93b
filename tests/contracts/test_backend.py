"""Every sentence of StorageBackend's docstrings, on every implementation."""

import asyncio

import pytest

from pipelines.errors import Conflict, LeaseLost, NotStored
from pipelines.ports import ABSENT, Append, Batch, Versioned, Write
from pipelines.stores.backend import MAX_KEY, StorageBackend
from tests.contracts.conftest import Stores
from tests.contracts.make import append, create, delete, lease, message, put
from tests.support.clock import VirtualClock


async def keys(backend: StorageBackend, prefix: str, after: str = "") -> list[str]:
    return [key async for key, _ in backend.scan(prefix, after=after)]


# --- records -------------------------------------------------------------------------------------


async def test_a_record_comes_back_as_it_was_stored(backend: StorageBackend) -> None:
    value = bytes(range(256))
    await backend.commit(put("run/1/2/a", value))
    assert await backend.get("run/1/2/a") == Versioned(value, 1)


async def test_an_empty_value_is_a_record(backend: StorageBackend) -> None:
    await backend.commit(put("a", b""))
    assert await backend.get("a") == Versioned(b"", 1)


async def test_the_largest_bodies_are_stored_side_by_side(backend: StorageBackend) -> None:
    """GitHub sends up to 25 MB (https://docs.github.com/webhooks)."""
    bodies = [bytes([n]) * 25_000_000 for n in (1, 2)]
    batches = [put(f"body/{n}", body) for n, body in enumerate(bodies)]
    await asyncio.gather(*map(backend.commit, batches))
    async for key, record in backend.scan("body/"):
        assert record.value == bodies[int(key[-1])]
    assert len(await keys(backend, "body/")) == 2


async def test_there_is_no_record_that_nobody_wrote(backend: StorageBackend) -> None:
    assert await backend.get("a") is None


async def test_versions_start_at_one_and_grow_by_one_a_write(backend: StorageBackend) -> None:
    for version in (1, 2, 3):
        await backend.commit(put("a", b"x"))
        assert await backend.get("a") == Versioned(b"x", version)


async def test_a_deleted_record_is_gone_and_starts_anew(backend: StorageBackend) -> None:
    await backend.commit(put("a", b"1"))
    await backend.commit(delete("a", expect=1))
    assert await backend.get("a") is None
    await backend.commit(create("a", b"2"))
    assert await backend.get("a") == Versioned(b"2", 1)


async def test_deleting_what_is_not_there_changes_nothing(backend: StorageBackend) -> None:
    await backend.commit(delete("a"))
    assert await backend.get("a") is None


async def test_many_are_read_at_once_and_missing_ones_left_out(backend: StorageBackend) -> None:
    await backend.commit(Batch(writes=[Write("a", b"1"), Write("c", b"3")]))
    found = await backend.get_many(["a", "b", "c"])
    assert dict(found) == {"a": Versioned(b"1", 1), "c": Versioned(b"3", 1)}
    assert await backend.get_many([]) == {}


async def test_more_than_a_thousand_are_read_at_once(backend: StorageBackend) -> None:
    names = [f"k/{n}" for n in range(1500)]
    await backend.commit(Batch(writes=[Write(name, b"x") for name in names]))
    assert set(await backend.get_many(names)) == set(names)


@pytest.mark.parametrize("key", ["", "a b", "é", "a\nb", "a\0", "x" * (MAX_KEY + 1)])
async def test_a_key_that_cannot_be_is_the_callers_mistake(
    backend: StorageBackend, key: str
) -> None:
    with pytest.raises(ValueError, match="a key is"):
        await backend.get(key)
    with pytest.raises(ValueError, match="a key is"):
        await backend.get_many([key])
    with pytest.raises(ValueError, match="a key is"):
        await backend.read_log(key)
    for batch in (put(key, b""), append(key, b"")):
        with pytest.raises(ValueError, match="a key is"):
            await backend.commit(batch)


async def test_the_longest_key_is_stored(backend: StorageBackend) -> None:
    await backend.commit(put("x" * MAX_KEY, b"1"))
    assert await backend.get("x" * MAX_KEY) == Versioned(b"1", 1)


# --- compare and set -----------------------------------------------------------------------------


async def test_a_write_that_expects_another_version_conflicts(backend: StorageBackend) -> None:
    await backend.commit(put("a", b"1"))
    await backend.commit(put("a", b"2", expect=1))
    with pytest.raises(Conflict) as caught:
        await backend.commit(put("a", b"3", expect=1))
    assert (caught.value.key, caught.value.expected, caught.value.actual) == ("a", 1, 2)
    assert await backend.get("a") == Versioned(b"2", 2)


async def test_creating_what_exists_conflicts(backend: StorageBackend) -> None:
    await backend.commit(create("a", b"1"))
    with pytest.raises(Conflict) as caught:
        await backend.commit(create("a", b"2"))
    assert (caught.value.expected, caught.value.actual) == (0, 1)


async def test_deleting_or_changing_what_is_gone_conflicts(backend: StorageBackend) -> None:
    for batch in (delete("a", expect=1), put("a", b"", expect=1)):
        with pytest.raises(Conflict) as caught:
            await backend.commit(batch)
        assert caught.value.actual == 0


async def test_sixty_four_lanes_of_increments_lose_nothing(backend: StorageBackend) -> None:
    async def increment() -> None:
        while True:
            record = await backend.get("counter")
            count, version = (int(record.value), record.version) if record else (0, 0)
            try:
                await backend.commit(put("counter", b"%d" % (count + 1), expect=version))
            except Conflict:
                continue
            return

    await asyncio.gather(*(increment() for _ in range(64)))
    assert await backend.get("counter") == Versioned(b"64", 64)


# --- atomicity -----------------------------------------------------------------------------------


async def test_that_a_record_is_absent_is_checked_by_deleting_it(backend: StorageBackend) -> None:
    absent = Write("pause", None, expect=ABSENT)
    await backend.commit(Batch(writes=[absent, Write("a", b"1")]))
    assert await backend.get("pause") is None
    await backend.commit(put("pause", b"1"))
    with pytest.raises(Conflict):
        await backend.commit(Batch(writes=[absent, Write("a", b"2")]))
    found = await backend.get_many(["a", "pause"])
    assert {key: record.value for key, record in found.items()} == {"a": b"1", "pause": b"1"}


async def test_a_batch_with_one_bad_expectation_changes_nothing(backend: StorageBackend) -> None:
    held = message("m", attempts=1)
    await backend.commit(
        Batch(writes=[Write("a", b"1")], messages=[held], appends=[Append("log", b"1")])
    )
    with pytest.raises(Conflict):
        await backend.commit(
            Batch(
                writes=[Write("a", None), Write("b", b"2"), Write("c", b"3", expect=7)],
                appends=[Append("log", b"2")],
                messages=[message("n")],
                settled=[lease(held)],
            )
        )
    assert await keys(backend, "") == ["a"]
    assert await backend.messages() == [held]
    assert await backend.read_log("log") == [(1, b"1")]


async def test_a_batch_with_a_lost_lease_changes_nothing(backend: StorageBackend) -> None:
    await backend.commit(Batch(messages=[message("m", attempts=2)]))
    with pytest.raises(LeaseLost) as caught:
        await backend.commit(
            Batch(writes=[Write("a", b"1")], settled=[lease(message("m", attempts=1))])
        )
    assert caught.value.message_id == "m"
    assert await backend.get("a") is None
    assert await backend.messages() == [message("m", attempts=2)]


async def test_a_bad_batch_does_not_fail_those_committed_beside_it(
    backend: StorageBackend,
) -> None:
    await backend.commit(put("taken", b"1"))
    batches = [create("taken", b"2") if n % 3 == 0 else create(f"k/{n}", b"1") for n in range(30)]
    outcomes = await asyncio.gather(*map(backend.commit, batches), return_exceptions=True)
    for n, outcome in enumerate(outcomes):
        assert isinstance(outcome, Conflict) if n % 3 == 0 else outcome is None
    assert len(await keys(backend, "k/")) == 20


async def test_commits_happen_in_the_order_in_which_they_were_asked_for(
    backend: StorageBackend,
) -> None:
    await asyncio.gather(*(backend.commit(put("a", b"%d" % n)) for n in range(50)))
    assert await backend.get("a") == Versioned(b"49", 50)


async def test_an_empty_batch_is_stored_without_effect(backend: StorageBackend) -> None:
    await backend.commit(Batch())
    assert await keys(backend, "") == []


@pytest.mark.parametrize(
    "batch",
    [
        Batch(writes=[Write("a", b"1"), Write("a", b"2")]),
        Batch(messages=[message("m"), message("m")]),
        Batch(messages=[message("\ud800")]),
        Batch(settled=[lease(message("m")), lease(message("m"))]),
        put("a", b"", expect=-1),
        put("a", b"", ttl=0),
        put("a", b"", ttl=float("nan")),
        append("log", b"", keep=0),
    ],
)
async def test_a_batch_without_a_meaning_is_the_callers_mistake(
    backend: StorageBackend, batch: Batch
) -> None:
    with pytest.raises(ValueError):
        await backend.commit(batch)
    assert await keys(backend, "") == []
    assert await backend.messages() == []


# --- expiry --------------------------------------------------------------------------------------


async def test_a_record_expires_when_its_time_has_passed(
    backend: StorageBackend, clock: VirtualClock
) -> None:
    await backend.commit(put("a", b"1", ttl=10))
    await backend.commit(put("b", b"1"))
    await clock.advance(9.9)
    assert await backend.get("a") is not None
    await clock.advance(0.1)
    assert await backend.get("a") is None
    assert set(await backend.get_many(["a", "b"])) == {"b"}
    assert await keys(backend, "") == ["b"]


async def test_an_expired_record_counts_as_absent(
    backend: StorageBackend, clock: VirtualClock
) -> None:
    await backend.commit(put("a", b"1", ttl=10))
    await clock.advance(11)
    with pytest.raises(Conflict):
        await backend.commit(put("a", b"2", expect=1))
    await backend.commit(create("a", b"2"))
    assert await backend.get("a") == Versioned(b"2", 1)


async def test_each_write_sets_the_time_to_live_anew(
    backend: StorageBackend, clock: VirtualClock
) -> None:
    await backend.commit(put("kept", b"1", ttl=10))
    await backend.commit(put("kept", b"2"))
    await backend.commit(put("shortened", b"1"))
    await backend.commit(put("shortened", b"2", ttl=5))
    await clock.advance(10)
    assert await keys(backend, "") == ["kept"]


async def test_sweeping_deletes_what_expired_and_says_how_much(
    backend: StorageBackend, clock: VirtualClock
) -> None:
    await backend.commit(Batch(writes=[Write(f"old/{n}", b"", ttl=1) for n in range(250)]))
    await backend.commit(Batch(writes=[Write("new", b"", ttl=100), Write("ever", b"")]))
    await clock.advance(2)
    assert await backend.sweep() == 250
    assert await backend.sweep() == 0
    assert await keys(backend, "") == ["ever", "new"]


# --- scan ----------------------------------------------------------------------------------------


async def test_a_scan_yields_one_prefix_in_key_order(backend: StorageBackend) -> None:
    names = [f"b/{n:04}" for n in range(350)]
    await backend.commit(Batch(writes=[Write(k, b"x") for k in reversed(names)]))
    await backend.commit(Batch(writes=[Write("a/9", b""), Write("b", b""), Write("c/0", b"")]))
    assert await keys(backend, "b/") == names
    assert await keys(backend, "b/", after="b/0300") == names[301:]
    assert await keys(backend, "b/", after="a") == names
    assert await keys(backend, "b/", after="c") == []


async def test_a_prefix_is_taken_literally(backend: StorageBackend) -> None:
    await backend.commit(Batch(writes=[Write(k, b"") for k in ("a%b", "a_b", "aXb", "a~z", "A%b")]))
    assert await keys(backend, "a%") == ["a%b"]
    assert await keys(backend, "a_") == ["a_b"]
    assert await keys(backend, "a") == ["a%b", "aXb", "a_b", "a~z"]


async def test_a_scan_survives_changes_under_it(backend: StorageBackend) -> None:
    names = [f"k/{n:04}" for n in range(300)]
    await backend.commit(Batch(writes=[Write(key, b"old") for key in names]))
    seen: list[str] = []
    async for key, record in backend.scan("k/"):
        assert record.value in (b"old", b"new")
        if not seen:
            await backend.commit(
                Batch(writes=[Write("k/0250", b"new"), Write("k/0299", None), Write("k/9", b"new")])
            )
        seen.append(key)
    assert len(set(seen)) == len(seen)
    assert set(names) - {"k/0299"} <= set(seen)


# --- logs ----------------------------------------------------------------------------------------


async def test_a_log_numbers_its_items_from_one(backend: StorageBackend) -> None:
    await backend.commit(append("log", b"a", b"b"))
    await backend.commit(append("log", b"c"))
    await backend.commit(append("other", b"z"))
    assert await backend.read_log("log") == [(1, b"a"), (2, b"b"), (3, b"c")]
    assert await backend.read_log("log", after=1, limit=1) == [(2, b"b")]
    assert await backend.read_log("log", after=3) == []
    assert await backend.read_log("nobody") == []


async def test_a_log_keeps_its_newest_items_and_repeats_no_number(
    backend: StorageBackend,
) -> None:
    for n in range(10):
        await backend.commit(append("log", b"%d" % n, keep=3))
    assert await backend.read_log("log") == [(8, b"7"), (9, b"8"), (10, b"9")]
    await backend.commit(append("log", b"last", keep=1))
    assert await backend.read_log("log") == [(11, b"last")]


async def test_a_log_is_no_record(backend: StorageBackend) -> None:
    await backend.commit(append("a", b"item"))
    assert await backend.get("a") is None
    assert await keys(backend, "") == []


# --- messages ------------------------------------------------------------------------------------


async def test_messages_come_back_whole_and_in_order(stores: Stores) -> None:
    backend = stores.open()
    sent = [
        message("b", body={"title": "ünï 🚀", "n": [1, 2.5, None, {"x": True}]}),
        message("a", priority=0, not_before=stores.clock.now()),
        message("c", body={"half a pair": "\ud800"}, tenant="2/3"),
    ]
    for item in sent:
        await backend.commit(Batch(messages=[item]))
    assert await (await stores.reopen(backend)).messages() == sent


async def test_putting_a_message_again_replaces_it_in_its_place(backend: StorageBackend) -> None:
    await backend.commit(Batch(messages=[message("a"), message("b")]))
    again = message("a", body={"new": True}, attempts=3)
    await backend.commit(Batch(messages=[again]))
    assert await backend.messages() == [again, message("b")]


async def test_a_settled_message_vanishes(backend: StorageBackend) -> None:
    await backend.commit(Batch(messages=[message("a", attempts=1), message("b")]))
    await backend.commit(Batch(settled=[lease(message("a", attempts=1))]))
    assert await backend.messages() == [message("b")]
    with pytest.raises(LeaseLost):
        await backend.commit(Batch(settled=[lease(message("a", attempts=1))]))


@pytest.mark.parametrize("token", [1, 3])
async def test_only_the_current_token_settles(backend: StorageBackend, token: int) -> None:
    await backend.commit(Batch(messages=[message("a", attempts=2)]))
    with pytest.raises(LeaseLost):
        await backend.commit(Batch(settled=[lease(message("a", attempts=token))]))
    assert await backend.messages() == [message("a", attempts=2)]


async def test_a_message_may_be_settled_and_sent_anew_in_one_batch(
    backend: StorageBackend,
) -> None:
    await backend.commit(Batch(messages=[message("a", attempts=1), message("b")]))
    await backend.commit(
        Batch(settled=[lease(message("a", attempts=1))], messages=[message("a", body={"n": 2})])
    )
    assert await backend.messages() == [message("b"), message("a", body={"n": 2})]


# --- life ----------------------------------------------------------------------------------------


async def test_everything_is_there_after_a_restart(stores: Stores) -> None:
    backend = stores.open()
    await backend.commit(
        Batch(
            writes=[Write("a", b"1"), Write("b", b"2", ttl=5)],
            appends=[Append("log", b"x")],
            messages=[message("m", attempts=4)],
        )
    )
    await backend.commit(put("a", b"2"))
    backend = await stores.reopen(backend)
    assert await backend.get("a") == Versioned(b"2", 2)
    assert await backend.read_log("log") == [(1, b"x")]
    assert await backend.messages() == [message("m", attempts=4)]
    await stores.clock.advance(6)
    assert await backend.get("b") is None


async def test_a_ping_returns_when_a_write_would_be_accepted(backend: StorageBackend) -> None:
    await backend.ping()
    await backend.ping()
    assert await keys(backend, "") == []


async def test_closing_finishes_what_was_accepted(stores: Stores) -> None:
    backend = stores.open()
    commits = [asyncio.create_task(backend.commit(put(f"k/{n}", b""))) for n in range(100)]
    await asyncio.sleep(0)
    backend = await stores.reopen(backend)
    await asyncio.gather(*commits)
    assert len(await keys(backend, "k/")) == 100


async def test_a_closed_store_says_so_and_closes_twice(backend: StorageBackend) -> None:
    await backend.close()
    await backend.close()
    with pytest.raises(NotStored, match="closed"):
        await backend.commit(put("a", b""))
    with pytest.raises(NotStored, match="closed"):
        await backend.get("a")
    with pytest.raises(NotStored, match="closed"):
        await backend.get_many(["a"])
    with pytest.raises(NotStored, match="closed"):
        await keys(backend, "")
    with pytest.raises(NotStored, match="closed"):
        await backend.read_log("a")
    with pytest.raises(NotStored, match="closed"):
        await backend.messages()
    with pytest.raises(NotStored, match="closed"):
        await backend.sweep()
    with pytest.raises(NotStored, match="closed"):
        await backend.ping()


async def test_a_cancelled_caller_leaves_the_store_whole(backend: StorageBackend) -> None:
    both = Batch(writes=[Write("a", b""), Write("b", b"")])
    task = asyncio.create_task(backend.commit(both))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await backend.commit(put("c", b""))
    assert await keys(backend, "") in (["c"], ["a", "b", "c"])
