"""How the listener treats clients that are slow, greedy or many."""

import asyncio
import gzip
import resource
from typing import Any

import pytest
import uvloop

from bot.web.body import BodyReader
from bot.web.edge import Limits
from pipelines.errors import NotStored
from tests.support.edge import GUID, Edge, headers, running_edge, sign

BODY = b'{"action": "opened"}'
PATIENCE = 10.0


async def raw(edge: Edge, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(edge.address.host, edge.address.port)
    writer.write(data)
    await writer.drain()
    return reader, writer


async def rest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Everything until the server hangs up, which it must."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("begun", [b"", b"POST /webhooks/github HTTP/1.1\r\nHost: a\r\nX-Slow: "])
async def test_a_connection_that_never_sends_a_head_is_closed(begun: bytes) -> None:
    async with running_edge(limits=Limits(idle=0.1)) as edge:
        assert await rest(*await raw(edge, begun)) == b""
        assert (await edge.deliver(BODY)).status_code == 202


async def test_a_body_that_never_ends_is_answered_and_closed() -> None:
    async with running_edge(bodies=BodyReader(seconds=0.1), limits=Limits(linger=0.1)) as edge:
        lines = [f"{name}: {value}" for name, value in headers(BODY).items()]
        head = "\r\n".join(
            ["POST /webhooks/github HTTP/1.1", "Host: a", "Content-Length: 20", *lines]
        )
        answer = await rest(*await raw(edge, head.encode() + b"\r\n\r\n" + BODY[:5]))
        assert answer.startswith(b"HTTP/1.1 400 ")


async def test_a_chunked_body_without_an_end_is_cut_at_the_cap() -> None:
    async with running_edge(bodies=BodyReader(max_body=1 << 20), limits=Limits(linger=0.1)) as edge:
        lines = [f"{name}: {value}" for name, value in headers(BODY).items()]
        head = ["POST /webhooks/github HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", *lines]
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        sent = "\r\n".join(head).encode() + b"\r\n\r\n" + chunk * 17
        answer = await rest(*await raw(edge, sent))
        assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_connections_beyond_the_limit_are_told_so_on_either_loop(run: Any) -> None:
    run(_more_connections_than_allowed())


async def _more_connections_than_allowed() -> None:
    async with running_edge(limits=Limits(connections=2)) as edge:
        held = [await raw(edge, b"GET /healthz HTTP/1.1\r\n") for _ in range(2)]
        assert (await rest(*await raw(edge, b""))).startswith(b"HTTP/1.1 503 ")
        for reader, writer in held:
            writer.write(b"Host: a\r\nConnection: close\r\n\r\n")
            assert (await rest(reader, writer)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "head",
    [
        b"POST /webhooks/github HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /webhooks/github HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
        b"POST /webhooks/github HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Big: " + b"x" * 9000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 129 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
async def test_a_malformed_head_is_a_400_and_the_server_goes_on(head: bytes) -> None:
    async with running_edge(limits=Limits(idle=0.5, linger=0.1)) as edge:
        answer = await rest(*await raw(edge, head))
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
        assert (await edge.deliver(BODY)).status_code == 202


async def test_a_compressed_body_is_refused_without_being_unpacked() -> None:
    async with running_edge() as edge:
        bomb = gzip.compress(b"\0" * (100 << 20))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        send = {"Content_Encoding": "gzip", "X_Hub_Signature_256": sign(bomb)}
        answers = await asyncio.gather(*(edge.deliver(bomb, **send) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {415}
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown_kib < 100 * 1024


async def test_too_many_unfinished_bodies_are_refused_before_memory_runs_out() -> None:
    async with running_edge(bodies=BodyReader(max_buffered=1000)) as edge:
        answer = await edge.deliver(b'{"a": "' + b"x" * 2000 + b'"}')
        assert answer.status_code == 503
        assert (await edge.deliver(BODY)).status_code == 202


async def test_liveness_readiness_and_metrics() -> None:
    async with running_edge() as edge:

        async def failing() -> None:
            raise NotStored("The password is hunter2hunter2.")

        assert (await edge.client.get("/healthz")).json() == {"status": "alive"}
        edge.checks["storage"] = edge.store.ping
        assert (await edge.client.get("/readyz")).status_code == 200
        edge.checks["worker"] = failing
        ready = await edge.client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json() == {"checks": {"storage": "ok", "worker": "failing"}}
        await edge.deliver(BODY)
        await edge.deliver(BODY, X_GitHub_Event="made_up_event", X_GitHub_Delivery=GUID[::-1])
        text = (await edge.client.get("/metrics")).text
        assert 'conductor_deliveries_total{event="pull_request",result="stored"} 1.0' in text
        assert 'event="other"' in text
        assert "made_up_event" not in text


def head(version: str = "1.1", **more: str) -> bytes:
    lines = [f"POST /webhooks/github HTTP/{version}", "Host: a"]
    lines += [f"{name}: {value}" for name, value in {**headers(BODY), **more}.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


async def test_a_body_in_a_hundred_thousand_chunks_is_one_body() -> None:
    body = b'{"a": "' + b"x" * 100_000 + b'"}'
    chunks = b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in body) + b"0\r\n\r\n"
    signed = {"Transfer-Encoding": "chunked", "X-Hub-Signature-256": sign(body)}
    async with running_edge(limits=Limits(idle=1)) as edge:
        reader, writer = await raw(edge, head(**signed, Connection="close") + chunks)
        assert (await rest(reader, writer)).startswith(b"HTTP/1.1 202 ")


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (head("1.0", **{"Content-Length": str(len(BODY))}) + BODY, b"HTTP/1.0 202 "),
        (head(**{"Content-Length": str(len(BODY) - 1)}) + BODY, b"HTTP/1.0 400 "),
        (head(**{"Content-Length": str(len(BODY) + 9)}) + BODY, b"HTTP/1.1 400 "),
        (head() + BODY, b"HTTP/1.0 400 "),
    ],
    ids=["HTTP/1.0", "a length too short", "a length too long", "no length"],
)
async def test_lengths_that_lie_are_refused_and_harm_nobody_else(
    sent: bytes, answer: bytes
) -> None:
    bodies = BodyReader(seconds=0.2)
    async with running_edge(bodies=bodies, limits=Limits(idle=0.5, linger=0.1)) as edge:
        assert (await rest(*await raw(edge, sent))).startswith(answer)
        assert (await edge.deliver(BODY, X_GitHub_Delivery="after")).status_code in (200, 202)


async def test_whoever_asks_before_sending_the_body_is_told_to_go_on() -> None:
    asking = {"Expect": "100-continue", "Content-Length": str(len(BODY)), "Connection": "close"}
    async with running_edge() as edge:
        reader, writer = await raw(edge, head(**asking))
        assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        writer.write(BODY)
        assert b"HTTP/1.1 202 " in await rest(reader, writer)
