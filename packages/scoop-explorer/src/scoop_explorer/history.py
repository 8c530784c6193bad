"""The history of a package: the changes that a data directory has kept."""

from collections import deque

from scoop_explorer.answers import Change, History
from scoop_explorer.live_index import CHANGES_KEPT, shown_change, time_of
from scoop_server.errors import ServerError
from scoop_server.history import batches


def history_of(directory: str, package: str) -> History:
    """Return the history of a package, which need not be indexed now. It reads all journals that are kept."""
    latest: deque[Change] = deque(maxlen=CHANGES_KEPT)
    total = first_batch = first_ms = 0
    before: str | None = None
    problem = ""
    try:
        for batch in batches(directory):
            first_batch, first_ms = first_batch or batch.seal.number, first_ms or batch.seal.time
            for change in batch.changes(package):
                total += 1
                latest.append(shown_change(change, before, time_of(change.time_ms)))
                command, _, dependencies = change.line.split("|")
                before = dependencies if command == "INDEX" else None
    except ServerError as error:
        problem = str(error)
    return History(package, tuple(reversed(latest)), total, first_batch, time_of(first_ms), problem)
