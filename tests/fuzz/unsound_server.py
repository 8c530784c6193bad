"""A server with one fault that some input shows, which fuzzing must find.

Run as ``python tests/fuzz/unsound_server.py FAULT ARGUMENTS``.
"""

import sys
from collections.abc import Callable
from typing import Any, Final
from unittest.mock import patch

from scoop_core import Changes, DependencyGraph

from scoop_server.cli import main as command_line
from scoop_server.loop.client import Client
from scoop_server.loop.clients import Clients
from scoop_server.storage.store import JournalStore


def _before_each_batch(look: Callable[[str], object]) -> None:
    apply_lines = DependencyGraph.apply_lines

    def apply(self: DependencyGraph, text: str, *arguments: Any) -> str:
        look(text)
        return apply_lines(self, text, *arguments)

    patch.object(DependencyGraph, "apply_lines", apply).start()


def die() -> None:
    """End with a traceback on a zero byte."""

    def look(text: str) -> None:
        if "\0" in text:
            raise RuntimeError("a zero byte")

    _before_each_batch(look)


def answer_wrongly() -> None:
    """Answer FAIL instead of ERROR in a batch with an empty line."""
    apply_lines = DependencyGraph.apply_lines

    def apply(self: DependencyGraph, text: str, *arguments: Any) -> str:
        answers = apply_lines(self, text, *arguments)
        return answers.replace("ERROR", "FAIL") if "\n\n" in text else answers

    patch.object(DependencyGraph, "apply_lines", apply).start()


def disturb_others() -> None:
    """Close the oldest connection when another one is reset."""
    close = Clients.close

    def close_two(self: Clients, client: Client, why: object, *arguments: Any, **keywords: Any) -> None:
        close(self, client, why, *arguments, **keywords)
        if isinstance(why, ConnectionResetError) and self._clients:
            close(self, next(iter(self._clients)), "it is the oldest")

    patch.object(Clients, "close", close_two).start()


def skip_removals() -> None:
    """Leave removals out of the journal."""
    commit = JournalStore.commit

    def commit_some(self: JournalStore, changes: Changes) -> None:
        changes.lines[:] = [line for line in changes.lines if not line.startswith("REMOVE")]
        if changes.lines:
            commit(self, changes)

    patch.object(JournalStore, "commit", commit_some).start()


FAULTS: Final[dict[str, Callable[[], None]]] = {
    "die": die,
    "answer-wrongly": answer_wrongly,
    "disturb-others": disturb_others,
    "skip-removals": skip_removals,
}

if __name__ == "__main__":
    FAULTS[sys.argv[1]]()
    sys.exit(command_line.main(sys.argv[2:]))
