"""Apps prove who they are, tokens are never worth more than was granted, limits are counted."""

from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.unit.simulator.hub import Hub

NOW = 1767603600  # the virtual clock's start


CLAIMS: list[tuple[dict[str, Any], str]] = [
    ({"iat": NOW + 60}, "'Issued at' claim"),
    ({"exp": NOW - 1}, "'Expiration time' claim"),
    ({"exp": NOW + 601}, "too far in the future"),
    ({"iss": "4"}, "Integration not found"),
    ({"iss": None}, "could not be decoded"),
]


async def test_a_jwt_that_github_would_not_take_is_refused(hub: Hub) -> None:
    for claims, words in CLAIMS:
        answer = await hub.call("GET", "/app", token=hub.jwt(**claims))
        assert answer.status == 401
        assert words in answer.json["message"]


async def test_a_jwt_is_verified_with_the_apps_own_key(hub: Hub) -> None:
    other = rsa.generate_private_key(65537, 2048)
    claims = {"iss": str(hub.new_app.app.id), "iat": NOW, "exp": NOW + 60}
    forged = jwt.encode(claims, other, "RS256")
    shared = jwt.encode(claims, "k" * 32, "HS256")
    for token in (forged, shared, "nonsense"):
        assert (await hub.call("GET", "/app", token=token)).status == 401
    good = await hub.call("GET", "/app", token=hub.jwt(iss=hub.new_app.app.client_id))
    assert good.json["id"] == hub.new_app.app.id


async def test_a_token_is_long_and_lives_one_hour(hub: Hub) -> None:
    token = await hub.token()
    assert token.startswith(f"ghs_{hub.new_app.app.id}_")
    assert len(token) == 520
    assert token.count(".") == 2
    await hub.clock.advance(3599)
    assert (await hub.call("GET", "~", token=token)).status == 200
    await hub.clock.advance(1)
    late = await hub.call("GET", "~", token=token)
    assert (late.status, late.json["message"]) == (401, "Bad credentials")


async def test_a_token_is_narrowed_to_repositories_and_permissions(hub: Hub) -> None:
    other = await hub.simulator.create_repository(hub.org, "other", {"a": "a\n"})
    scope = {"repository_ids": [hub.repo.id], "permissions": {"contents": "read"}}
    token = await hub.token(**scope)
    listed = (await hub.call("GET", "/installation/repositories", token=token)).json
    assert [repo["id"] for repo in listed["repositories"]] == [hub.repo.id]
    assert (await hub.call("GET", f"/repos/{other.full_name}", token=token)).status == 404
    refused = await hub.call("GET", "~/pulls", token=token)
    assert refused.status == 403
    assert refused.json["message"] == "Resource not accessible by integration"
    assert refused.headers["X-Accepted-GitHub-Permissions"] == "pull_requests=read"
    writing = await hub.call("POST", "~/git/blobs", {"content": ""}, token=token)
    assert writing.headers["X-Accepted-GitHub-Permissions"] == "contents=write"


TOO_MUCH: list[dict[str, Any]] = [
    {"permissions": {"administration": "write"}},
    {"permissions": {"metadata": "read", "checks": "admin"}},
    {"repository_ids": [1]},
    {"repositories": ["nothing"]},
]


async def test_a_token_for_more_than_was_granted_is_refused(hub: Hub) -> None:
    path = f"/app/installations/{hub.installation.id}/access_tokens"
    for scope in TOO_MUCH:
        assert (await hub.call("POST", path, scope, token=hub.jwt())).status == 422


async def test_a_suspended_installation_gets_no_token_and_its_tokens_stop(hub: Hub) -> None:
    token = await hub.token()
    hub.simulator.suspend(hub.installation)
    path = f"/app/installations/{hub.installation.id}/access_tokens"
    refused = await hub.call("POST", path, token=hub.jwt())
    assert (refused.status, refused.json["message"]) == (
        403,
        "This installation has been suspended",
    )
    assert (await hub.call("GET", "~", token=token)).status == 403
    hub.simulator.suspend(hub.installation, suspended=False)
    assert (await hub.call("GET", "~", token=token)).status == 200


async def test_after_uninstalling_nothing_is_left(hub: Hub) -> None:
    token = await hub.token()
    hub.simulator.uninstall(hub.installation)
    path = f"/app/installations/{hub.installation.id}/access_tokens"
    assert (await hub.call("POST", path, token=hub.jwt())).status == 404
    assert (await hub.call("GET", "~", token=token)).status == 401
    assert (await hub.call("GET", "~/installation", token=hub.jwt())).status == 404


async def test_a_public_repository_is_read_but_not_written_from_outside(hub: Hub) -> None:
    outside = hub.simulator.create_user("carol")
    repo = await hub.simulator.create_repository(outside, "open", {"a": "a\n"}, private=False)
    path = f"/repos/{repo.full_name}"
    assert (await hub.api("GET", path)).status == 200
    assert (await hub.api("POST", f"{path}/git/blobs", {"content": ""})).status == 403
    assert (await hub.call("GET", path)).status == 401


async def test_the_primary_limit_is_counted_and_enforced(hub: Hub) -> None:
    first = await hub.api("GET", "~")
    assert first.headers["X-RateLimit-Remaining"] == "4999"
    reset = hub.simulator.limits.exhaust(hub.installation.id)
    refused = await hub.api("GET", "~")
    assert refused.status == 403
    assert refused.headers["X-RateLimit-Remaining"] == "0"
    assert int(refused.headers["X-RateLimit-Reset"]) == reset.timestamp()
    await hub.clock.advance(3601)
    hub.expire_token()
    assert (await hub.api("GET", "~")).status == 200


async def test_too_much_content_in_a_minute_meets_the_secondary_limit(hub: Hub) -> None:
    await hub.pull()
    hub.simulator.limits.contents_a_minute = 3
    for _ in range(3):
        assert (await hub.api("POST", "~/issues/1/comments", {"body": "hi"})).status == 201
    refused = await hub.api("POST", "~/issues/1/comments", {"body": "hi"})
    assert (refused.status, refused.headers["Retry-After"]) == (403, "60")
    assert "secondary rate limit" in refused.json["message"]
    await hub.clock.advance(61)
    assert (await hub.api("POST", "~/issues/1/comments", {"body": "hi"})).status == 201


async def test_each_call_is_recorded_with_what_allowed_it(hub: Hub) -> None:
    await hub.pull()
    await hub.api("GET", "~/pulls/1/files?per_page=1")
    call = hub.simulator.calls[-1]
    assert (call.method, call.template) == ("GET", "/repos/{owner}/{repo}/pulls/{number}/files")
    assert (call.status, call.permission) == (200, "pull_requests=read")
    assert call.installation_id == hub.installation.id
