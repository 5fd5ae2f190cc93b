"""What the simulated GitHub refuses, in GitHub's words and shapes."""

from collections.abc import Mapping, Sequence
from typing import Any

DOCS = "https://docs.github.com/rest"


class Refused(Exception):
    """An answer that is not a success: status, message and GitHub's list of errors."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        errors: Sequence[str | Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The JSON document GitHub sends with it."""
        document: dict[str, Any] = {"message": self.message}
        if self.errors:
            document["errors"] = list(self.errors)
        return {**document, "documentation_url": DOCS, "status": str(self.status)}


def not_found() -> Refused:
    """404: absent, or not visible to the caller; GitHub does not say which."""
    return Refused(404, "Not Found")


def invalid(message: str, *errors: str | Mapping[str, Any]) -> Refused:
    """422: understood and refused."""
    return Refused(422, message, errors=errors)


def validation_failed(resource: str, field: str, code: str = "invalid") -> Refused:
    """422 with the usual triple of resource, field and code."""
    return invalid("Validation Failed", {"resource": resource, "field": field, "code": code})


def forbidden(needed: str = "") -> Refused:
    """403 of a token without the permission; names the ones that would do."""
    headers = {"X-Accepted-GitHub-Permissions": needed} if needed else {}
    return Refused(403, "Resource not accessible by integration", headers=headers)
