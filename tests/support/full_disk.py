"""A server whose files may not grow: for it, the disk is full."""

import resource
from typing import Final

from tests.support.process import BlockingClient, ServerProcess

LONG_PREFIX: Final = "long-" * 40


LESS_THAN_THEIR_SNAPSHOT: Final = 500_000
"""Of 2,000 packages with this prefix the snapshot has 800 kB; a new journal fits, and what measures coverage."""


def set_file_size_limit(server: ServerProcess, limit: int) -> None:
    """Let no file of the server, nor of its compactions, grow above ``limit`` bytes: that is all the space it has."""
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def index_chain(client: BlockingClient, prefix: str, count: int) -> None:
    """Index packages, each of which depends on the one before it."""
    lines = [f"INDEX|{prefix}0|", *(f"INDEX|{prefix}{number}|{prefix}{number - 1}" for number in range(1, count))]
    assert client.ask(*lines) == ["OK"] * count
