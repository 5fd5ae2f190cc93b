"""Addresses that configuration names: none leads to where the operator did not allow."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Sequence

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import Retryable, UserError
from pipelines.net import AllowedHosts, GuardedClient, NotAllowed, is_public

PUBLIC = "93.184.215.14"
NAMES: dict[str, Sequence[str]] = {
    "metrics.example": [PUBLIC],
    "v6.example": ["2606:2800:21f:cb07:6820:80da:af6b:8b2c"],
    "loop.example": ["127.0.0.1"],
    "loop6.example": ["::1"],
    "inside.example": ["10.1.2.3"],
    "cloud.example": ["169.254.169.254"],
    "shared.example": ["100.64.0.1"],
    "alibaba.example": ["100.100.100.200"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "sixtofour.example": ["2002:7f00:1::"],
    "teredo.example": ["2001:0:53aa:64c::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "compatible.example": ["::127.0.0.1"],
    "local.example": ["fe80::1"],
    "unique.example": ["fd00::1"],
    "site.example": ["fec0::1"],
    "any.example": ["0.0.0.0"],
    "any6.example": ["::"],
    "multicast.example": ["224.0.0.1"],
    "multicast6.example": ["ff02::1"],
    "broadcast.example": ["255.255.255.255"],
    "documentation.example": ["192.0.2.1"],
    "benchmark.example": ["198.18.0.1"],
    "relay.example": ["192.88.99.1"],
    "future.example": ["240.0.0.1"],
    "mixed.example": [PUBLIC, "127.0.0.1"],
    "scoped.example": ["fe80::1%eth0"],
    "nonsense.example": ["not an address"],
    "azure.example": ["168.63.129.16"],
}


async def resolver(host: str, port: int) -> Sequence[str]:
    if host not in NAMES:
        raise OSError("no such host")
    return NAMES[host]


def client(*allowed: str, transport: httpx2.AsyncBaseTransport | None = None) -> GuardedClient:
    hosts = AllowedHosts.parse(allowed or NAMES)
    return GuardedClient(hosts, resolver=resolver, transport=transport)


# --- what is refused, whoever is in the list ------------------------------------------------------

NO_ADDRESS = [
    "",
    "metrics.example",
    "//metrics.example/",
    "ftp://metrics.example/",
    "file:///etc/passwd",
    "gopher://metrics.example/",
    "javascript:alert(1)",
    "https://",
    "https:///path",
    "https://user@metrics.example/",
    "https://user:pw@metrics.example/",
    "https://metrics.example@127.0.0.1/",
    "https://127.0.0.1\\@metrics.example/",
    "https://metrics.example\\.evil/",
    "https://metrics.example /",
    "https://metrics.example/\n",
    "https://metrics.example/\r\nHost: x",
    "https://metrics.example/\x00",
    "https://metrics.example/ä",
    "https://mеtrics.example/",
    "https://metrics。example/",
    "https://127。0。0。1/",
    "https://①②⑦.0.0.1/",
    "https://metrics.example:0/",
    "https://metrics.example:99999/",
    "https://metrics.example:x/",
    "https://127.1/",
    "https://127.0.1/",
    "https://0x7f.1/",
    "https://0x7f000001/",
    "https://2130706433/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://127.0.0.01/",
    "https://127.0.0.256/",
    "https://1.2.3.4.5/",
    "https://localhost.0x1/",
    "https://[::1/",
    "https://[fe80::1%25eth0]/",
    "https://[::ffff:127.0.0.1%1]/",
    "https://-metrics.example/",
    "https://metrics..example/",
    "https://.example/",
    "https://%6c%6f%63alhost/",
    "https://" + "a" * 64 + ".example/",
    "https://metrics.example/" + "a" * 2048,
]


@pytest.mark.parametrize("url", NO_ADDRESS, ids=lambda url: url[:40].encode().hex())
async def test_what_has_no_single_plain_reading_is_no_address(url: str) -> None:
    with pytest.raises(NotAllowed, match="not an address that is asked"):
        await client().check(url)


NOT_LISTED = [
    "https://evil.example/",
    "https://metrics.example.evil.example/",
    "https://sub.metrics.example/",
    "https://example/",
    "https://127.0.0.1/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://169.254.169.254/latest/meta-data/",
    "https://localhost/",
    f"https://{PUBLIC}/",
]


@pytest.mark.parametrize("url", NOT_LISTED)
async def test_a_host_that_is_not_listed_is_not_asked(url: str) -> None:
    with pytest.raises(NotAllowed, match="is not in CONDUCTOR_ALLOWED_HOSTS"):
        await client().check(url)


INSIDE = [name for name in NAMES if name not in ("metrics.example", "v6.example")]


@pytest.mark.parametrize("name", INSIDE)
async def test_a_listed_name_that_leads_inside_is_not_asked(name: str) -> None:
    with pytest.raises(NotAllowed, match="is not a public address"):
        await client().check(f"https://{name}/")


async def test_a_public_host_is_not_asked_in_the_clear() -> None:
    with pytest.raises(NotAllowed, match="by https only"):
        await client().check("http://metrics.example/")


# --- what is allowed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("https://metrics.example/m?x=1", (PUBLIC,)),
        ("https://METRICS.example./m?x=1", (PUBLIC,)),
        ("https://metrics.example:8443/m?x=1", (PUBLIC,)),
        ("https://v6.example/m?x=1", tuple(NAMES["v6.example"])),
    ],
)
async def test_a_listed_public_host_is_asked(url: str, addresses: tuple[str, ...]) -> None:
    endpoint = await client().check(url)
    assert endpoint.addresses == addresses
    assert endpoint.target == "/m?x=1"


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        (["127.0.0.1"], "http://127.0.0.1:9090/metrics"),
        (["127.0.0.1:9090"], "http://127.0.0.1:9090/metrics"),
        (["10.0.0.0/8"], "http://10.9.9.9/"),
        (["::1"], "http://[::1]/"),
        (["[::1]:9090"], "http://[::1]:9090/"),
        (["inside.example", "10.0.0.0/8"], "http://inside.example/"),
        ([" LOOP.example. ", "127.0.0.1"], "http://loop.example/"),
        ([PUBLIC], f"http://{PUBLIC}/"),
    ],
)
async def test_what_the_operator_lists_by_address_is_asked(allowed: list[str], url: str) -> None:
    assert (await client(*allowed).check(url)).addresses


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        (["127.0.0.1:9090"], "http://127.0.0.1:6379/"),
        (["metrics.example:443"], "https://metrics.example:8443/"),
        (["127.0.0.1"], "http://127.0.0.2/"),
        (["10.0.0.0/8"], "http://11.0.0.1/"),
    ],
)
async def test_an_entry_allows_nothing_beside_it(allowed: list[str], url: str) -> None:
    with pytest.raises(NotAllowed):
        await client(*allowed).check(url)


@pytest.mark.parametrize(
    "entry",
    ["https://x.example", "x.example/path", "*", "*.example", "a b", "10.0.0.0/99", "1.2.3"],
)
def test_an_entry_that_is_none_is_named(entry: str) -> None:
    with pytest.raises(UserError, match="no host name, IP address or network"):
        AllowedHosts.parse([entry])


def test_empty_entries_do_not_matter() -> None:
    assert AllowedHosts.parse(["", "  "]) == AllowedHosts()


@given(st.ip_addresses())
def test_what_is_public_is_global_and_stands_for_itself(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if is_public(address):
        assert address.is_global
        assert not address.is_private
        assert getattr(address, "ipv4_mapped", None) is None
        assert getattr(address, "sixtofour", None) is None


# --- vouched for ---------------------------------------------------------------------------------


async def test_where_conductor_deployed_needs_no_entry() -> None:
    endpoint = await client("x.example").check("http://127.0.0.1:49152/healthz", vouched=True)
    assert endpoint.port == 49152


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[fd00:ec2::254]/",
        "http://100.100.100.200/",
        "http://168.63.129.16/",
        "http://224.0.0.1/",
        "http://cloud.example/",
    ],
)
async def test_no_service_is_where_a_cloud_hands_out_credentials(url: str) -> None:
    with pytest.raises(NotAllowed):
        await client().check(url, vouched=True)


# --- the connection ------------------------------------------------------------------------------


class Listener:
    """A server on this machine that answers everything alike and counts who came."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
        self.hangs = False
        self.port = 0
        self._done = asyncio.Event()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(await reader.readuntil(b"\r\n\r\n"))
        if self.hangs:
            await self._done.wait()
        else:
            writer.write(self.answer)
            await writer.drain()
        writer.close()

    def release(self) -> None:
        self._done.set()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    server = await asyncio.start_server(listener.handle, "127.0.0.1", 0)
    listener.port = server.sockets[0].getsockname()[1]
    yield listener
    listener.release()
    server.close()
    await server.wait_closed()


async def test_a_name_that_changes_its_mind_after_the_check_gains_nothing(
    listener: Listener,
) -> None:
    """The classic of DNS rebinding: public when it is checked, this machine when it is asked."""
    answers = iter([[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]])
    asked: list[str] = []

    async def flipping(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return next(answers)

    gone: list[str] = []

    class Watched(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            gone.append(request.url.host)
            raise httpx2.ConnectError("not from here")

    hosts = AllowedHosts.parse(["flip.example"])
    web = GuardedClient(hosts, resolver=flipping, transport=Watched())
    with pytest.raises(Retryable):
        await web.get(f"https://flip.example:{listener.port}/")
    with pytest.raises(NotAllowed):
        await web.get(f"https://flip.example:{listener.port}/")
    assert asked == ["flip.example"] * 2
    assert gone == [PUBLIC]
    assert listener.requests == []


async def test_the_request_names_the_host_and_goes_to_the_address(listener: Listener) -> None:
    web = client("loop.example", "127.0.0.1")
    answer = await web.get(f"http://loop.example:{listener.port}/metrics?x=1")
    assert (answer.status, answer.body) == (200, b"ok")
    [head] = listener.requests
    assert head.startswith(b"GET /metrics?x=1 HTTP/1.1\r\n")
    assert f"\r\nhost: loop.example:{listener.port}\r\n".encode() in head.lower()
    await web.close()


async def test_the_name_of_a_tls_connection_is_the_hosts() -> None:
    seen: list[httpx2.Request] = []

    def take(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200)

    web = client(transport=httpx2.MockTransport(take))
    await web.get("https://metrics.example/")
    assert seen[0].url.host == PUBLIC
    assert seen[0].extensions["sni_hostname"] == "metrics.example"
    assert seen[0].headers["host"] == "metrics.example"


async def test_a_redirect_is_an_answer_and_is_not_followed(listener: Listener) -> None:
    listener.answer = b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\n\r\n"
    web = client("127.0.0.1")
    assert (await web.get(f"http://127.0.0.1:{listener.port}/")).status == 302
    assert len(listener.requests) == 1
    await web.close()


async def test_proxy_variables_are_not_obeyed(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    web = client("127.0.0.1")
    assert (await web.get(f"http://127.0.0.1:{listener.port}/")).status == 200
    await web.close()


async def test_a_long_answer_is_cut_off(listener: Listener) -> None:
    listener.answer = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000
    web = client("127.0.0.1")
    url = f"http://127.0.0.1:{listener.port}/"
    assert len((await web.get(url, max_bytes=5000)).body) == 5000
    with pytest.raises(Retryable, match="TooLarge"):
        await web.get(url, max_bytes=4999)
    await web.close()


async def test_a_compressed_answer_is_refused(listener: Listener) -> None:
    listener.answer = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\nx"
    web = client("127.0.0.1")
    with pytest.raises(Retryable, match="TooLarge"):
        await web.get(f"http://127.0.0.1:{listener.port}/")
    await web.close()


async def test_a_host_that_hangs_is_given_up(listener: Listener) -> None:
    listener.hangs = True
    web = client("127.0.0.1")
    with pytest.raises(Retryable, match=r"127\.0\.0\.1 did not answer \(TimeoutError\)"):
        await web.get(f"http://127.0.0.1:{listener.port}/", timeout=0.05)
    await web.close()


async def test_the_next_address_is_tried_when_one_cannot_be_reached(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NAMES, "two.example", ["127.255.255.254", "127.0.0.1"])
    web = client("two.example", "127.0.0.0/8")
    assert (await web.get(f"http://two.example:{listener.port}/")).status == 200
    await web.close()


async def test_no_error_tells_the_path() -> None:
    for url in ("https://nowhere.example/s3cret", "https://metrics.example:1/s3cret?t=s3cret"):

        def fail(request: httpx2.Request) -> httpx2.Response:
            raise httpx2.ReadError(f"{request.url} broke")

        web = client(*NAMES, "nowhere.example", transport=httpx2.MockTransport(fail))
        with pytest.raises(Retryable) as caught:
            await web.get(url)
        assert "s3cret" not in str(caught.value)


async def test_a_name_that_does_not_resolve_may_do_so_later() -> None:
    with pytest.raises(Retryable, match="cannot be resolved"):
        await client("nowhere.example").check("https://nowhere.example/")
