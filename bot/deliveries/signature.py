"""Whether a webhook body was signed with one of our secrets.

Only the body is signed, so no header may be trusted because of it
(https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries).
"""

import hashlib
import hmac
import re
from collections.abc import Sequence

from pydantic import SecretStr

from pipelines.errors import UserError

MIN_SECRET_CHARACTERS = 32
_HEADER = re.compile(r"sha256=[0-9a-f]{64}", re.ASCII)


class SignatureVerifier:
    """Checks HMAC-SHA256 signatures against up to two secrets, the current and the previous one."""

    def __init__(self, current: SecretStr, previous: SecretStr | None = None) -> None:
        secrets = [current] if previous is None else [current, previous]
        for secret in secrets:
            if len(secret.get_secret_value()) < MIN_SECRET_CHARACTERS:
                raise UserError(
                    "The webhook secret is shorter than 32 characters; make one with "
                    "`openssl rand -hex 32` and set it here and in the App's settings."
                )
        self._keys = [secret.get_secret_value().encode() for secret in secrets]

    def well_formed(self, headers: Sequence[str]) -> bool:
        """Whether there is exactly one ``X-Hub-Signature-256`` and it has GitHub's form.

        Answered before the body is read: whoever cannot even form a signature costs nothing more.
        """
        return len(headers) == 1 and _HEADER.fullmatch(headers[0]) is not None

    def verify(self, header: str, body: bytes) -> bool:
        """Whether the header signs exactly these bytes; compares in constant time."""
        given = header.encode("ascii", "replace")
        matches = [hmac.compare_digest(signature(key, body).encode(), given) for key in self._keys]
        return any(matches)


def signature(key: bytes, body: bytes) -> str:
    """Return the value of ``X-Hub-Signature-256`` for a body."""
    return "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()
