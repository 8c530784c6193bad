"""The history of a package: the changes that its source has kept."""

from collections import deque
from collections.abc import Iterable

from scoop_core import LoggedBatch

from scoop_explorer.answers import Change, History
from scoop_explorer.live_index import CHANGES_KEPT, shown_change, time_of
from scoop_server.errors import ServerError


def history_of(batches: Iterable[LoggedBatch], package: str) -> History:
    """Return the history of a package, which need not be indexed now, in ``batches``, the oldest first."""
    latest: deque[Change] = deque(maxlen=CHANGES_KEPT)
    total = first_batch = first_ms = 0
    before: str | None = None
    problem = ""
    try:
        for batch in batches:
            first_batch, first_ms = first_batch or batch.seal.number, first_ms or batch.seal.time
            for change in batch.changes(package):
                total += 1
                latest.append(shown_change(change, before, time_of(change.time_ms)))
                command, _, dependencies = change.line.split("|")
                before = dependencies if command == "INDEX" else None
    except ServerError as error:
        problem = str(error)
    return History(package, tuple(reversed(latest)), total, first_batch, time_of(first_ms), problem)
