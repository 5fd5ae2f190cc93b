"""Removes known secrets, and whatever looks like one, from every text that leaves the process."""

import base64
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from pipelines.redaction import redact

MASK = "[redacted]"
_SHORTEST = 8
"""Values below this length would also match ordinary words."""


class Redactor:
    """Call it with a text to get the text without secrets.

    Secrets are matched by their exact value (also URL-quoted, hexadecimal and base64 at any
    offset) and by the shape of well-known tokens.
    """

    def __init__(self, secrets: Iterable[str] = (), *, remember: int = 500) -> None:
        self._remember = remember
        self._known: dict[str, None] = {}
        self._pattern: re.Pattern[str] | None = None
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Know one more secret; the oldest are forgotten beyond ``remember`` values."""
        for part in _parts(secret):
            self._known.pop(part, None)
            self._known[part] = None
        while len(self._known) > self._remember:
            del self._known[next(iter(self._known))]
        self._pattern = None

    def __call__(self, text: str) -> str:
        """Return the text with every secret replaced by ``[redacted]``."""
        if self._known:
            text = self._compiled().sub(MASK, text)
        return redact(text)[0]

    def _compiled(self) -> re.Pattern[str]:
        if self._pattern is None:
            forms = {form for secret in self._known for form in _forms(secret)}
            longest_first = sorted(forms, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))
        return self._pattern


def _parts(secret: str) -> Iterator[str]:
    """The secret, and each line of one that has several, such as a PEM key."""
    stripped = secret.strip()
    for part in {stripped, *stripped.splitlines()}:
        if len(part) >= _SHORTEST and not part.startswith("-----"):
            yield part


def _forms(secret: str) -> Iterator[str]:
    raw = secret.encode()
    yield secret
    yield quote(secret, safe="")
    yield raw.hex()
    yield raw.hex().upper()
    for offset in range(3):
        # The characters at the edges also depend on the neighbouring bytes, so they are left out.
        whole = len(raw) - (3 - offset) % 3
        core = raw[(3 - offset) % 3 :][: whole - whole % 3]
        if len(core) >= _SHORTEST:
            encoded = base64.b64encode(core).decode()
            yield encoded
            yield encoded.replace("+", "-").replace("/", "_")
