"""The timeline of a campaign: what happened, and the gaps without an answered change among it."""

import re
import threading
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Final

GAP_SECONDS_MIN: Final = 2.0
"""A shorter time without an answered change is no gap."""

_TIME: Final = re.compile(r"\S+Z ")
"""The time with which a server begins a line of its log."""


class Timeline:
    """Faults as they begin and end, and the gaps. Any thread may add to it; times are in seconds since 1970."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: list[tuple[float, str]] = []
        self._last_change = time.time()
        self._gaps: list[tuple[float, float]] = []
        self.longest_gap = 0.0

    def note(self, event: str) -> None:
        """Add an event that happens now."""
        with self._lock:
            self._events.append((time.time(), event))

    def add_log(self, name: str, lines: Iterable[str]) -> None:
        """Add the lines of the log of the server ``name``."""
        with self._lock:
            for line in lines:
                if match := _TIME.match(line):
                    self._events.append(
                        (datetime.fromisoformat(match[0].strip()).timestamp(), f"{name}: {line[match.end() :]}")
                    )

    def change_answered(self) -> None:
        """Note the end of a gap, if it was one."""
        with self._lock:
            now = time.time()
            self.longest_gap = max(self.longest_gap, now - self._last_change)
            if now - self._last_change >= GAP_SECONDS_MIN:
                self._gaps.append((self._last_change, now))
            self._last_change = now

    def longest_gaps(self, count: int) -> list[str]:
        """Return a line for each of the longest gaps, followed by the events in it and the last two before it."""
        lines = list[str]()
        for start, end in sorted(self._gaps, key=lambda gap: gap[0] - gap[1])[:count]:
            lines.append(f"{end - start:.1f} s without an answered change:")
            events = sorted(event for event in self._events if event[0] <= end)
            first = max(0, sum(event[0] < start for event in events) - 2)
            lines += [f"  {moment - start:+.1f} s {event}" for moment, event in events[first:]]
        return lines
