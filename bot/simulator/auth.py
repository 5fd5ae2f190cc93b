"""Who calls: the App's JWT, really verified, and installation tokens with what they may.

https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jwt

from bot.simulator.errors import Refused, forbidden, invalid
from bot.simulator.protocol import Call, Operation
from bot.simulator.state import App, Installation, Repository, Token
from bot.simulator.world import World, stamp

TOKEN_LIFE = timedelta(hours=1)
MAX_JWT_LIFE = 600
"""Seconds that ``exp`` may lie ahead."""
TOKEN_LENGTH = 520
LEVELS = {"read": 1, "write": 2, "admin": 3}
SUSPENDED = "This installation has been suspended"
UNREADABLE = "A JSON web token could not be decoded"


def credentials(headers: Mapping[str, str]) -> str:
    """The token of the Authorization header, by whichever scheme; empty without one."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() in ("bearer", "token") else ""


def verified_app(world: World, token: str) -> App:
    """Check a JWT's signature and times as GitHub does; 401 says what is wrong."""
    try:
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
    except jwt.InvalidTokenError:
        raise Refused(401, UNREADABLE) from None
    apps = world.state.apps.values()
    app = next((a for a in apps if str(issuer) in (str(a.id), a.client_id)), None)
    if app is None:
        raise Refused(401, UNREADABLE if issuer is None else "Integration not found")
    try:
        claims = jwt.decode(
            token,
            app.public_key,
            algorithms=["RS256"],
            # The times are checked below, against the simulator's own clock.
            options={
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
                "verify_aud": False,
            },
        )
    except jwt.InvalidTokenError:
        raise Refused(401, UNREADABLE) from None
    _check_times(claims, world.clock.now().timestamp())
    return app


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    issued, expires = claims.get("iat"), claims.get("exp")
    if not isinstance(issued, int) or issued > now:
        raise Refused(
            401,
            "'Issued at' claim ('iat') must be an Integer representing the time that the "
            "assertion was issued",
        )
    if not isinstance(expires, int) or expires <= now:
        raise Refused(
            401,
            "'Expiration time' claim ('exp') must be a numeric value representing the future time "
            "at which the assertion expires",
        )
    if expires > now + MAX_JWT_LIFE:
        raise Refused(401, "'Expiration time' claim ('exp') is too far in the future")


def verified_token(world: World, value: str) -> Token:
    """Find an installation token that is still good; 401 if not, 403 if suspended."""
    token = world.state.tokens.get(value)
    gone = token is None or token.installation.id not in world.state.installations
    if token is None or gone or token.expires_at <= world.now():
        raise Refused(401, "Bad credentials")
    if token.installation.suspended_at:
        raise Refused(403, SUSPENDED)
    return token


@dataclass(frozen=True)
class Scope:
    """What a new token shall be narrowed to; None leaves everything the installation has."""

    repository_ids: Sequence[int] | None = None
    repositories: Sequence[str] | None = None
    permissions: Mapping[str, str] | None = None


def mint(world: World, installation: Installation, scope: Scope) -> Token:
    """Make an installation token, never for more than was granted (422)."""
    if installation.suspended_at:
        raise Refused(403, SUSPENDED)
    granted = installation.permissions
    wanted = dict(scope.permissions) if scope.permissions else dict(granted)
    wanted.setdefault("metadata", "read")
    for name, level in wanted.items():
        if name != "metadata" and LEVELS.get(level, 9) > LEVELS.get(granted.get(name, ""), 0):
            raise invalid("The permissions requested are not granted to this installation.")
    app = installation.app
    head = f"ghs_{app.id}_eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9."
    rest = world.secret(TOKEN_LENGTH - len(head) - 1)
    token = Token(
        value=f"{head}{rest[:130]}.{rest[130:]}",
        installation=installation,
        permissions=wanted,
        repositories=_chosen(world, installation, scope),
        expires_at=world.now() + TOKEN_LIFE,
    )
    world.state.tokens[token.value] = token
    return token


def _chosen(
    world: World, installation: Installation, scope: Scope
) -> tuple[Repository, ...] | None:
    if scope.repository_ids is None and scope.repositories is None:
        return None
    names, ids = set(scope.repositories or ()), set(scope.repository_ids or ())
    reach = [r for r in world.state.repositories.values() if installation.covers(r)]
    chosen = tuple(r for r in reach if r.id in ids or r.name in names)
    if not ids <= {r.id for r in reach} or not names <= {r.name for r in reach}:
        raise invalid(
            "There is at least one repository that does not exist or is not accessible to the "
            "parent installation."
        )
    return chosen


def authorize(call: Call, operation: Operation) -> str:
    """Let the call pass or raise; returns the permission that allowed it.

    Public repositories may be read by anyone; writing always needs the permission and the
    repository in the installation.
    """
    value = credentials(call.headers)
    if operation.as_app:
        call.app = verified_app(call.world, value)
        return "app"
    if not value:
        raise Refused(401, "Requires authentication")
    call.token = verified_token(call.world, value)
    in_repository = "owner" in call.path
    reading = operation.method == "GET"
    if in_repository and not call.token.reaches(call.repo):
        if reading:
            return "public"
        raise forbidden()
    for need in operation.needs:
        if allows(call.token, need):
            return need
    raise forbidden("; ".join(operation.needs))


def allows(token: Token, need: str) -> bool:
    """Whether a token holds a permission such as ``checks=write``."""
    name, _, level = need.partition("=")
    return LEVELS.get(token.permissions.get(name, ""), 0) >= LEVELS[level]


def expiry(token: Token) -> str | None:
    """When a token ends, as GitHub writes it."""
    return stamp(token.expires_at)
