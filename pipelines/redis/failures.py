"""What went wrong with Redis, in our words: one sentence that says what to do, and no secret."""

import ssl
from collections.abc import Iterator

from redis import exceptions

from pipelines.errors import NotStored
from pipelines.redis.address import Address

_SHOWN = 200
_MEND = "CONDUCTOR_STORAGE_URL (or REDIS_URL)"


class Unanswered(NotStored):
    """The connection ended after the command was sent: it may or may not have been carried out."""


class Refused(NotStored):
    """Redis answered with an error: nothing was carried out."""


class Moved(Refused):
    """Another server would take it: ``elsewhere`` if that was named, or a new primary."""

    def __init__(self, message: str, elsewhere: tuple[str, int] | None = None) -> None:
        super().__init__(message)
        self.elsewhere = elsewhere


class UnknownScript(Refused):
    """The server has not got the script of this digest, for instance since its restart."""


def translated(error: BaseException, address: Address, *, sent: bool) -> NotStored:
    """Return the exception to raise for what the client raised; ``sent`` if Redis may have it."""
    if isinstance(error, exceptions.AuthenticationError):
        return Refused(
            f"Redis at {address} refused the user name or password; correct them in {_MEND}."
        )
    if isinstance(error, exceptions.BusyLoadingError):
        return Refused(f"Redis at {address} is still loading its data; wait for it.")
    if isinstance(error, exceptions.ResponseError):
        return _refused(error, address)
    why = _unreachable(error, address)
    if sent:
        return Unanswered(f"{why} Whether it carried out the last command is unknown.")
    return NotStored(why)


def _refused(error: exceptions.ResponseError, address: Address) -> Refused:
    if isinstance(error, exceptions.NoScriptError):
        return UnknownScript(f"Redis at {address} does not know a script of ours.")
    if isinstance(error, exceptions.MovedError):
        return Moved(
            f"Redis at {address} is a cluster that keeps our keys on another node; name that node "
            f"in {_MEND}.",
            _node(error.args[0]),
        )
    if isinstance(error, exceptions.ReadOnlyError | exceptions.MasterDownError):
        return Moved(
            f"Redis at {address} is a replica and takes no writes; name the primary, or the "
            f"Sentinels, in {_MEND}."
        )
    if isinstance(error, exceptions.OutOfMemoryError):
        return Refused(f"Redis at {address} is full; raise its `maxmemory`.")
    return Refused(_why(error, _shown(error, address), f"Redis at {address}"))


def _node(text: str) -> tuple[str, int]:
    """Return the host, which may be empty for the same one, and port of ``SLOT HOST:PORT``."""
    host, _, port = text.partition(" ")[2].rpartition(":")
    return host, int(port)


def _why(error: exceptions.ResponseError, said: str, server: str) -> str:
    if isinstance(error, exceptions.NoPermissionError):
        return (
            f"{server} does not let our user do this ({said}); extend its ACL as "
            "docs/operations.md says."
        )
    if said.startswith(("MISCONF", "NOREPLICAS")):
        return f"{server} cannot keep what it is given ({said})."
    if said.startswith("WRONGTYPE"):
        return (
            f"{server} holds something else under one of our keys; give Conductor a database of "
            "its own."
        )
    return f"{server} refused a command ({said})."


def _unreachable(error: BaseException, address: Address) -> str:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"The certificate of Redis at {address} was not accepted ({cause.verify_message}); "
                "name its authority with ?ssl_ca_certs=FILE."
            )
        if isinstance(cause, ssl.SSLError):
            return f"Redis at {address} does not speak TLS as we do; check rediss:// and its port."
    if isinstance(error, exceptions.TimeoutError | TimeoutError):
        hint = "; if it speaks no TLS, write redis://" if address.tls is not None else ""
        return f"Redis at {address} did not answer in time{hint}."
    if isinstance(error, exceptions.InvalidResponse | ValueError):
        return f"What answers at {address} does not speak as Redis does; correct {_MEND}."
    hint = "; if it speaks TLS, write rediss://" if _hung_up(error, address) else ""
    return f"Redis at {address} could not be reached ({_shown(error, address)}){hint}."


def _hung_up(error: BaseException, address: Address) -> bool:
    """Whether the peer ended a conversation in the clear, as one that awaits TLS does."""
    over = "Connection closed" in str(error) or isinstance(error.__context__, ConnectionResetError)
    return over and address.tls is None and not address.path


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _shown(error: BaseException, address: Address) -> str:
    """The client's or server's words on one line, short, with no password in them."""
    text = " ".join(str(error).split())
    for secret in address.secrets:
        text = text.replace(secret, "…")
    return text[:_SHOWN].rstrip(".") or type(error).__name__
