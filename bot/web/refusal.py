"""Requests that are turned down before anything is stored, and what they are answered with."""

from aiohttp import web

from bot.deliveries.pressure import Overloaded
from bot.web.body import BodyTooLarge
from pipelines.errors import ConductorError, UserError


class Refused(ConductorError):
    """A request that is answered with a status and one sentence, before anything is stored."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def check_media(request: web.Request) -> None:
    """Raise Refused unless the body is plain JSON in UTF-8."""
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise Refused(415, "Compressed bodies are not taken; send plain JSON.")
    if request.content_type != "application/json":
        raise Refused(415, "Set the webhook's content type to application/json.")
    if (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
        raise Refused(415, "JSON is UTF-8; other charsets are not taken.")


def status_of(error: ConductorError) -> int:
    """Return the status that an error is answered with."""
    match error:
        case Refused():
            return error.status
        case BodyTooLarge():
            return 413
        case UserError():
            return 400
        case _:
            return 503


def headers_of(error: ConductorError) -> dict[str, str]:
    """Return the headers that an error is answered with: when to come back, if that is known."""
    return {"Retry-After": str(error.retry_after)} if isinstance(error, Overloaded) else {}
