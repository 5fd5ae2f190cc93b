"""What the webhook route answers, and what it stores before it does."""

import json

import pytest
from pydantic import SecretStr

from bot.deliveries.delivery import Delivery, DeliveryStatus, body_key, delivery_key
from bot.deliveries.signature import SignatureVerifier, signature
from pipelines.errors import NotStored, UserError
from pipelines.ports import Batch, Versioned, Write
from tests.support.edge import GUID, PREVIOUS, SECRET, Edge, headers, running_edge, sign

BODY = b'{"action": "opened"}'


async def stored(edge: Edge, guid: str = GUID) -> Delivery | None:
    record = await edge.store.get(delivery_key(guid))
    return Delivery.model_validate_json(record.value) if record else None


async def test_a_signed_delivery_is_stored_and_queued_before_it_is_answered() -> None:
    async with running_edge() as edge:
        answer = await edge.deliver(BODY)
        assert (answer.status_code, answer.json()) == (202, {"result": "stored", "reason": ""})
        delivery = await stored(edge)
        assert delivery
        assert delivery.status is DeliveryStatus.ACCEPTED
        kept = await edge.store.get(body_key(GUID))
        assert kept
        assert kept.value == BODY
        (message,) = await edge.store.messages()
        assert (message.body, message.tenant) == ({"guid": GUID}, "7/42")


async def test_the_same_delivery_again_is_a_duplicate_and_queues_nothing() -> None:
    async with running_edge() as edge:
        await edge.deliver(BODY)
        again = await edge.deliver(BODY)
        assert (again.status_code, again.json()["result"]) == (200, "duplicate")
        replayed = await edge.deliver(BODY, X_GitHub_Delivery="another-guid")
        assert (replayed.status_code, replayed.json()["result"]) == (200, "duplicate")
        assert len(await edge.store.messages()) == 1


async def test_a_redelivery_of_a_dead_letter_is_taken_in_again() -> None:
    async with running_edge() as edge:
        await edge.deliver(BODY)
        delivery = await stored(edge)
        assert delivery
        dead = delivery.model_copy(update={"status": DeliveryStatus.DEAD})
        value = dead.model_dump_json().encode()
        await edge.store.commit(Batch(writes=[Write(key=delivery_key(GUID), value=value)]))
        other = await edge.deliver(b'{"action": "closed"}')
        assert other.json()["result"] == "duplicate", "an id cannot be lent to another body"
        assert (await edge.deliver(BODY)).status_code == 202
        revived = await stored(edge)
        assert revived
        assert revived.status is DeliveryStatus.ACCEPTED


async def test_what_needs_no_work_is_answered_with_the_reason_and_has_a_terminal_record() -> None:
    async with running_edge() as edge:
        answer = await edge.deliver(b'{"ignore": 1}')
        assert (answer.status_code, answer.json()["reason"]) == (200, "nothing is to be done")
        delivery = await stored(edge)
        assert delivery
        assert delivery.status is DeliveryStatus.IGNORED
        assert await edge.store.get(body_key(GUID)) is None, "what needs no work is not kept"
        assert await edge.store.messages() == []


async def test_both_secrets_are_good_during_a_rotation() -> None:
    async with running_edge() as edge:
        answer = await edge.deliver(BODY, X_Hub_Signature_256=sign(BODY, PREVIOUS))
        assert answer.status_code == 202


GOOD = sign(BODY)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "sha256=",
        GOOD[:-1],
        GOOD + "0",
        GOOD.replace("sha256=", "sha256=0x")[:71],
        "sha256=" + GOOD[7:].upper(),
        "SHA256=" + GOOD[7:],
        "sha1=" + "a" * 40,
        "sha1=" + GOOD[7:],
        GOOD[7:],
        " ".join((GOOD, GOOD)),
        f"{GOOD},{GOOD}",
        GOOD[:20] + "\t" + GOOD[21:],
        "sha256=" + "0" * 64,
        sign(BODY + b"\n"),
        sign(BODY, ""),
        sign(BODY, SECRET[:-1]),
        "sha256=" + "\xe9" * 64,
        "sha512=" + "a" * 128,
    ],
)
async def test_every_other_signature_is_refused_and_nothing_is_stored(value: str | None) -> None:
    async with running_edge() as edge:
        sent = headers(BODY, X_Hub_Signature_256=None)
        pairs = [(name.encode(), content.encode()) for name, content in sent.items()]
        if value is not None:
            pairs.append((b"X-Hub-Signature-256", value.encode("latin-1")))
        answer = await edge.client.post("/webhooks/github", content=BODY, headers=pairs)
        assert answer.status_code in (400, 401)
        assert await stored(edge) is None
        assert await edge.store.messages() == []


@pytest.mark.parametrize("order", [(GOOD, "sha256=" + "0" * 64), ("sha256=" + "0" * 64, GOOD)])
async def test_two_signature_headers_are_refused_in_either_order(order: tuple[str, str]) -> None:
    async with running_edge() as edge:
        pairs = [("X-Hub-Signature-256", value) for value in order]
        pairs += [("Content-Type", "application/json"), ("X-GitHub-Event", "push")]
        answer = await edge.client.post(
            "/webhooks/github", content=BODY, headers=[*pairs, ("X-GitHub-Delivery", GUID)]
        )
        assert answer.status_code == 401


async def test_an_unsigned_request_is_refused_before_its_body_is_read() -> None:
    async with running_edge() as edge:
        huge = b"x" * (30 << 20)
        answer = await edge.client.post(
            "/webhooks/github", content=huge, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 401


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content_Type": "multipart/form-data; boundary=x"}, 415),
        ({"Content_Type": "application/json; charset=utf-16"}, 415),
        ({"Content_Type": "application/json; charset=bogus"}, 415),
        ({"Content_Type": None}, 415),
        ({"Content_Encoding": "gzip"}, 415),
        ({"Content_Encoding": "br"}, 415),
        ({"Content_Encoding": "zstd"}, 415),
        ({"Content_Encoding": "deflate"}, 415),
        ({"Content_Type": "application/json; charset=UTF-8"}, 202),
        ({"X_GitHub_Event": None}, 400),
        ({"X_GitHub_Event": "Pull Request"}, 400),
        ({"X_GitHub_Delivery": None}, 400),
        ({"X_GitHub_Delivery": "a" * 65}, 400),
        ({"X_GitHub_Delivery": "a:*{}"}, 400),
        ({"X_GitHub_Delivery": "../../other"}, 400),
    ],
)
async def test_headers_that_are_not_githubs_get_their_status(
    changes: dict[str, str | None], status: int
) -> None:
    async with running_edge() as edge:
        answer = await edge.deliver(BODY, **changes)
        assert answer.status_code == status
        if status != 202:
            assert answer.json()["reason"].endswith(".")
            assert await edge.store.messages() == []


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"x"', b"0", b"{", b"\xff\xfe{}"])
async def test_a_signed_body_that_is_not_a_json_object_is_malformed(body: bytes) -> None:
    async with running_edge() as edge:
        answer = await edge.deliver(body)
        assert answer.status_code == 400
        assert await edge.store.messages() == []


async def test_25_mib_are_taken_and_one_byte_more_is_too_large() -> None:
    async with running_edge() as edge:
        padding = b" " * ((25 << 20) - len(BODY))
        assert (await edge.deliver(BODY + padding)).status_code == 202
        answer = await edge.deliver(BODY + padding + b" ", X_GitHub_Delivery="one-more")
        assert answer.status_code == 413


class Refusing:
    """A store that is out of reach."""

    async def commit(self, batch: Batch) -> None:
        raise NotStored("The disk is full; make room.")

    async def get(self, key: str) -> Versioned | None:
        raise NotStored("The disk is full; make room.")


async def test_what_cannot_be_stored_is_answered_503_so_that_github_keeps_it() -> None:
    async with running_edge(journal=Refusing()) as edge:
        answer = await edge.deliver(BODY)
        assert answer.status_code == 503
        assert json.loads(answer.content)["result"] == "not_stored"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_other_methods_are_not_allowed(method: str) -> None:
    async with running_edge() as edge:
        answer = await edge.client.request(method, "/webhooks/github")
        assert answer.status_code == 405
        assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize(
    "path", ["/webhook", "//webhooks/github", "/webhooks/../admin", "/%2e%2e/x"]
)
async def test_other_paths_are_not_found(path: str) -> None:
    async with running_edge() as edge:
        assert (await edge.client.post(path)).status_code == 404


def test_the_known_answer_of_githubs_documentation() -> None:
    expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert signature(b"It's a Secret to Everybody", b"Hello, World!") == expected


@pytest.mark.parametrize("secret", ["", "short", "x" * 31])
def test_a_short_secret_is_refused_at_the_start(secret: str) -> None:
    with pytest.raises(UserError, match="shorter than 32 characters"):
        SignatureVerifier(SecretStr(secret))
    with pytest.raises(UserError, match="shorter than 32 characters"):
        SignatureVerifier(SecretStr(SECRET), SecretStr(secret))
