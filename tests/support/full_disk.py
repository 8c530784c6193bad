"""A server whose files may not grow: for it, the disk is full."""

import resource
from typing import Final

from tests.support.process import BlockingClient, ServerProcess

LONG_PREFIX: Final = "long-" * 40


LESS_THAN_THEIR_SNAPSHOT: Final = 500_000
"""The snapshot of 2,000 packages with this prefix has 800 kB. A new journal fits, and so do the files of coverage."""


def set_file_size_limit(server: ServerProcess, limit: int) -> None:
    """Limit each file of the server and of its compactions to ``limit`` bytes."""
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def index_chain(client: BlockingClient, prefix: str, count: int) -> None:
    """Index packages that each depend on the previous one."""
    lines = [f"INDEX|{prefix}0|", *(f"INDEX|{prefix}{number}|{prefix}{number - 1}" for number in range(1, count))]
    assert client.ask(*lines) == ["OK"] * count
