"""What every test process makes once, because making it costs much and says nothing about us."""

from collections.abc import Iterator
from functools import cache
from itertools import count

import httpcore2
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import settings

# A busy machine is no finding.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

_generate = rsa.generate_private_key


@cache
def _key(public_exponent: int, key_size: int, number: int) -> rsa.RSAPrivateKey:
    del number  # two keys of a test are never the same
    return _generate(public_exponent, key_size)


@pytest.fixture(scope="session", autouse=True)
def _certificates() -> Iterator[None]:
    """Those of the machine: our processes read them for each of their clients, 35 ms each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpcore2, "default_ssl_context", cache(httpcore2.default_ssl_context))
        yield


@pytest.fixture(autouse=True)
def _keys() -> Iterator[None]:
    """The n-th key is the same in every test: making one takes 70 ms, and the pattern that keeps
    it out of the log is compiled for each key anew.
    """
    turn = count()

    def key(public_exponent: int, key_size: int) -> rsa.RSAPrivateKey:
        return _key(public_exponent, key_size, next(turn))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rsa, "generate_private_key", key)
        yield
