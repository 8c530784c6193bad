"""A server that breaks the contract in one way, which the campaign of kills must find.

Run as ``python tests/crash/unfaithful_server.py WAY ARGUMENTS``.
"""

import sys
from collections.abc import Callable
from typing import Final

from scoop_server.cli import main as command_line
from scoop_server.storage import store
from scoop_server.storage.journal import Journal


def hold_batches_back() -> None:
    """Write a batch only when the next one comes, as a buffer between the server and the system would."""
    append = Journal.append
    held_back: list[list[str]] = []

    def append_the_one_before(self: Journal, lines: list[str]) -> None:
        held_back.append(list(lines))
        if len(held_back) > 1:
            append(self, held_back.pop(0))

    Journal.append = append_the_one_before  # type: ignore[method-assign] # the method is what is to be broken


def delete_early() -> None:
    """Delete the old generations when a compaction begins instead of when it is complete."""
    compact = store.JournalStore._compact

    def compact_and_delete(self: store.JournalStore) -> None:
        compact(self)
        self._directory.delete_before(self._files.journal.generation)

    store.JournalStore._compact = compact_and_delete  # type: ignore[method-assign] # as above


WAYS: Final[dict[str, Callable[[], None]]] = {"hold-batches-back": hold_batches_back, "delete-early": delete_early}

if __name__ == "__main__":
    WAYS[sys.argv[1]]()
    sys.exit(command_line.main(sys.argv[2:]))
