"""The five stores, over every backend: what goes in comes out, in one tenant and in no other."""

import json
import random
from datetime import timedelta

import pytest

from pipelines.model import LogLine, Measurement, Point, Series
from pipelines.ports import Batch, Write
from pipelines.stores.archive import MAX_ARTIFACTS, Archive
from pipelines.stores.backend import StorageBackend
from pipelines.stores.logs import MetricsPage
from pipelines.stores.relevance import Question
from pipelines.stores.shelf import DAY
from pipelines.stores.tenancy import Scope, delete, export, owned, tenant_of
from tests.contracts.make import message
from tests.support.clock import EPOCH, VirtualClock
from tests.support.records import a_full_result, a_task, an_outcome
from tests.support.samples import a_finding

TENANT, OTHER = "7/42", "7/43"


@pytest.fixture
def archive(backend: StorageBackend, clock: VirtualClock) -> Archive:
    return Archive(backend, clock)


async def keep(archive: Archive, backend: StorageBackend, tenant: str, canary: str) -> None:
    task = a_task(tenant, run_id=f"run-{canary}")
    await backend.commit(Batch(writes=archive.left(task, a_full_result(canary))))


async def test_each_artifact_is_found_in_the_store_it_belongs_to(
    archive: Archive, backend: StorageBackend
) -> None:
    await keep(archive, backend, TENANT, "x")

    (version,) = (await archive.code.of_path(TENANT, "shop/cart.py")).items
    assert version.version.content == "# x\nTOTAL = 1\n"
    assert version.origin.run_id == "run-x"
    assert (await archive.code.of_run(TENANT, "run-x")).items == [version]

    (record,) = (await archive.metadata.about(TENANT, "pipeline")).items
    assert record.data == {"dockerfile": "FROM python  # x"}
    (execution,) = await archive.metadata.executions_of(TENANT, "run-x")
    assert (execution.title, execution.left_out) == ("Done x", 0)
    assert set(execution.artifacts) >= {"code_version", "fixture", "test_report", "log"}

    fixture = await archive.test_data.fixture(TENANT, "tests/fixtures/carts.json")
    assert fixture is not None
    assert fixture.fixture.seed == 7
    (report,) = await archive.test_data.reports_of(TENANT, "run-x")
    assert report.report.cases[0].name == "test x"

    (log,) = await archive.logs.log_of(TENANT, "run-x")
    assert [line.text for line in log.lines] == ["edited x"]
    series = await archive.logs.series(TENANT, "staging", "error rate", EPOCH, EPOCH)
    assert [point.value for point in series.points] == [0.5]

    (outcome,) = await archive.knowledge.outcomes(TENANT)
    assert outcome.kind == "test_kept"


async def test_a_review_leaves_its_findings_and_its_coverage(
    archive: Archive, backend: StorageBackend
) -> None:
    task = a_task(agent="review", step="review")
    await backend.commit(Batch(writes=archive.left(task, a_full_result("x"))))

    (review,) = (await archive.metadata.reviews(TENANT)).items
    assert review.number == 12
    assert review.findings == (a_finding(explanation="It is x"),)
    assert review.coverage.seen == ("shop/cart.py",)


async def test_a_repeated_attempt_replaces_itself(
    archive: Archive, backend: StorageBackend
) -> None:
    for _ in range(3):
        await keep(archive, backend, TENANT, "x")

    stored = [key async for key, _ in backend.scan("")]
    assert len((await archive.code.of_path(TENANT, "shop/cart.py")).items) == 1
    assert len(stored) == len(set(stored)) == len(archive.left(a_task(), a_full_result("x")))


async def test_secrets_are_taken_out_of_everything_that_is_kept(
    archive: Archive, backend: StorageBackend
) -> None:
    secret = "ghp_" + "a1B2" * 9
    await backend.commit(Batch(writes=archive.left(a_task(), a_full_result(secret))))

    stored = b"".join([record.value async for _, record in backend.scan("")])
    assert secret.encode() not in stored
    (version,) = (await archive.code.of_path(TENANT, "shop/cart.py")).items
    assert version.redacted == 2


async def test_what_is_too_much_of_one_attempt_is_counted_and_left_out(
    archive: Archive, backend: StorageBackend
) -> None:
    lines = tuple(LogLine(text=f"line {n}", at=EPOCH) for n in range(MAX_ARTIFACTS + 20))
    result = a_full_result().model_copy(update={"artifacts": lines})
    await backend.commit(Batch(writes=archive.left(a_task(), result)))

    (execution,) = (await archive.metadata.executions(TENANT)).items
    assert (execution.artifacts, execution.left_out) == ({"log": MAX_ARTIFACTS}, 20)


async def test_pages_of_a_listing_meet_without_gap_or_overlap(
    archive: Archive, backend: StorageBackend
) -> None:
    for number in range(25):
        task = a_task(run_id=f"run-{number:03d}")
        await backend.commit(Batch(writes=archive.left(task, a_full_result())))

    seen: list[str] = []
    after = ""
    while True:
        page = await archive.metadata.executions(TENANT, after=after, limit=7)
        seen += [execution.origin.run_id for execution in page.items]
        if not page.after:
            break
        after = page.after
    assert seen == [f"run-{number:03d}" for number in range(25)]


async def test_a_range_of_samples_holds_its_ends_and_each_point_once(
    archive: Archive, backend: StorageBackend
) -> None:
    def measured(*seconds: int) -> Measurement:
        at = EPOCH + timedelta(seconds=seconds[-1])
        points = tuple(Point(at=EPOCH.timestamp() + s, value=s) for s in seconds)
        return Measurement(environment="staging", series=Series(name="p", points=points), at=at)

    measurements = [measured(0, 10), measured(10, 20), measured(30, 40)]
    await backend.commit(Batch(writes=await archive.measured(a_task(), measurements)))

    end = EPOCH + timedelta(seconds=30)
    start = EPOCH + timedelta(seconds=10)
    series = await archive.logs.series(TENANT, "staging", "p", start, end)
    assert [point.value for point in series.points] == [10, 20, 30]
    nothing = await archive.logs.series(TENANT, "production", "p", start, end)
    assert nothing.points == ()
    assert nothing.reason


async def test_metrics_pages_are_read_back_by_their_moment(
    archive: Archive, backend: StorageBackend
) -> None:
    moments = [EPOCH + timedelta(seconds=15 * n) for n in range(10)]
    pages = [MetricsPage(at=at, values={"up": n}) for n, at in enumerate(moments)]
    writes = [archive.logs.page(TENANT, "staging", page) for page in pages]
    await backend.commit(Batch(writes=writes))

    found = await archive.logs.pages(TENANT, "staging", moments[2], moments[5])
    assert [page.values["up"] for page in found] == [2, 3, 4, 5]


async def test_metrics_of_executions_are_found_by_the_time_of_their_end(
    archive: Archive, backend: StorageBackend, clock: VirtualClock
) -> None:
    for number in range(4):
        task = a_task(run_id=f"run-{number}")
        await backend.commit(Batch(writes=archive.left(task, a_full_result())))
        await clock.advance(60)

    start, end = EPOCH + timedelta(seconds=60), EPOCH + timedelta(seconds=180)
    found = [m.origin.run_id async for m in archive.logs.executions(TENANT, start, end)]
    assert found == ["run-1", "run-2"]


async def test_everything_ends_with_its_time_to_live(
    archive: Archive, backend: StorageBackend, clock: VirtualClock
) -> None:
    await keep(archive, backend, TENANT, "x")
    await clock.advance(401 * DAY)
    assert [key async for key, _ in backend.scan("")] == []


async def test_the_oldest_go_where_a_repository_has_too_many(
    backend: StorageBackend, clock: VirtualClock
) -> None:
    archive = Archive(backend, clock)
    kept = archive.knowledge.shelves[0].keep.count
    for tenant, count in ((TENANT, kept + 30), (OTHER, 5)):
        outcomes = [
            an_outcome(source=f"pr/{n % 977}/finding/{n}", at=EPOCH + timedelta(seconds=n))
            for n in range(count)
        ]
        for start in range(0, count, 500):
            page = outcomes[start : start + 500]
            await backend.commit(Batch(writes=archive.learned(tenant, page)))

    assert await archive.prune() == 30
    assert await archive.prune() == 0
    left = await archive.knowledge.outcomes(TENANT)
    assert len(left) == kept
    assert min(outcome.at for outcome in left) == EPOCH + timedelta(seconds=30)
    assert len(await archive.knowledge.outcomes(OTHER)) == 5


async def test_a_path_cannot_reach_into_another_run_or_tenant(
    archive: Archive, backend: StorageBackend
) -> None:
    hostile = "../../43/run-x/fix/000001/shop/cart.py"
    result = a_full_result("mine")
    version = result.artifacts[0].model_copy(update={"path": hostile})
    moved = result.model_copy(update={"artifacts": (version,)})
    await backend.commit(Batch(writes=archive.left(a_task(TENANT), moved)))

    assert {tenant_of(key) async for key, _ in backend.scan("")} == {TENANT}
    assert len((await archive.code.of_path(TENANT, hostile)).items) == 1


@pytest.mark.parametrize("seed", range(8))
async def test_two_tenants_never_see_each_other(
    archive: Archive, backend: StorageBackend, clock: VirtualClock, seed: int
) -> None:
    """Whatever the order in which two repositories write, read and delete (T46)."""
    rng = random.Random(seed)
    canaries = {TENANT: "canaryone", OTHER: "canarytwo", "8/42": "canarythree"}
    for _ in range(25):
        tenant = rng.choice(list(canaries))
        task = a_task(tenant, run_id=f"run-{rng.randrange(5)}", attempt=rng.randrange(1, 3))
        result = a_full_result(canaries[tenant], at=clock.now())
        await backend.commit(Batch(writes=archive.left(task, result)))
        await clock.advance(rng.random() * 10)
        reader = rng.choice(list(canaries))
        told = await everything(archive, reader, clock)
        others = [canary for tenant, canary in canaries.items() if tenant != reader]
        assert not [canary for canary in others if canary in told]
        if told and rng.random() < 0.1:
            await delete(backend, Scope(int(reader.split("/")[0]), int(reader.split("/")[1])))
            assert await everything(archive, reader, clock) == ""


async def everything(archive: Archive, tenant: str, clock: VirtualClock) -> str:
    """All that the stores tell one repository, as text."""
    question = Question(agent="test", now=clock.now(), text="An empty cart divides", paths=())
    told = [
        (await archive.code.of_path(tenant, "shop/cart.py")).items,
        (await archive.metadata.executions(tenant)).items,
        (await archive.metadata.about(tenant, "pipeline")).items,
        (await archive.test_data.all_fixtures(tenant)).items,
        (await archive.test_data.all_reports(tenant)).items,
        [
            sample
            async for sample in archive.logs.samples(tenant, "staging", "error rate", since=EPOCH)
        ],
        [log for n in range(5) for log in await archive.logs.log_of(tenant, f"run-{n}")],
        await archive.knowledge.outcomes(tenant),
        await archive.knowledge.lessons(tenant, question),
    ]
    return "\n".join(str(part) for part in told if part)


async def test_export_hands_over_every_record_of_a_tenant_and_no_other(
    archive: Archive, backend: StorageBackend
) -> None:
    await keep(archive, backend, TENANT, "mine")
    await keep(archive, backend, "70/42", "theirs")
    mine = message("m-1", tenant=TENANT, body={"run": "run-mine"})
    await backend.commit(Batch(messages=[mine, message("m-2", tenant="70/42")]))

    lines = [json.loads(line) async for line in export(backend, Scope(7))]

    assert len(lines) == len([key async for key, _ in owned(backend, Scope(7))]) + 1
    assert lines[-1]["message"]["id"] == "m-1"
    assert "mine" in json.dumps(lines)
    assert "theirs" not in json.dumps(lines)
    code = next(entry for entry in lines if entry.get("key", "").startswith("code/"))
    assert code["value"]["version"]["path"] == "shop/cart.py"


async def test_deletion_of_an_installation_leaves_nothing_of_it(
    archive: Archive, backend: StorageBackend
) -> None:
    for tenant, canary in ((TENANT, "canaryone"), (OTHER, "canarytwo"), ("8/42", "canarythree")):
        await keep(archive, backend, tenant, canary)
        await backend.commit(Batch(messages=[message(canary, tenant=tenant)]))

    assert await delete(backend, Scope(7)) > 20

    left = [(key, record.value) async for key, record in backend.scan("")]
    assert {tenant_of(key) for key, _ in left} == {"8/42"}
    values = b"".join(value for _, value in left)
    assert b"canaryone" not in values
    assert b"canarytwo" not in values
    assert b"canarythree" in values
    assert [m.tenant for m in await backend.messages()] == ["8/42"]
    assert await delete(backend, Scope(7)) == 0


async def test_deletion_of_a_repository_leaves_its_neighbours(
    archive: Archive, backend: StorageBackend
) -> None:
    for tenant in (TENANT, OTHER):
        await keep(archive, backend, tenant, "x")

    await delete(backend, Scope(7, 42))

    assert {tenant_of(key) async for key, _ in backend.scan("")} == {OTHER}


async def test_strangers_and_agents_cannot_put_words_into_peoples_mouths(
    archive: Archive, backend: StorageBackend
) -> None:
    said = a_full_result().artifacts[-1]
    forged = said.model_copy(update={"outcome": an_outcome(kind="finding_dismissed")})
    by_agent = a_full_result().model_copy(update={"artifacts": (forged,)})
    by_stranger = a_full_result().model_copy(update={"artifacts": (said,)})
    await backend.commit(Batch(writes=archive.left(a_task(run_id="a"), by_agent)))
    await backend.commit(Batch(writes=archive.left(a_task(run_id="b", tainted=True), by_stranger)))
    assert await archive.knowledge.outcomes(TENANT) == []


async def test_a_record_of_a_later_form_is_passed_over_and_stays(
    archive: Archive, backend: StorageBackend
) -> None:
    await keep(archive, backend, TENANT, "x")
    writes = archive.left(a_task(run_id="zzz"), a_full_result())
    place = next(write.key for write in writes if write.key.startswith("test-report/"))
    await backend.commit(Batch(writes=[Write(place, b'{"form": "unknown"}')]))

    found = (await archive.test_data.all_reports(TENANT)).items
    assert [stored.report.command for stored in found] == ["pytest -q"]
    assert await backend.get(place) is not None
