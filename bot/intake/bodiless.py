"""A message whose delivery cannot be read any more still comes to an end that is on record."""

from bot.deliveries.delivery import Delivery, DeliveryStatus, delivery_key
from bot.deliveries.inbox import REMEMBERED_SECONDS
from pipelines.ports import Clock, Lease, Write
from pipelines.stores.backend import StorageBackend

GONE = "What was delivered is no longer stored."


async def ended(store: StorageBackend, lease: Lease, clock: Clock) -> tuple[Write, ...]:
    """Return what says that the delivery failed; nothing if there is no record of it either."""
    place = delivery_key(str(lease.message.body.get("guid")))
    record = await store.get(place)
    if record is None:
        return ()
    told = {"status": DeliveryStatus.FAILED, "reason": GONE, "finished_at": clock.now()}
    delivery = Delivery.model_validate_json(record.value)
    if delivery.status not in (DeliveryStatus.ACCEPTED, DeliveryStatus.DEAD):
        return ()
    value = delivery.model_copy(update=told).model_dump_json().encode()
    return (Write(place, value, expect=record.version, ttl=REMEMBERED_SECONDS),)
