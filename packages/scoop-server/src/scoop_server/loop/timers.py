"""Deadlines, in one structure."""

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import Final

Callback = Callable[[], None]

_CANCELLED_MIN: Final = 1_000
"""Cancelled timers that are kept in any case: removing a few at a time would cost more than it frees."""


@dataclass(eq=False, slots=True)
class Timer:
    """A callback that is due at ``when``."""

    when: float
    callback: Callback | None
    """None once it has been called, or cancelled."""


class Timers:
    """Callbacks by the time at which they are due, in seconds of the event loop's clock.

    ``now`` is the time at which the current turn began, ``turn`` its number. A deadline that every message moves, such
    as an idle time-out, should not set a timer per message: let the callback find out that it is early, and set the
    next one.

    >>> timers = Timers(100.0)
    >>> timer = timers.call_at(101.0, lambda: print("due"))
    >>> timers.due
    101.0
    >>> timers.begin_turn(100.5)
    >>> timers.run()
    >>> timers.begin_turn(101.0)
    >>> timers.run()
    due
    >>> timers.due
    inf
    """

    def __init__(self, now: float) -> None:
        self.now = now
        self.turn = 0
        self.due = inf
        """The time at which the earliest timer is due; infinity without timers."""
        self._heap: list[tuple[float, int, Timer]] = []
        self._numbers = count()  # timers of equal time are called in the order in which they were set
        self._cancelled = 0

    def begin_turn(self, now: float) -> None:
        """Begin the next turn."""
        self.now = now
        self.turn += 1

    def call_at(self, when: float, callback: Callback) -> Timer:
        """Call ``callback`` once, in the first turn at or after ``when``."""
        timer = Timer(when, callback)
        heappush(self._heap, (when, next(self._numbers), timer))
        self.due = self._heap[0][0]
        return timer

    def call_every(self, seconds: float, callback: Callback) -> None:
        """Call ``callback`` every ``seconds``, for the first time in ``seconds``."""

        def call() -> None:
            self.call_at(self.now + seconds, call)
            callback()

        self.call_at(self.now + seconds, call)

    def run(self) -> None:
        """Call what is due now. What is set meanwhile is called in the next run at the earliest."""
        now = self.now
        due: list[Timer] = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heappop(self._heap)[2])
        self.due = self._heap[0][0] if self._heap else inf
        for timer in due:
            callback, timer.callback = timer.callback, None
            if callback is None:
                self._cancelled -= 1
            else:
                callback()

    def cancel(self, timer: Timer | None) -> None:
        """Never call the callback of ``timer``, unless it has been called.

        Once more than half of the timers are cancelled, they are removed.
        """
        if timer is None or timer.callback is None:
            return
        timer.callback = None
        self._cancelled += 1
        if self._cancelled > _CANCELLED_MIN and 2 * self._cancelled > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapify(self._heap)
            self._cancelled = 0
            self.due = self._heap[0][0] if self._heap else inf
