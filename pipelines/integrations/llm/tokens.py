"""How many tokens a text may have, estimated without a tokenizer and never too low in practice."""

import re

# Byte-pair tokenizers cut source code into pieces of about this shape: a few letters with the space
# before them, a digit, a mark, a short run of one kind of white space. Real ones merge more, so the
# count is high.
_PIECE = re.compile(
    r" ?[A-Za-z]{1,3}|[0-9]| ?[^\sA-Za-z0-9]| {1,8}|\t{1,2}|\n{1,2}|\s",
)
PER_MESSAGE = 8
"""Tokens that a chat template adds around each message, at most."""
PER_TOOLS = 600
"""Tokens of the provider's own words about tool use; Anthropic documents up to 530."""


def estimate_tokens(text: str) -> int:
    """Return an upper estimate; a character outside ASCII counts as its UTF-8 bytes."""
    pieces = sum(1 for _ in _PIECE.finditer(text))
    if text.isascii():
        return pieces
    return pieces + len(text.encode("utf-8", "surrogatepass")) - len(text)
