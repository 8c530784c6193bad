"""A server and its compactions on one processor: the backlog must stay bounded, however fast clients write.

The rules are the real ones (:class:`scoop_server.storage.backlog.Backlog`); the scheduler is a model of that of Linux,
which divides a processor by weights that fall by a quarter with each step of niceness.
"""

from random import Random
from typing import Final

from scoop_server.storage.backlog import Backlog

_TURN_BYTES: Final = 1_000_000
_TICK_SECONDS: Final = 1.0
_SECONDS: Final = 300.0

BACKLOG_MAX: Final = 8.0
"""The bound: twice the backlog at which the delay is at its maximum."""


def weight(niceness: int) -> float:
    """Return the share of the processor, relative to the server's."""
    return 1.25**-niceness


class OneProcessor:
    """One server under a flood of changes. :meth:`run` raises AssertionError if the backlog is not bounded."""

    def __init__(self, random: Random) -> None:
        self._limit = random.randrange(16_000_000, 256_000_000)
        self._written_per_second = random.uniform(10e6, 100e6)
        self._compacted_per_second = random.uniform(40e6, 300e6)
        self._snapshot_seconds = self._limit / random.uniform(40e6, 120e6)

    def run(self) -> None:
        """Write for some minutes."""
        backlog = Backlog(self._limit)
        now, next_tick = 0.0, 0.0
        earlier, current = 0.0, 0.0  # the journals that are being compacted, and those since
        left, niceness = 0.0, 0  # the processor time that the compaction still needs
        while now < _SECONDS:
            total = int(earlier + current)
            if now >= next_tick:
                next_tick = now + _TICK_SECONDS
                if left <= 0.0:
                    earlier, total = 0.0, int(current)
                    if backlog.is_compaction_due(total, now):
                        niceness = backlog.niceness(total)
                        left = self._snapshot_seconds + current / self._compacted_per_second
                        earlier, current = current, 0.0
            if backlog.ratio(total) > BACKLOG_MAX:
                raise AssertionError(f"the backlog grows without bound: {backlog.ratio(total):.1f} after {now:.0f} s")
            delay = backlog.delay(total)
            work = _TURN_BYTES / self._written_per_second
            if left > 0.0:
                left -= work * weight(niceness) + delay
                work *= 1.0 + weight(niceness)
            current += _TURN_BYTES
            now += work + delay
