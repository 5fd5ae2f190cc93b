"""From a delivery to runs, reviews and checks: the whole inside, on memory and on SQLite."""

import itertools
from datetime import timedelta

import pytest

from bot.deliveries.delivery import DeliveryStatus
from pipelines.errors import Dropped, Parked, Retryable
from pipelines.model import Conclusion, WorkflowRun
from pipelines.orchestration.bus.dead import DeadLetters
from pipelines.orchestration.dispatch import MAX_CLAIMS
from tests.support.clock import VirtualClock
from tests.support.forge import Forge, Pull, sha
from tests.support.world import World

BROKEN = "version: 1\nworkflows:\n  pr:\n    on: { pull_reqest: {} }\n    steps: {}\n"
GOOD = """\
version: 1
workflows:
  pull-request:
    on: { pull_request: { types: [opened, synchronize, reopened] } }
    steps: { review: { agent: review } }
"""


@pytest.fixture
def forge() -> Forge:
    return Forge(pulls={5: Pull(5, "one")})


async def statuses(world: World) -> list[str]:
    return [record.status.value for record in (await world.deliveries()).values()]


async def only_run(world: World) -> WorkflowRun:
    (run,) = await world.runs()
    return run


# --- pull requests -------------------------------------------------------------------------------


async def test_an_opened_pull_request_is_reviewed_once_and_its_check_says_so(
    world: World, forge: Forge
) -> None:
    await world.pull_request("opened", 5, "one")
    await world.settle()

    assert forge.written() == {f"review/5/{sha('one')}": 1}
    assert forge.conclusions("one") == {"pull-request / review": "neutral: 1 finding"}
    (delivery,) = (await world.deliveries()).values()
    run = await only_run(world)
    assert delivery.status is DeliveryStatus.DONE
    assert delivery.run_ids == (run.id,)
    assert run.conclusion is Conclusion.NEUTRAL


async def test_a_delivery_that_comes_twice_starts_one_run(world: World, forge: Forge) -> None:
    await world.pull_request("opened", 5, "one", guid="same")
    await world.pull_request("opened", 5, "one", guid="same")
    await world.settle()

    assert len(await world.runs()) == 1
    assert len(await world.deliveries()) == 1


async def test_two_events_about_one_commit_start_one_run(world: World, forge: Forge) -> None:
    await world.pull_request("opened", 5, "one")
    await world.pull_request("synchronize", 5, "one")
    await world.pull_request("reopened", 5, "one")
    await world.settle()
    await world.pull_request("synchronize", 5, "one")
    await world.settle()

    assert len(await world.runs()) == 1
    assert await statuses(world) == ["done", "ignored", "ignored", "ignored"]


async def test_a_newer_commit_supersedes_the_run_and_its_check_ends_cancelled(
    world: World, forge: Forge
) -> None:
    await world.pull_request("opened", 5, "one")
    await world.work("deliveries", "reports")
    forge.pulls[5].head = "two"
    await world.pull_request("synchronize", 5, "two")
    await world.settle()

    old, new = await world.runs()
    assert old.conclusion is Conclusion.CANCELLED
    assert new.generation == old.generation + 1
    assert forge.conclusions("one")["pull-request / review"].startswith("cancelled: Superseded")
    assert forge.conclusions("two") == {"pull-request / review": "neutral: 1 finding"}
    assert set(forge.written()) == {f"review/5/{sha('two')}"}


async def test_a_run_replaced_before_it_was_seen_costs_no_check(world: World, forge: Forge) -> None:
    await world.pull_request("opened", 5, "one")
    await world.work("deliveries")
    forge.pulls[5].head = "two"
    await world.pull_request("synchronize", 5, "two")
    await world.settle()

    assert forge.conclusions("one") == {}
    assert len(forge.checks) == 1


ORDERS = list(itertools.permutations(["opened", "synchronize", "again", "edited", "closed"]))


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "closed"])
async def test_every_order_of_deliveries_ends_in_the_same_state(is_open: bool) -> None:
    """Deliveries are hints: what counts is the pull request as it is when work starts."""
    ends: set[tuple[object, ...]] = set()
    for order in ORDERS:
        forge = Forge(pulls={5: Pull(5, "three", open=is_open)})
        world = World(forge, VirtualClock())
        await world.start()
        for name in order:
            head = {"opened": "one", "synchronize": "two", "again": "three"}.get(name, "three")
            if is_open and name == "closed":
                continue
            await world.pull_request("synchronize" if name == "again" else name, 5, head)
            await world.work("deliveries")
        await world.settle()
        await world.check_accounts()
        runs = await world.runs()
        ends.add((len(runs), frozenset(forge.written()), str(forge.conclusions("three"))))
        await world.close()

    assert len(ends) == 1
    (end,) = ends
    assert end[0] == (1 if is_open else 0)


async def test_a_read_that_was_overtaken_is_repeated(world: World, forge: Forge) -> None:
    """The slower delivery read commit one, but would store after the faster one acted on two."""
    await world.pull_request("opened", 5, "one")
    await world.pull_request("synchronize", 5, "two")
    slow, fast = await world.claim("deliveries"), await world.claim("deliveries")
    assert slow is not None
    assert fast is not None

    async def overtake() -> None:
        forge.after_reading = None
        forge.pulls[5].head = "two"
        await world.dispatcher.handle(fast)

    forge.after_reading = overtake
    await world.dispatcher.handle(slow)
    await world.settle()

    assert [run.change.head_sha for run in await world.runs()] == [sha("two")]
    assert sorted(await statuses(world)) == ["done", "superseded"]


# --- what goes wrong on the way ------------------------------------------------------------------


async def test_a_subject_that_is_gone_ends_ignored(world: World, forge: Forge) -> None:
    await world.pull_request("opened", 6, "one")
    await world.settle()

    (delivery,) = (await world.deliveries()).values()
    assert delivery.status is DeliveryStatus.IGNORED
    assert "no such pull request" in delivery.reason


async def test_a_passing_fault_is_waited_for(world: World, forge: Forge) -> None:
    forge.faults.plan(
        "source.change",
        Retryable("GitHub answered 502.", dependency="github"),
        Parked("Limit.", until=world.clock.now() + timedelta(minutes=10), scope="7"),
        Retryable("GitHub answered 502.", dependency="github", retry_after=30),
    )
    await world.pull_request("opened", 5, "one")
    await world.settle()

    assert await statuses(world) == ["done"]
    assert world.clock.monotonic() > 600


async def test_a_poisonous_delivery_is_buried_with_a_failed_check_and_revived_by_redelivery(
    world: World, forge: Forge
) -> None:
    forge.faults.plan("source.change", *[ValueError("boom")] * 3)
    await world.pull_request("opened", 5, "one", guid="poison")
    await world.settle()

    (delivery,) = (await world.deliveries()).values()
    assert delivery.status is DeliveryStatus.DEAD
    assert forge.conclusions("one") == {
        "(intake) / event": "failure: This event could not be handled"
    }
    letters = DeadLetters(world.store, world.bus, world.clock)
    assert [letter.message.id for letter in await letters.list()] == ["delivery/poison"]

    await world.redeliver("poison")
    await world.settle()
    assert await statuses(world) == ["done"]
    assert forge.conclusions("one")["pull-request / review"] == "neutral: 1 finding"


async def test_a_delivery_that_kills_every_worker_is_given_up(world: World, forge: Forge) -> None:
    await world.pull_request("opened", 5, "one")
    for _ in range(MAX_CLAIMS):
        assert await world.claim("deliveries") is not None
        await world.clock.advance(61)
    await world.settle()

    assert await statuses(world) == ["dead"]
    assert "(intake) / event" in forge.conclusions("one")


async def test_work_for_an_installation_that_is_gone_is_dropped(world: World, forge: Forge) -> None:
    forge.faults.plan("source.change", Dropped("The installation is suspended."))
    await world.pull_request("opened", 5, "one")
    await world.settle()

    assert await statuses(world) == ["ignored"]


async def test_a_payload_of_nonsense_ends_ignored(world: World) -> None:
    await world.deliver("pull_request", action="opened", number="five")
    await world.settle()

    assert await statuses(world) == ["ignored"]


# --- configuration -------------------------------------------------------------------------------


async def test_a_broken_configuration_is_a_failed_check_with_its_lines_until_it_is_mended(
    world: World, forge: Forge
) -> None:
    forge.config = BROKEN
    await world.pull_request("opened", 5, "one")
    await world.settle()

    ((name, verdict),) = forge.conclusions("one").items()
    assert name == ".conductor.yml / validation"
    assert verdict.startswith("failure: 2 mistakes")
    assert await world.runs() == []
    (finding, *_) = forge.findings[".conductor.yml / validation"]
    assert "pull_request" in finding.explanation
    assert finding.line == 4

    forge.config = GOOD
    await world.pull_request("synchronize", 5, "one")
    await world.settle()
    assert forge.conclusions("one") == {
        ".conductor.yml / validation": "success: The configuration in force is valid",
        "pull-request / review": "neutral: 1 finding",
    }


async def test_a_proposed_configuration_is_judged_and_never_obeyed(
    world: World, forge: Forge
) -> None:
    forge.config = GOOD
    forge.pulls[5].files[".conductor.yml"] = BROKEN
    await world.pull_request("opened", 5, "one")
    await world.settle()

    assert forge.conclusions("one")[".conductor.yml / validation"].startswith("failure: 2 mistakes")
    assert forge.conclusions("one")["pull-request / review"] == "neutral: 1 finding"

    forge.pulls[5].head = "two"
    forge.pulls[5].files[".conductor.yml"] = GOOD.replace("opened, ", "")
    await world.pull_request("synchronize", 5, "two")
    await world.settle()
    assert forge.conclusions("two")[".conductor.yml / validation"].startswith("success")


async def test_a_trigger_that_matches_nothing_says_why(world: World, forge: Forge) -> None:
    forge.pulls[5].draft = True
    await world.pull_request("opened", 5, "one")
    await world.settle()

    (delivery,) = (await world.deliveries()).values()
    assert delivery.status is DeliveryStatus.IGNORED
    assert delivery.reason == "The pull request is a draft."


# --- the end of things ---------------------------------------------------------------------------


async def test_closing_a_pull_request_cancels_what_runs_and_reopening_starts_it_again(
    world: World, forge: Forge
) -> None:
    await world.pull_request("opened", 5, "one")
    await world.work("deliveries", "reports")
    forge.pulls[5].open = False
    forge.config = BROKEN  # what runs is stopped all the same
    await world.pull_request("closed", 5, "one")
    await world.settle()
    assert (await only_run(world)).reason == "The pull request was closed."

    forge.pulls[5].open = True
    forge.config = None
    await world.pull_request("reopened", 5, "one")
    await world.settle()
    assert forge.conclusions("one") == {"pull-request / review": "neutral: 1 finding"}


async def test_an_uninstalled_app_stops_and_forgets(world: World, forge: Forge) -> None:
    await world.pull_request("opened", 5, "one")
    await world.work("deliveries", "reports")
    forge.gone = True
    await world.deliver(
        "installation",
        action="deleted",
        installation={"id": 7, "app_id": 99},
        repositories=[],
    )
    await world.settle()
    forge.checks.clear()  # they went with the installation

    assert await world.runs() == []
    assert not [key async for key, _ in world.store.scan("run/7/")]


async def test_after_a_total_loss_of_the_store_nothing_is_posted_twice(forge: Forge) -> None:
    for _ in range(2):
        world = World(forge, VirtualClock())
        await world.start()
        await world.pull_request("opened", 5, "one")
        await world.settle()
        await world.check_accounts()
        await world.close()

    assert forge.written() == {f"review/5/{sha('one')}": 1}
