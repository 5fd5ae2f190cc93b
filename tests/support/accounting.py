"""The books: what was accepted has come to exactly one end, and nothing is in between."""

from collections import Counter
from collections.abc import Collection

from bot.deliveries.delivery import Delivery, DeliveryStatus
from pipelines.orchestration.bus.dead import dead_key
from pipelines.stores.backend import StorageBackend


async def deliveries(store: StorageBackend) -> dict[str, Delivery]:
    """Every delivery on record, by its GUID."""
    return {
        delivery.guid: delivery
        async for _, record in store.scan("delivery/")
        for delivery in [Delivery.model_validate_json(record.value)]
    }


async def assert_balanced(
    store: StorageBackend, *, accepted: Collection[str] = ()
) -> Counter[DeliveryStatus]:
    """Assert accepted = done + failed + dead + ignored + superseded, and return the numbers.

    ``accepted`` are GUIDs for which somebody was told that the delivery is stored. Call it when
    everything has come to rest: no delivery may be under way.
    """
    found = await deliveries(store)
    lost = set(accepted) - set(found)
    assert not lost, f"accepted, and then no record of it: {sorted(lost)}"
    under_way = [one.guid for one in found.values() if one.status is DeliveryStatus.ACCEPTED]
    assert not under_way, f"accepted, and never brought to an end: {under_way}"
    endless = [one.guid for one in found.values() if one.finished_at is None]
    assert not endless, f"ended, and nobody knows when: {endless}"
    waiting = {message.id for message in await store.messages()}
    twice = [one for one in found if f"delivery/{one}" in waiting]
    assert not twice, f"ended, and still in the queue: {twice}"
    dead = [one.guid for one in found.values() if one.status is DeliveryStatus.DEAD]
    letters = await store.get_many([dead_key(f"delivery/{guid}") for guid in dead])
    assert len(letters) == len(dead), f"dead without a letter: {dead}"
    return Counter(one.status for one in found.values())
