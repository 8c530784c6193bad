"""The history of an index: who changed what and when, and the index as it was. Programs may import it.

A directory is that of a server, which may be running, or one of archived files.
"""

from scoop_core import BEGINNING, END, Moment

from scoop_server.errors import HistoryGoneError, ServerError
from scoop_server.history.feed import batches, follow, log, parse_moment, print_log
from scoop_server.storage.trail import graph_at

__all__ = [
    "BEGINNING",
    "END",
    "HistoryGoneError",
    "Moment",
    "ServerError",
    "batches",
    "follow",
    "graph_at",
    "log",
    "parse_moment",
    "print_log",
]
