"""What every test process makes once, because making it costs much and says nothing about us."""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import count

import httpcore2
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

KEYS = 4
"""So many keys of a size are made; whoever asks for more is given the first one again."""


@pytest.fixture(scope="session", autouse=True)
def _made_once() -> Iterator[None]:
    """A process of ours reads the machine's certificates for each of its clients (35 ms each), and
    every App of the simulator has a new key (70 ms); a test has several of both.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpcore2, "default_ssl_context", cache(httpcore2.default_ssl_context))
        patch.setattr(rsa, "generate_private_key", _in_turn(rsa.generate_private_key))
        yield


def _in_turn(
    generate: Callable[[int, int], rsa.RSAPrivateKey],
) -> Callable[[int, int], rsa.RSAPrivateKey]:
    """Keys that differ from the one before, of which only the first few are new."""
    kept, turn = cache(lambda exponent, size, _: generate(exponent, size)), count()

    def key(public_exponent: int, key_size: int) -> rsa.RSAPrivateKey:
        return kept(public_exponent, key_size, next(turn) % KEYS)

    return key
