"""The one subclass of gidgethub's client: every request passes ``_request``, REST or GraphQL."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

import gidgethub
from gidgethub import httpx as gidgethub_httpx
from gidgethub import sansio

from bot.github import errors
from bot.github.answer import Answer, as_object
from bot.github.refusals import Refusals
from bot.github.throttle import Ask, Throttle
from bot.github.transport import Transport, is_write, route
from pipelines import fence
from pipelines.ports import Clock

API_VERSION = "2026-03-10"
MAX_PAGES = 30
_LOOKED_OUT_FOR = ("/check-runs", "/reactions")
"""What tells people that Conductor is at it; they expect that within two seconds."""
_CONTENT = ("/comments", "/replies", "/reviews", "/issues", "/pulls", "/dispatches")


class Credentials(Protocol):
    """Who a client speaks as."""

    async def authorization(self) -> str:
        """Return the value of the ``Authorization`` header."""
        ...

    async def renewed(self, rejected: str) -> bool:
        """Get new credentials after a 401; returns whether trying again makes sense."""
        ...


def api_root(url: str) -> str:
    """Return the REST root without a slash at its end."""
    return url.rstrip("/")


def graphql_url(api_url: str) -> str:
    """Return the GraphQL endpoint that belongs to a REST root, also on GitHub Enterprise Server."""
    return f"{api_root(api_url).removesuffix('/v3')}/graphql"


def creates_content(method: str, path: str) -> bool:
    """Whether a write counts against GitHub's limit on content that notifies people."""
    return method == "POST" and (path.endswith(_CONTENT) or path.endswith("/graphql"))


def ask_of(scope: str, method: str, url: str, body: bytes) -> Ask:
    """Return what a request asks of the limits."""
    path = urlsplit(url).path
    # A token is made for us alone, and by the App as a whole: if mints went one a second, each
    # installation's first work would wait for all the others'.
    write = is_write(method, body) and not path.endswith("/access_tokens")
    purpose = hashlib.blake2b(f"{method} {path}".encode(), digest_size=8).hexdigest()
    return Ask(
        scope,
        resource="graphql" if path.endswith("/graphql") else "core",
        write=write,
        content=write and creates_content(method, path),
        urgent=method == "POST" and path.endswith(_LOOKED_OUT_FOR),
        purpose=purpose if write else "",
    )


class GitHubClient(gidgethub_httpx.GitHubAPI):
    """GitHub as one identity, for one purpose; cheap to build, shares all that is expensive.

    Its REST methods are gidgethub's (``getitem``, ``post``, ``patch``), with URLs relative to
    the API root and variables in URI templates. Every failure is one of ``bot.github.errors`` or
    ``pipelines.errors``; gidgethub itself only ever sees well-formed successful answers.
    """

    def __init__(
        self,
        transport: Transport,
        throttle: Throttle,
        refusals: Refusals,
        clock: Clock,
        credentials: Credentials,
        *,
        api_url: str,
        user_agent: str,
        scope: str,
        delivery_id: str = "",
    ) -> None:
        super().__init__(transport.http, user_agent, base_url=api_root(api_url))
        self.scope = scope
        self.credentials = credentials
        self._transport = transport
        self._throttle = throttle
        self._refusals = refusals
        self._clock = clock
        self._graphql_url = graphql_url(api_url)
        self._delivery_id = delivery_id

    async def query(self, document: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Return the ``data`` of a GraphQL document; raises what its errors mean."""
        data, failure = await self.query_partly(document, variables)
        if failure is not None:
            raise failure
        return data

    async def query_partly(
        self, document: str, variables: Mapping[str, Any]
    ) -> tuple[dict[str, Any], Exception | None]:
        """Return what GraphQL could answer, and what the rest means; raises Parked for a limit."""
        response: Any = None
        try:
            data = await self.graphql(document, endpoint=self._graphql_url, **variables)
        except gidgethub.GraphQLException as error:
            response = error.response
            if errors.graphql_limited(response):
                limit = errors.Limit("primary", None)
                raise await self._throttle.penalise(self.scope, limit) from error
            data = as_object(response).get("data")
        except (LookupError, TypeError):  # gidgethub expects every error to have a message
            data = None
        if isinstance(data, dict) and response is None:
            return as_object(data), None
        failure = errors.graphql_error(response, writes=document.startswith("mutation"))
        if data:
            return as_object(data), failure
        raise failure

    async def pages(self, url: str, *, most: int = MAX_PAGES) -> AsyncIterator[tuple[Any, bool]]:
        """Yield each page and whether it is the last; stops at ``most`` pages or at a circle."""
        following: str | None = url
        seen = set[str]()
        while following is not None and following not in seen and len(seen) < most:
            seen.add(following)
            data, following = await self.page(following)
            yield data, following is None

    async def page(self, url: str) -> tuple[Any, str | None]:
        """Return one page and the address of the next, None if it is the last."""
        data, following, _ = await self._make_request("GET", url, None, b"", sansio.accept_format())
        return data, following

    async def _make_request(
        self, method: str, url: str, *rest: Any, **options: Any
    ) -> tuple[Any, str | None, int]:
        """Refuse what is no address before gidgethub takes it apart."""
        try:
            urlsplit(url.removeprefix("/"))
        except ValueError:
            raise errors.ForeignAddress(url) from None
        return await super()._make_request(method, url, *rest, **options)

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send one request within the limits; returns only answers that are well-formed."""
        self._transport.pin(url)
        request = (self.scope, method, url, hash(body))
        self._refusals.check(request, self._clock.monotonic())
        authorization, answer = await self._attempt(method, url, headers, body)
        if answer.status == 401 and await self.credentials.renewed(authorization):
            _, answer = await self._attempt(method, url, headers, body)
        error = errors.error_of(
            answer,
            method=method,
            route=route(url),
            writes=is_write(method, body),
            now=self._clock.now(),
        )
        self._refusals.note(request, answer.status, self._clock.monotonic())
        if error is not None:
            raise error
        return answer.status, _plain(answer), answer.body

    async def _attempt(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[str, Answer]:
        authorization = await self.credentials.authorization()
        ask = ask_of(self.scope, method, url, body)
        async with self._throttle.slot(ask) as place:
            sent = {**headers, **self._own_headers(), "authorization": authorization}
            if ask.write:
                fence.check()
            answer = await self._transport.send(method, url, sent, body)
            limit = errors.limit_of(answer, self._clock.now())
            place.answered(answer.headers, limit=limit, succeeded=answer.status < 300)
        return authorization, answer

    def _own_headers(self) -> dict[str, str]:
        own = {
            "accept-encoding": "gzip",
            "user-agent": self.requester,
            "x-github-api-version": API_VERSION,
        }
        if self._delivery_id:
            own["x-github-delivery"] = self._delivery_id
        return own


def _plain(answer: Answer) -> dict[str, str]:
    """Return the headers gidgethub needs; the limits are ours to read, and theirs may be broken."""
    link = answer.headers.get("link")
    plain = {"content-type": "application/json; charset=utf-8"}
    return {**plain, "link": link} if link else plain
