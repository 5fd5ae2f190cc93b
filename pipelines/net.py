"""Requests to addresses that a repository's configuration names: only where the operator allows.

Such an address is a stranger's wish. Its host must be in the operator's list; it is resolved once
and the connection goes to that very address, so that a name which answers differently the second
time gains nothing. Redirects and proxy variables are not followed.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2

from pipelines.errors import Retryable, UserError
from pipelines.model import Frozen

MAX_BYTES = 1024 * 1024
TIMEOUT_SECONDS = 10.0
_MAX_URL = 2048
_MAX_ADDRESSES = 4
_PLAIN = re.compile(r"[!-\[\]-~]+", re.ASCII)
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*", re.ASCII)
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)", re.ASCII)
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_TRANSLATED = tuple(
    map(ipaddress.ip_network, ("2001::/23", "2002::/16", "64:ff9b::/96", "64:ff9b:1::/48"))
)

_MAPPED = ipaddress.ip_network("::ffff:0:0/96")
_METADATA = tuple(map(ipaddress.ip_address, ("100.100.100.200", "168.63.129.16", "fd00:ec2::254")))

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""From host and port to numeric addresses; raises OSError if there are none."""


class NotAllowed(UserError):
    """The address may not be asked; says what the operator can do about it."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return what the machine's own resolver says, best first."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The operator's list: host names, IP addresses and networks, each with or without a port."""

    names: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[tuple[Network, int | None], ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> "AllowedHosts":
        """Read entries such as ``grafana.example``, ``10.0.0.0/8`` and ``127.0.0.1:9090``.

        Raises UserError for one that is none of these.
        """
        names: set[tuple[str, int | None]] = set()
        networks: list[tuple[Network, int | None]] = []
        for entry in filter(None, (each.strip().lower() for each in entries)):
            host, port = _entry(entry)
            network = _network(host)
            if network is not None:
                networks.append((network, port))
            elif _is_name(host.rstrip(".")):
                names.add((host.rstrip("."), port))
            else:
                raise UserError(
                    f"CONDUCTOR_ALLOWED_HOSTS has {entry[:100]!r}, which is no host name, "
                    "IP address or network."
                )
        return cls(frozenset(names), tuple(networks))

    def names_host(self, host: str, port: int) -> bool:
        """Whether this name, or this literal address, is in the list."""
        literal = _literal(host)
        if literal is not None:
            return self.holds(literal, port)
        return (host, port) in self.names or (host, None) in self.names

    def holds(self, address: Address, port: int) -> bool:
        """Whether the address itself, or a network that it is in, is in the list."""
        return any(
            address in network for network, wanted in self.networks if wanted in (None, port)
        )


class Endpoint(Frozen):
    """An address that was checked: where the connection goes, and as whom it is asked."""

    scheme: str
    host: str
    port: int
    target: str
    """Path and query."""
    addresses: tuple[str, ...]

    @property
    def authority(self) -> str:
        """The ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"http": 80, "https": 443}[self.scheme]
        return host if self.port == usual else f"{host}:{self.port}"


class Answer(Frozen):
    """What came back, whatever its status."""

    status: int
    body: bytes
    content_type: str = ""
    retry_after: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    headers: Mapping[str, str]
    content: bytes | None
    max_bytes: int
    vouched: bool = False


class GuardedClient:
    """Asks only addresses that the operator allows; closes its connections after each request."""

    def __init__(
        self,
        allowed: AllowedHosts,
        *,
        resolver: Resolver = resolve,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """``transport`` None is the network; another one is for whoever tests a user of this."""
        self._allowed = allowed
        self._resolve = resolver
        # A kept connection is told apart by address only, and so could serve another name.
        self._client = httpx2.AsyncClient(
            headers={"accept-encoding": "identity", "user-agent": "Conductor"},
            timeout=TIMEOUT_SECONDS,
            follow_redirects=False,
            trust_env=False,
            limits=httpx2.Limits(max_connections=16, max_keepalive_connections=0),
            transport=transport,
        )

    async def check(self, url: str, *, vouched: bool = False) -> Endpoint:
        """Resolve the address once and check what it points to; raises NotAllowed, Retryable.

        ``vouched``: it is no wish of a repository, but comes from where Conductor itself deployed
        to, so it needs no entry in the list and may be on this machine or in its network.
        """
        scheme, host, port, target = _parts(url)
        if not vouched and not self._allowed.names_host(host, port):
            raise NotAllowed(
                f"The host {host} is not in CONDUCTOR_ALLOWED_HOSTS, so it is not asked."
            )
        literal = _literal(host)
        found = [str(literal)] if literal else await self._addresses(host, port)
        for text in found:
            self._accept(host, _literal(text), port, None if vouched else scheme)
        return Endpoint(
            scheme=scheme,
            host=host,
            port=port,
            target=target,
            addresses=tuple(found[:_MAX_ADDRESSES]),
        )

    async def get(
        self,
        url: str,
        *,
        vouched: bool = False,
        max_bytes: int = MAX_BYTES,
        timeout: float = TIMEOUT_SECONDS,
    ) -> Answer:
        """Return the answer to a GET; NotAllowed, or Retryable if there was none in time."""
        return await self._request(url, _Call("GET", {}, None, max_bytes, vouched), timeout)

    async def post(
        self,
        url: str,
        content: bytes,
        headers: Mapping[str, str],
        *,
        timeout: float = TIMEOUT_SECONDS,
    ) -> Answer:
        """Return the answer to a POST; NotAllowed, or Retryable if there was none in time."""
        return await self._request(url, _Call("POST", headers, content, MAX_BYTES), timeout)

    async def close(self) -> None:
        """Close what is still open."""
        await self._client.aclose()

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                found = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise Retryable(f"The host {host} cannot be resolved.", dependency=host) from error
        if not found:
            raise Retryable(f"The host {host} has no address.", dependency=host)
        return found

    def _accept(self, host: str, address: Address | None, port: int, scheme: str | None) -> None:
        """Raise NotAllowed unless the address may be asked; ``scheme`` None vouches for it."""
        if address is not None and self._allowed.holds(address, port):
            return
        if scheme is None and address is not None and not _is_metadata(address):
            return
        if address is None or not is_public(address):
            raise NotAllowed(
                f"The host {host} is at {address}, which is not a public address; if that is "
                "meant, add the address or its network to CONDUCTOR_ALLOWED_HOSTS."
            )
        if scheme == "http":
            raise NotAllowed(
                f"The host {host} is public, so it is asked by https only; or add its address to "
                "CONDUCTOR_ALLOWED_HOSTS."
            )

    async def _request(self, url: str, call: _Call, timeout: float) -> Answer:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(timeout):
                endpoint = await self.check(url, vouched=call.vouched)
                answer = await self._connect(endpoint, call)
        except (httpx2.HTTPError, httpx2.StreamError, TimeoutError) as error:
            # The error's own text may quote the whole address, which may hold a secret.
            host = _parts(url)[1]
            raise Retryable(
                f"The host {host} did not answer ({type(error).__name__}).", dependency=host
            ) from None
        return answer.model_copy(update={"seconds": max(0.0, loop.time() - started)})

    async def _connect(self, endpoint: Endpoint, call: _Call) -> Answer:
        """Ask the first address that can be connected to."""
        *others, last = endpoint.addresses
        for address in others:
            try:
                return await self._ask(endpoint, address, call)
            except httpx2.ConnectError:
                continue
        return await self._ask(endpoint, last, call)

    async def _ask(self, endpoint: Endpoint, address: str, call: _Call) -> Answer:
        place = f"[{address}]" if ":" in address else address
        request = self._client.build_request(
            call.method,
            f"{endpoint.scheme}://{place}:{endpoint.port}{endpoint.target}",
            headers={**call.headers, "host": endpoint.authority},
            content=call.content,
            extensions={"sni_hostname": endpoint.host},
        )
        response = await self._client.send(request, stream=True)
        try:
            return Answer(
                status=response.status_code,
                body=await read_capped(response, call.max_bytes),
                content_type=response.headers.get("content-type", ""),
                retry_after=response.headers.get("retry-after", ""),
            )
        finally:
            await response.aclose()


class TooLarge(httpx2.TransportError):
    """The answer has more bytes than allowed, or is encoded so that this cannot be known."""


async def read_capped(response: httpx2.Response, max_bytes: int) -> bytes:
    """Return the body of a streamed response; raises TooLarge as soon as it is longer."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise TooLarge("the answer is encoded without being asked")
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > max_bytes:
            raise TooLarge(f"the answer is larger than {max_bytes} bytes")
    return bytes(body)


def is_public(address: Address) -> bool:
    """Whether an address is of the open internet and does not stand for one that is not.

    Addresses that translate to another one (IPv4-mapped, 6to4, Teredo, NAT64) never count.
    """
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if address in _METADATA:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return address not in ipaddress.ip_network("192.88.99.0/24")
    return address in _GLOBAL_UNICAST and not any(address in each for each in _TRANSLATED)


def _is_metadata(address: Address) -> bool:
    """Whether a cloud hands out credentials there, or nothing that was deployed can be there."""
    translated = isinstance(address, ipaddress.IPv6Address) and any(
        address in each for each in (*_TRANSLATED, _MAPPED)
    )
    return translated or address.is_link_local or address.is_multicast or address in _METADATA


def _parts(url: str) -> tuple[str, str, int, str]:
    """Return scheme, host, port and target of an address that has only one reading."""
    refusal = NotAllowed("This is not an address that is asked: https://HOST/PATH, in plain ASCII.")
    if len(url) > _MAX_URL or not _PLAIN.fullmatch(url):
        raise refusal
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").removesuffix("."), parts.port
    except ValueError:
        raise refusal from None
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or port == 0:
        raise refusal
    if _literal(host) is None and not _is_name(host):
        raise refusal
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.scheme, host, port or {"http": 80, "https": 443}[parts.scheme], target


def _is_name(host: str) -> bool:
    """Whether it is a name; what some resolvers read as a number, such as ``0x7f.1``, is none."""
    return len(host) <= 253 and bool(_NAME.fullmatch(host)) and not _NUMERIC.fullmatch(host)


def _literal(host: str) -> Address | None:
    try:
        return None if "%" in host else ipaddress.ip_address(host)
    except ValueError:
        return None


def _network(host: str) -> Network | None:
    try:
        return ipaddress.ip_network(host.strip("[]"), strict=False)
    except ValueError:
        return None


def _entry(entry: str) -> tuple[str, int | None]:
    """Split a port off; an IPv6 address with one stands in brackets."""
    match = re.fullmatch(r"(\[[0-9a-f:.]+\]|[^:]+):(\d{1,5})", entry)
    return (match[1], int(match[2])) if match else (entry, None)
