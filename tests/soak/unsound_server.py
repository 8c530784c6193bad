"""A server with one fault that shows only over time, which a soak must find.

Run as ``python tests/soak/unsound_server.py FAULT ARGUMENTS``.
"""

import itertools
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final
from unittest.mock import patch

from scoop_core import Changes, DependencyGraph

from scoop_server.cli import main as command_line
from scoop_server.loop.client import Client
from scoop_server.loop.clients import Clients
from scoop_server.storage.store import JournalStore

_LEAK_BYTES: Final = 200_000

_FIRST_CLIENTS: Final = 10
"""More than have disconnected when a soak starts to measure."""
_SLOWEST_SECONDS: Final = 1.0
_SLOWEST_AFTER_SECONDS: Final = 4.0

_kept: list[bytearray] = []


def _before_each_close(do: Callable[[], object]) -> None:
    close = Client.close

    def close_and_more(self: Client) -> None:
        do()
        close(self)

    patch.object(Client, "close", close_and_more).start()


def leak_descriptors() -> None:
    """Leak a descriptor per connection."""
    _before_each_close(lambda: os.open(os.devnull, os.O_RDONLY))


def leak_memory() -> None:
    """Leak memory per connection."""
    _before_each_close(lambda: _kept.append(bytearray(os.urandom(1)) * _LEAK_BYTES))


def leak_threads() -> None:
    """Leak a thread per connection."""
    forever = threading.Event()
    _before_each_close(lambda: threading.Thread(target=forever.wait, daemon=True).start())


def slow_down() -> None:
    """Delay commits more and more."""
    commit = JournalStore.commit
    left: list[float] = []
    _before_each_close(lambda: left.append(time.monotonic()))

    def commit_late(self: JournalStore, changes: Changes) -> None:
        if len(left) > _FIRST_CLIENTS:
            share = (time.monotonic() - left[_FIRST_CLIENTS]) / _SLOWEST_AFTER_SECONDS
            time.sleep(_SLOWEST_SECONDS * min(1.0, share) ** 3)
        commit(self, changes)

    patch.object(JournalStore, "commit", commit_late).start()


def miscount() -> None:
    """Count one connection too many after each disconnect."""
    close = Clients.close

    def close_and_miscount(self: Clients, *arguments: Any, **options: Any) -> None:
        close(self, *arguments, **options)
        self._context.statistics.connections_now += 1

    patch.object(Clients, "close", close_and_miscount).start()


def answer_wrongly() -> None:
    """Answer FAIL instead of OK to one batch in a hundred."""
    apply_lines = DependencyGraph.apply_lines
    count = itertools.count(1)

    def apply(self: DependencyGraph, text: str, *arguments: Any) -> str:
        answers = apply_lines(self, text, *arguments)
        return answers if next(count) % 100 else answers.replace("OK", "FAIL")

    patch.object(DependencyGraph, "apply_lines", apply).start()


def forget() -> None:
    """Write only the first changes to the journal."""
    commit = JournalStore.commit
    count = itertools.count(1)

    def commit_at_first(self: JournalStore, changes: Changes) -> None:
        if next(count) < 100:
            commit(self, changes)

    patch.object(JournalStore, "commit", commit_at_first).start()
    patch.object(JournalStore, "save", lambda *_: None).start()


FAULTS: Final[dict[str, Callable[[], None]]] = {
    "leak-descriptors": leak_descriptors,
    "leak-memory": leak_memory,
    "leak-threads": leak_threads,
    "slow-down": slow_down,
    "miscount": miscount,
    "answer-wrongly": answer_wrongly,
    "forget": forget,
}

if __name__ == "__main__":
    FAULTS[sys.argv[1]]()
    sys.exit(command_line.main(sys.argv[2:]))
