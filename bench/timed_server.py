"""A Scoop server that times its turns: ``timed_server.py FILE OPTION...`` with the options of scoop-server.

At its end it writes the durations of its turns to FILE, as JSON: each from the first ready event to the last sent
response, with the commit and any garbage collection.
"""

import gc
import heapq
import json
import math
import sys
import time
from array import array
from pathlib import Path
from selectors import SelectorKey
from typing import Any, Final, NamedTuple
from unittest.mock import patch

from scoop_core import DependencyGraph

from scoop_server.app import application
from scoop_server.app.stored_index import load_index
from scoop_server.cli import main as command_line
from scoop_server.index.local import LocalIndex
from scoop_server.loop.client import Client
from scoop_server.net.selector import EpollSelector

LONG_TURN_SECONDS: Final = 0.020
"""A turn longer than this is counted."""

_LONGEST_KEPT: Final = 20
"""Of turns with a grown table, and of the others."""


class Turn(NamedTuple):
    """One of the longest turns. Times in seconds."""

    seconds: float
    cpu_seconds: float
    """Processor time; the difference to ``seconds`` is the disk and other programs."""
    garbage_collection_seconds: float
    packages_before: int
    packages_after: int
    has_table_grown: bool
    """True if a dictionary of the graph outgrew its table, which CPython then rebuilds as a whole."""


class TurnTimer(EpollSelector):
    """A selector that times the turns between its calls, and watches ``graph`` grow."""

    def __init__(self) -> None:
        super().__init__()
        self.graph = DependencyGraph()
        self._turn_started: tuple[float, float, int, int] | None = None
        self._garbage_collection_started = 0.0
        self._garbage_collection_seconds = 0.0
        gc.callbacks.append(self._note_garbage_collection)
        self._turn_seconds = array("d")
        self._turn_cpu_seconds = array("d")
        self._longest: dict[bool, list[Turn]] = {False: [], True: []}

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Record the duration of the last turn, and wait for the next one."""
        if self._turn_started is not None:
            self._record(*self._turn_started)
        ready = super().select(timeout)
        self._garbage_collection_seconds = 0.0
        self._turn_started = (time.perf_counter(), time.thread_time(), len(self.graph), self._table_bytes())
        return ready

    def _record(self, started: float, cpu_started: float, packages_before: int, table_bytes: int) -> None:
        turn = Turn(
            time.perf_counter() - started,
            time.thread_time() - cpu_started,
            self._garbage_collection_seconds,
            packages_before,
            len(self.graph),
            self._table_bytes() > table_bytes,
        )
        self._turn_seconds.append(turn.seconds)
        self._turn_cpu_seconds.append(turn.cpu_seconds)
        longest = self._longest[turn.has_table_grown]
        heapq.heappush(longest, turn)
        if len(longest) > _LONGEST_KEPT:
            heapq.heappop(longest)

    def _table_bytes(self) -> int:
        return sum(sys.getsizeof(each) for each in gc.get_referents(self.graph) if isinstance(each, dict))

    def _note_garbage_collection(self, phase: str, _info: dict[str, int]) -> None:
        now = time.monotonic()
        if phase == "start":
            self._garbage_collection_started = now
        else:
            self._garbage_collection_seconds += now - self._garbage_collection_started

    def report(self) -> dict[str, Any]:
        """Return the durations for a JSON file."""
        return {
            "turns": len(self._turn_seconds),
            "long_turn_seconds": LONG_TURN_SECONDS,
            "long_turns": sum(each > LONG_TURN_SECONDS for each in self._turn_seconds),
            "seconds": _percentiles(self._turn_seconds),
            "cpu_seconds": _percentiles(self._turn_cpu_seconds),
            "longest": [turn._asdict() for turn in sorted(self._longest[False], reverse=True)],
            "longest_with_table_growth": [turn._asdict() for turn in sorted(self._longest[True], reverse=True)],
        }


def _percentiles(values: "array[float]") -> dict[str, float]:
    ordered = sorted(values)
    shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    return {name: ordered[max(0, math.ceil(share * len(ordered)) - 1)] for name, share in shares.items()}


def main() -> int:
    """Run scoop-server until it ends; return its exit status."""
    path, *arguments = sys.argv[1:]
    timer = TurnTimer()

    def load_and_watch(*arguments: Any) -> LocalIndex[Client]:
        opened = load_index(*arguments)
        timer.graph = vars(opened)["_graph"]
        return opened

    with (
        patch.object(application, "best_selector", lambda: timer),
        patch.object(application, "load_index", load_and_watch),
    ):
        status = command_line.main(arguments)
    Path(path).write_text(json.dumps(timer.report()))
    return status


if __name__ == "__main__":
    sys.exit(main())
