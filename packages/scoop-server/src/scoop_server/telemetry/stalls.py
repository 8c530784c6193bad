"""Commits that wait for the disk, observed from another thread, because the event loop waits with them."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from scoop_server.telemetry.figures import Figure, counter
from scoop_server.telemetry.logs import RepeatLimit
from scoop_server.telemetry.workers import start_thread

SLOW_COMMIT_SECONDS: Final = 0.1
"""A commit that takes longer is slow: a few rotations of a magnetic disk take less."""

STALL_SECONDS: Final = (1.0, 10.0)
"""Ages at which a commit in progress is logged: clients notice, and clients give up."""

REMINDER_SECONDS: Final = 60.0
"""The interval at which one that lasts even longer is logged again."""

_PERIODS: Final = 6
_PERIOD_SECONDS: Final = 10.0
"""The longest commit of the last minute is that of these periods and the current one."""

_POLL_SECONDS: Final = 0.25
"""Interval at which the thread looks at the commit in progress."""


class CommitWatch:
    """Times commits by ``clock``, and logs those that last too long while they last, and when they end.

    The thread that commits enters it for each of them; the figures can be read in any thread.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started_at: float | None = None
        """Start of the commit in progress."""
        self._slow: tuple[float, float | None] = (0.0, None)
        """Time spent in slow commits that have ended, and the start of the last of them."""
        self._longest: dict[int, float] = {}
        """Duration of the longest commit of each period of the window, replaced as a whole."""
        self._stalls_ended: deque[float] = deque(maxlen=1_000)
        """Durations of stalls that have ended and are not logged yet."""
        self._logged: tuple[float | None, float] = (None, 0.0)
        """Start of the last commit that was logged in progress, and the age at which it was."""
        self._repeat_limit = RepeatLimit(clock)
        self._closing = threading.Event()

    def start(self) -> None:
        """Start the thread that logs."""
        start_thread(self._run, "commit watch")

    def close(self) -> None:
        """Stop the thread, after a last look."""
        self._closing.set()

    # The thread that commits

    def __enter__(self) -> None:
        self._started_at = self._clock()

    def __exit__(self, *_: object) -> None:
        """Note that the commit has ended."""
        started_at, now = self._started_at, self._clock()
        if started_at is None:
            return
        seconds = now - started_at
        period = _period(now)
        if seconds > self._longest.get(period, -1.0):
            self._longest = {**self._recent(period), period: seconds}
        if seconds >= SLOW_COMMIT_SECONDS:
            self._slow = self._slow[0] + seconds, started_at
            if seconds >= STALL_SECONDS[0]:
                self._stalls_ended.append(seconds)
        self._started_at = None

    def _recent(self, period: int) -> dict[int, float]:
        """Return the longest commits of the window that ends with ``period``."""
        return {each: seconds for each, seconds in self._longest.items() if period - each <= _PERIODS}

    # Any thread

    @property
    def slow_seconds(self) -> float:
        """Time spent in slow commits so far, including the one in progress. It never decreases."""
        started_at = self._started_at  # read first: a commit that ends meanwhile is then found in the sum
        ended_seconds, last_started_at = self._slow
        if started_at is None or started_at == last_started_at:
            return ended_seconds
        seconds = self._clock() - started_at
        return ended_seconds + seconds * (seconds >= SLOW_COMMIT_SECONDS)

    @property
    def longest_seconds(self) -> float:
        """Duration of the longest commit of the last minute, including the one in progress."""
        now, started_at = self._clock(), self._started_at
        return max([0.0 if started_at is None else now - started_at, *self._recent(_period(now)).values()])

    def figures(self) -> Iterator[Figure]:
        """Yield the figures of the commits."""
        yield counter("scoop_slow_commit_seconds", "Time spent in slow commits.", self.slow_seconds)
        yield Figure("scoop_commit_longest_seconds", "Longest commit of the last minute.", self.longest_seconds)

    # The thread that logs

    def _run(self) -> None:
        while not self._closing.wait(_POLL_SECONDS):
            self.look()
        self.look()

    def look(self) -> None:
        """Log a commit in progress that has reached one of these ages, and the stalls that have ended."""
        started_at = self._started_at
        if started_at is not None:
            seconds = self._clock() - started_at
            ages = (*STALL_SECONDS, seconds // REMINDER_SECONDS * REMINDER_SECONDS)
            reached = max(each for each in (0.0, *ages) if seconds >= each)
            if reached and (started_at, reached) != self._logged:
                self._logged = started_at, reached
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


def _period(moment: float) -> int:
    return int(moment // _PERIOD_SECONDS)
