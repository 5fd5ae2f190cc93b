"""The HTTP side: finds the operation, lets it be authorized, counts, fails on order, answers."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from bot.simulator import auth
from bot.simulator.api import (
    apps,
    checks,
    deployments,
    git_data,
    graphql,
    hook_deliveries,
    issues,
    pulls,
    repos,
    reviews,
)
from bot.simulator.errors import Refused, not_found
from bot.simulator.faults import Fault, Faults
from bot.simulator.limits import Limits
from bot.simulator.pages import Pages
from bot.simulator.protocol import GRAPHQL, Answer, Call, Operation
from bot.simulator.record import ApiCall, Exchange, Observer
from bot.simulator.world import World

MAX_BODY = 100 * 1024 * 1024
VERSION = "2026-03-10"
SUPPORTED_VERSIONS = ("2022-11-28", VERSION)

_ALL: tuple[Operation, ...] = (
    *apps.OPERATIONS,
    *hook_deliveries.OPERATIONS,
    *repos.OPERATIONS,
    *git_data.OPERATIONS,
    *pulls.OPERATIONS,
    *reviews.OPERATIONS,
    *issues.OPERATIONS,
    *checks.OPERATIONS,
    *deployments.OPERATIONS,
    *graphql.OPERATIONS,
)
OPERATIONS = tuple(sorted(_ALL, key=lambda o: o.template.count("{") * 10 - len(o.template)))
"""Every operation, the most specific path first."""


@dataclass
class _Outcome:
    """What one request came to."""

    answer: Answer
    template: str = ""
    permission: str = ""
    call: Call | None = None
    fault: Fault | None = None


@dataclass
class ApiServer:
    """Answers the API; the pages take what no operation claims."""

    world: World
    limits: Limits
    faults: Faults
    observer: Observer
    pages: Pages
    calls: list[ApiCall] = field(default_factory=list[ApiCall])
    operations: Sequence[Operation] = OPERATIONS

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request and record it."""
        body = await request.read()
        fault = self.faults.take(request.method, request.path)
        if fault and fault.delay:
            await self.world.clock.sleep(fault.delay)
        if fault and fault.cut == "before":
            return self._cut(request, _Outcome(Answer(), fault=fault))
        if not self._find(request)[2] and not fault and (page := await self._page(request)):
            return page
        outcome = await self._outcome(request, body, fault)
        if fault and fault.cut == "after":
            return self._cut(request, outcome)
        return self._respond(request, body, outcome)

    async def _page(self, request: web.Request) -> web.StreamResponse | None:
        try:
            return await self.pages.answer(request)
        except Refused as refused:
            return web.Response(text=refused.message, status=refused.status)
        except ValueError as error:
            return web.Response(text=str(error), status=422)

    async def _outcome(self, request: web.Request, body: bytes, fault: Fault | None) -> _Outcome:
        operation, parameters, known = self._find(request)
        outcome = _Outcome(Answer(), operation.template if operation else "", fault=fault)
        if fault and fault.status is not None:
            refusal = Refused(fault.status, "Injected").body() if fault.body is None else fault.body
            outcome.answer = Answer(refusal, fault.status, fault.headers)
            return outcome
        try:
            if operation is None:
                raise Refused(405, "Method Not Allowed") if known else not_found()
            call = outcome.call = self._call(request, body, parameters)
            outcome.permission = self._admit(call, operation)
            outcome.answer = await self._carry_out(call, operation)
        except Refused as refused:
            outcome.answer = Answer(refused.body(), refused.status, refused.headers)
        return outcome

    def _find(self, request: web.Request) -> tuple[Operation | None, dict[str, str], bool]:
        known = False
        for operation in self.operations:
            if match := operation.pattern.fullmatch(request.path):
                known = True
                if operation.method == request.method:
                    return operation, match.groupdict(), True
        return None, {}, known

    def _call(self, request: web.Request, body: bytes, parameters: dict[str, str]) -> Call:
        version = request.headers.get("X-GitHub-Api-Version", VERSION)
        if version not in SUPPORTED_VERSIONS:
            raise Refused(400, f"{version} is not a supported version of the REST API")
        if "\0" in request.path or any("\0" in value for value in request.query.values()):
            raise Refused(400, "A path or query with a NUL byte is not valid.")
        if not request.headers.get("User-Agent"):
            raise Refused(403, "Request forbidden by administrative rules. User-Agent is missing.")
        return Call(
            world=self.world,
            path=parameters,
            query=dict(request.query),
            headers=request.headers,
            body=body,
            url=f"{self.world.base_url}{request.path}",
        )

    def _admit(self, call: Call, operation: Operation) -> str:
        permission = auth.authorize(call, operation)
        if call.token:
            write = operation.method != "GET" and operation.template != GRAPHQL
            number = call.token.installation.id
            self.limits.spend(number, write=write, creates=operation.creates)
        return permission

    async def _carry_out(self, call: Call, operation: Operation) -> Answer:
        if operation.method == "GET":
            return await operation.handler(call)
        async with self.world.lock:
            return await operation.handler(call)

    def _respond(self, request: web.Request, body: bytes, outcome: _Outcome) -> web.StreamResponse:
        answer, tag = outcome.answer, ""
        content = encoded(answer)
        if request.method == "GET" and answer.status == 200 and outcome.call:
            tag = f'W/"{hashlib.sha256(content).hexdigest()}"'
            if request.headers.get("If-None-Match") == tag:
                answer, content = Answer(status=304, headers=answer.headers), b""
                self._give_back(outcome.call)
        headers = {**self._common(outcome), **answer.headers, **({"ETag": tag} if tag else {})}
        if content:
            headers["Content-Type"] = answer.media
        self._record(request, outcome, answer.status)
        self.observer.exchange(
            Exchange(
                method=request.method,
                template=outcome.template,
                path=request.path,
                query=dict(request.query),
                request_headers=dict(request.headers),
                request_body=body,
                status=answer.status,
                media=answer.media,
                response_body=content,
                injected=bool(outcome.fault and outcome.fault.status is not None),
                response_headers=headers,
            )
        )
        return web.Response(body=content, status=answer.status, headers=headers)

    def _give_back(self, call: Call) -> None:
        """Let an answer that nothing has changed cost nothing."""
        if call.token:
            self.limits.give_back(call.token.installation.id)

    def _common(self, outcome: _Outcome) -> dict[str, str]:
        headers = {
            "X-GitHub-Request-Id": f"{self.world.rng.getrandbits(64):016X}",
            "X-GitHub-Media-Type": "github.v3; format=json",
            "X-GitHub-Api-Version-Selected": VERSION,
            "Server": "github.com",
        }
        token = outcome.call.token if outcome.call else None
        if token:
            resource = "graphql" if outcome.template == GRAPHQL else "core"
            headers |= self.limits.headers(token.installation.id, resource)
        return headers

    def _record(self, request: web.Request, outcome: _Outcome, status: int) -> None:
        call = outcome.call
        token = call.token if call else None
        app = call.app if call else None
        self.calls.append(
            ApiCall(
                at=self.world.now(),
                method=request.method,
                template=outcome.template,
                path=request.path,
                status=status,
                permission=outcome.permission,
                app_id=app.id if app else token.installation.app.id if token else None,
                installation_id=token.installation.id if token else None,
            )
        )

    def _cut(self, request: web.Request, outcome: _Outcome) -> web.StreamResponse:
        self._record(request, outcome, 0)
        if request.transport:
            request.transport.abort()
        return web.Response()


def encoded(answer: Answer) -> bytes:
    """The answer's body: bytes as they are, everything else as JSON, nothing for 204."""
    document: Any = answer.document
    if document is None:
        return b""
    if isinstance(document, bytes):
        return document
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
