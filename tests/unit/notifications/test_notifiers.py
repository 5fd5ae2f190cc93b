"""Several channels: one that fails loses nothing for the others."""

import pytest

from pipelines.errors import Retryable, UserError
from pipelines.integrations.notifications.base import Notifier
from pipelines.integrations.notifications.mock import MockNotifier
from pipelines.integrations.notifications.notifiers import Notifiers
from pipelines.model import Notify

NOTICE = Notify(title="hello", occasion="o")


class Failing(Notifier):
    """Fails as often as there are errors, then takes it."""

    name = "failing"

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.sent: list[Notify] = []
        self.closed = False

    async def send(self, notification: Notify) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.sent.append(notification)

    async def close(self) -> None:
        self.closed = True
        raise OSError("already gone")


async def test_everybody_is_told() -> None:
    first, second = MockNotifier(), MockNotifier()
    await Notifiers([first, second]).send(NOTICE)
    assert first.sent == second.sent == [NOTICE]


async def test_a_repeat_goes_only_to_those_that_were_not_told() -> None:
    well, ill = MockNotifier(), Failing(Retryable("later", retry_after=3.0))
    channels = Notifiers([ill, well])
    with pytest.raises(Retryable, match="later"):
        await channels.send(NOTICE)
    assert well.sent == [NOTICE]
    await channels.send(NOTICE)
    assert well.sent == ill.sent == [NOTICE]


async def test_a_refusal_does_not_matter_while_somebody_was_told() -> None:
    well, ill = MockNotifier(), Failing(UserError("no such channel"))
    await Notifiers([ill, well]).send(NOTICE)
    assert well.sent == [NOTICE]


async def test_a_refusal_by_all_is_an_error() -> None:
    with pytest.raises(UserError, match="no such channel"):
        await Notifiers([Failing(UserError("no such channel"))]).send(NOTICE)


async def test_our_own_fault_in_one_channel_passes_after_the_others_were_told() -> None:
    well = MockNotifier()
    with pytest.raises(ZeroDivisionError):
        await Notifiers([Failing(ZeroDivisionError()), well]).send(NOTICE)
    assert well.sent == [NOTICE]


async def test_no_channels_are_fine() -> None:
    channels = Notifiers([])
    await channels.send(NOTICE)
    await channels.close()


async def test_all_are_closed_whatever_one_says() -> None:
    one, other = Failing(), Failing()
    await Notifiers([one, other]).close()
    assert one.closed
    assert other.closed


async def test_what_was_told_is_remembered_only_for_the_newest() -> None:
    channel = MockNotifier()
    channels = Notifiers([channel])
    for number in range(1_002):
        await channels.send(Notify(title="hello", occasion=str(number)))
    await channels.send(Notify(title="hello", occasion="1001"))
    assert len(channel.sent) == 1_002
    await channels.send(Notify(title="hello", occasion="0"))
    assert len(channel.sent) == 1_003
