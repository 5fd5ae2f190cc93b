"""No write reaches GitHub after the lease that it was done under."""

import pytest

from bot.github.gateway import GitHub
from bot.github.tokens import WRITE
from pipelines import fence
from pipelines.errors import LeaseLost
from pipelines.fence import Fence
from pipelines.ports import Lease, Message
from tests.support.clock import VirtualClock
from tests.support.github_stub import REPOSITORY, GitHubStub, Reply

COMMENTS = "/repos/octo/shop/issues/1/comments"


@pytest.fixture
def lease(clock: VirtualClock) -> Lease:
    message = Message(id="m", queue="effects", tenant="9/100", enqueued_at=clock.now())
    return Lease(message, expires_at=clock.monotonic() + 60)


async def test_a_write_beyond_the_lease_is_not_sent_and_a_read_is(
    stub: GitHubStub, gateway: GitHub, clock: VirtualClock, lease: Lease
) -> None:
    stub.on("POST", COMMENTS, Reply({"id": 1}))
    stub.on("GET", COMMENTS, Reply([]))
    client = gateway.client(REPOSITORY, WRITE)
    with fence.behind(Fence(lease, clock)):
        await client.post(COMMENTS, data={"body": "in time"})
        clock.leap(60)
        with pytest.raises(LeaseLost):
            await client.post(COMMENTS, data={"body": "too late"})
        await client.getitem(COMMENTS)
    assert [seen.json for seen in stub.calls("POST", COMMENTS)] == [{"body": "in time"}]
    assert len(stub.calls("GET", COMMENTS)) == 1


async def test_a_token_is_made_whatever_became_of_the_lease(
    stub: GitHubStub, gateway: GitHub, clock: VirtualClock, lease: Lease
) -> None:
    stub.on("GET", COMMENTS, Reply([]))
    clock.leap(60)
    with fence.behind(Fence(lease, clock)):
        await gateway.client(REPOSITORY, WRITE).getitem(COMMENTS)
    assert len(stub.calls("GET", COMMENTS)) == 1
