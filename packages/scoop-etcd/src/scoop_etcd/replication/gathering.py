"""Gathering: a short wait that lets one request to etcd serve all clients that send again when they are answered."""

from collections.abc import Callable
from functools import partial
from typing import Final

from scoop_server.ports import CallLater

GATHER_SECONDS: Final = 0.005
"""The longest wait. A hundred clients on one machine send again within 1 to 3 ms, and an append takes 1 ms at least."""

SKIPPED_MAX: Final = 63
"""The most requests that are sent without a wait after waits that were in vain, which then cost 0.1 ms per request."""


class Gathering:
    """Holds the next request to etcd back until as many clients wait for it as took part in the last ones.

    Without it, clients that send one request at a time form two groups that wait for each other's request to etcd,
    which costs as much for half of the clients as for all. A wait in which too few clients sent is followed by requests
    without a wait, by more after each such wait.
    """

    def __init__(self, proceed: Callable[[], None]) -> None:
        self._proceed = proceed
        """Called when a wait has ended because its time is over."""
        self.call_later: CallLater | None = None
        """None before the event loop runs; then nothing waits."""
        self._wanted = 0
        """The number of clients to wait for; 0 if the next request is not held back."""
        self._round = 0
        self._skipped = 0
        """The requests to send without a wait after a wait in vain."""
        self._skips_left = 0

    def begin(self, wanted: int) -> None:
        """Wait for ``wanted`` clients, unless that was in vain lately."""
        self._wanted = 0
        if self.call_later is None or wanted < 2:
            return
        if self._skips_left:
            self._skips_left -= 1
            return
        self._wanted = wanted
        self._round += 1
        self.call_later(0.0, partial(self._start_timer, self._round))

    def _start_timer(self, number: int) -> None:
        """Start the time of the wait now that the responses of this turn, which may have taken long, have been sent."""
        if self._wanted and number == self._round and self.call_later is not None:
            self.call_later(GATHER_SECONDS, partial(self._time_out, number))

    def is_complete(self, count: int) -> bool:
        """Return whether the request may be sent for the ``count`` clients that wait for it; if so, the wait ends."""
        if count < self._wanted:
            return False
        if self._wanted:
            self._wanted = 0
            self._skipped //= 2
        return True

    def _time_out(self, number: int) -> None:
        if self._wanted and number == self._round:
            self._wanted = 0
            self._skips_left = self._skipped = min(2 * self._skipped + 1, SKIPPED_MAX)
            self._proceed()
