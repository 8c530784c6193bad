"""Commits that wait for the disk, observed from another thread, because the event loop waits with them."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from scoop_core import Changes

from scoop_server.telemetry.logs import RepeatLimit

SLOW_COMMIT_SECONDS: Final = 0.1
"""A commit that takes longer is slow: a few rotations of a magnetic disk take less."""

STALL_SECONDS: Final = (1.0, 10.0)
"""Ages at which a commit in progress is logged: clients notice, and clients give up."""

LONGEST_WINDOW_SECONDS: Final = 60.0

_PERIOD_SECONDS: Final = 10.0
"""The longest commit is kept for each such period of the window."""

_POLL_SECONDS: Final = 0.25
"""Interval at which the thread looks at the commit in progress."""


class _SlowTime(NamedTuple):
    """Time in slow commits. The loop replaces it as a whole, so that another thread never counts a commit twice."""

    ended_seconds: float = 0.0
    """Duration of the slow commits that have ended."""
    started: float | None = None
    """Start of the commit in progress."""


class CommitWatch:
    """Times commits by ``clock``, and logs those that last too long while they last, and when they end.

    The thread that commits calls :meth:`started` and :meth:`ended`; the figures can be read in any thread.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._slow_time = _SlowTime()
        self._periods: tuple[list[float], ...] = ([clock(), 0.0],)
        """Start and longest commit of each period, the current one last."""
        self._stalls_ended: deque[float] = deque(maxlen=1_000)
        """Durations of stalls that have ended and are not logged yet."""
        self._logged: tuple[float | None, float] = (None, 0.0)
        """Start of the last commit that was logged in progress, and the age at which it was."""
        self._repeat_limit = RepeatLimit(clock)
        self._closing = threading.Event()

    def watch(self) -> None:
        """Start the thread that logs."""
        threading.Thread(target=self._run, name="commit watch", daemon=True).start()

    def close(self) -> None:
        """Stop the thread, after a last look."""
        self._closing.set()

    # The thread that commits

    def started(self) -> None:
        """Note that a commit begins."""
        self._slow_time = _SlowTime(self._slow_time.ended_seconds, self._clock())

    def ended(self) -> None:
        """Note that the commit has ended."""
        ended_seconds, started = self._slow_time
        now = self._clock()
        seconds = 0.0 if started is None else now - started
        self._slow_time = _SlowTime(ended_seconds + seconds * (seconds >= SLOW_COMMIT_SECONDS))
        period = self._periods[-1]
        if now - period[0] >= _PERIOD_SECONDS:
            period = [now, 0.0]
            self._periods = (*self._periods[-int(LONGEST_WINDOW_SECONDS / _PERIOD_SECONDS) :], period)
        period[1] = max(period[1], seconds)
        if seconds >= STALL_SECONDS[0]:
            self._stalls_ended.append(seconds)

    # Any thread

    @property
    def slow_seconds(self) -> float:
        """Time spent in slow commits so far, including the one in progress."""
        ended_seconds, started = self._slow_time
        seconds = 0.0 if started is None else self._clock() - started
        return ended_seconds + seconds * (seconds >= SLOW_COMMIT_SECONDS)

    @property
    def longest_seconds(self) -> float:
        """Duration of the longest commit of the last minute, including the one in progress."""
        now = self._clock()
        started = self._slow_time.started
        ended = [longest for since, longest in self._periods if now - since < LONGEST_WINDOW_SECONDS + _PERIOD_SECONDS]
        return max([*ended, 0.0 if started is None else now - started])

    # The thread that logs

    def _run(self) -> None:
        while not self._closing.wait(_POLL_SECONDS):
            self.look()
        self.look()

    def look(self) -> None:
        """Log a commit in progress that has reached one of :data:`STALL_SECONDS`, and the stalls that have ended."""
        started = self._slow_time.started
        if started is not None:
            seconds = self._clock() - started
            reached = max((each for each in STALL_SECONDS if seconds >= each), default=0.0)
            if reached and (started, reached) != self._logged:
                self._logged = started, reached
                self._repeat_limit.log(
                    logging.WARNING if reached < STALL_SECONDS[-1] else logging.ERROR,
                    "the disk has not responded for %(seconds).1f s, and all clients wait",
                    {"seconds": seconds},
                    kind=str(reached),
                )
        while self._stalls_ended:
            self._repeat_limit.log(
                logging.WARNING, "the disk responded after %(seconds).1f s", {"seconds": self._stalls_ended.popleft()}
            )
        self._repeat_limit.flush()


class _Store(Protocol):
    def commit(self, changes: Changes) -> None: ...
    def tick(self) -> None: ...


class WatchedStore:
    """A store whose calls of the disk ``watch`` observes: its commits, and its ticks, which may sync and rotate."""

    def __init__(self, store: _Store, watch: CommitWatch) -> None:
        self._store = store
        self._watch = watch

    def commit(self, changes: Changes) -> None:
        """Commit ``changes``; see the store."""
        self._watch.started()
        try:
            self._store.commit(changes)
        finally:
            self._watch.ended()

    def tick(self) -> None:
        """Do what is due; see the store."""
        self._watch.started()
        try:
            self._store.tick()
        finally:
            self._watch.ended()
