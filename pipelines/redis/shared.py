"""How a bus knows that a storage is shared; imports no client, as most processes need none."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.redis.keyspace import Keyspace


class OnRedis:
    """A storage whose data is in a keyspace, so that a bus can use the same."""

    def __init__(self, keyspace: "Keyspace") -> None:
        self.keyspace = keyspace
