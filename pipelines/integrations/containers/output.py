"""The output of a command: its head and its tail, whatever it prints."""

import re
from collections import deque

KEPT_BYTES = 1 << 20
"""Of the beginning, and again of the end."""
FLOOD_BYTES = 64 << 20
"""Who prints more than this is stopped."""

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]")


class Output:
    """Keeps the first and the last mebibyte of what is fed to it, and counts the rest."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self.total = 0

    @property
    def flooded(self) -> bool:
        """Whether there was so much that the command should be stopped."""
        return self.total > FLOOD_BYTES

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        self.total += len(data)
        room = KEPT_BYTES - len(self._head)
        self._head += data[:room]
        if rest := data[room:] if room > 0 else data:
            self._tail.append(rest)
            self._tail_size += len(rest)
        while self._tail and self._tail_size - len(self._tail[0]) >= KEPT_BYTES:
            self._tail_size -= len(self._tail.popleft())

    def text(self) -> str:
        """Return what was kept as text, control characters made visible as U+FFFD."""
        tail = b"".join(self._tail)[-KEPT_BYTES:]
        left_out = self.total - len(self._head) - len(tail)
        between = f"\n[… {left_out:,} bytes left out …]\n" if left_out else ""
        text = self._head.decode(errors="replace") + between + tail.decode(errors="replace")
        if not left_out:
            text = (bytes(self._head) + tail).decode(errors="replace")
        return _CONTROL.sub("\ufffd", text)
