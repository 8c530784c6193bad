"""The trail: who made the changes of an entry."""

from scoop_core import LoggedBatch, Seal

from scoop_etcd.client.api import KeyValue
from scoop_etcd.formats.entries import Keys, decode_entry
from scoop_etcd.replication.replica import Replica


def apply_logged(replica: Replica, keys: Keys, kv: KeyValue) -> LoggedBatch:
    """Apply an entry, and return its changes with their authors; a late duplicate is ignored, and has none.

    The lines of each author are applied on their own, because an entry has all lines that were sent, and only the graph
    knows which of two equal ones made the change.
    """
    node, seq = keys.parse_entry(kv.key)
    entry = decode_entry(node, seq, kv.value)
    changes, authors, visits = list[str](), list[tuple[int, str]](), 0
    seal = Seal(kv.mod_revision, 0, entry.time_ms)
    if replica.is_next(node, seq):
        for author, text in LoggedBatch(entry.lines, seal, entry.authors).parts():
            applied = replica.apply(node, seq, kv.mod_revision, [text], visits=visits)
            if applied.changes:
                authors.append((len(changes), author))
            changes += applied.changes
            visits = applied.visits
            if applied.rest:
                break
    replica.revision = kv.mod_revision
    return LoggedBatch("".join(f"{line}\n" for line in changes), seal, authors)
