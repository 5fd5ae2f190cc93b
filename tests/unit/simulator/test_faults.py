"""Misfortunes happen when they are ordered, and only then."""

import asyncio

import aiohttp
import pytest

from bot.simulator import Fault
from tests.unit.simulator.hub import Hub


async def test_the_next_matching_requests_answer_something_else(hub: Hub) -> None:
    await hub.pull()
    faults = hub.simulator.faults
    faults.add(Fault(path="*/comments", method="POST", times=2, status=502, body=b"<html>"))
    assert (await hub.api("GET", "~/issues/1/comments")).status == 200
    for _ in range(2):
        answer = await hub.api("POST", "~/issues/1/comments", {"body": "hi"})
        assert (answer.status, answer.body) == (502, b"<html>")
    assert (await hub.api("POST", "~/issues/1/comments", {"body": "hi"})).status == 201
    assert len(hub.repo.issues[1].comments) == 1
    assert faults.waiting == ()


async def test_a_rate_limit_can_be_ordered_with_its_headers(hub: Hub) -> None:
    limited = Fault(status=429, headers={"Retry-After": "7"})
    await hub.api("GET", "~")
    hub.simulator.faults.add(limited)
    answer = await hub.api("GET", "~")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "7")


async def test_a_connection_is_cut_before_or_after_the_write(hub: Hub) -> None:
    await hub.pull()
    await hub.api("GET", "~")
    for fault, written in ((Fault(cut="before"), 0), (Fault(cut="after"), 1)):
        hub.simulator.faults.add(fault)
        with pytest.raises(aiohttp.ClientError):
            await hub.api("POST", "~/issues/1/comments", {"body": "hi"})
        assert len(hub.repo.issues[1].comments) == written
        assert hub.simulator.calls[-1].status == 0


async def test_a_delay_passes_on_the_simulators_clock(hub: Hub) -> None:
    await hub.api("GET", "~")
    hub.simulator.faults.add(Fault(delay=30))
    waiting = asyncio.create_task(hub.api("GET", "~"))
    done, _ = await asyncio.wait({waiting}, timeout=0.2)
    assert not done
    assert hub.simulator.faults.waiting == ()
    await hub.clock.advance(30)
    assert (await waiting).status == 200


async def test_what_github_does_not_have_is_not_found(hub: Hub) -> None:
    assert (await hub.api("GET", "/nothing/at/all")).status == 404
    assert (await hub.api("GET", "~/pulls/9")).status == 404
    assert (await hub.api("GET", "~/pulls/x")).status == 404
    assert (await hub.api("PUT", "~/pulls")).status == 405
    old = await hub.api("GET", "~", X_GitHub_Api_Version="2019-01-01")
    assert old.status == 400
    await hub.pull()
    broken = await hub.api("POST", "~/issues/1/comments", [])
    assert broken.status == 422


async def test_nonsense_in_a_request_is_refused_or_ignored(hub: Hub) -> None:
    assert (await hub.api("GET", "~/contents/a%00b")).status == 400
    assert (await hub.api("GET", "~/contents/README.md?ref=%00")).status == 400
    assert (await hub.api("GET", "~/pulls/%C2%B2")).status == 404
    assert (await hub.api("GET", "~/pulls?per_page=-1&page=x")).status == 200
    assert (await hub.api("GET", "~/commits/--output=x")).status == 422
    for query in ("per_page=x", "per_page=0"):
        path = f"/app/hook/deliveries?{query}"
        assert (await hub.call("GET", path, token=hub.jwt())).status == 200
    path = "/app/hook/deliveries?cursor=x"
    assert (await hub.call("GET", path, token=hub.jwt())).status == 400
