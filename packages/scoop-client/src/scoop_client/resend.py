"""The requests of a stream that are to be sent, also again after a connection was lost.

- A QUERY is always sent again: it changes nothing.
- An INDEX or a REMOVE is sent again only on request (``resend_changes``). The server may have applied it, and another
  client may have changed the package since then; a second time would undo that.
- Nothing is sent again after a time-out, an invalid response or a TLS alert: another attempt would only hide them.
- Order is kept: after the first change with an unknown outcome, nothing more is sent.
"""

import random
import time
from collections import deque
from collections.abc import Iterable
from itertools import islice, takewhile
from typing import Final

from scoop_core import Command, Request

from scoop_client.errors import ConnectionLost
from scoop_client.options import ClientOptions

_FIRST_DELAY: Final = 0.05
_LONGEST_DELAY: Final = 1.0


class Outbox:
    """The requests to send: first the requests to send again, then those of ``source``.

    >>> outbox = Outbox([Request.of(Command.QUERY, "gmp")], ClientOptions.of(["127.0.0.1:8080"]))
    >>> outbox.take(10)
    [Request(command=<Command.QUERY: 'QUERY'>, package='gmp', dependencies=())]
    """

    def __init__(self, source: Iterable[Request], options: ClientOptions) -> None:
        self._source = iter(source)
        self._again: deque[Request] = deque()
        self._resend_changes = options.resend_changes
        self._retry = Retry(options.reconnect_timeout)
        self._silent_losses = 0
        self.failure: Exception | None = None
        """Raised after the responses to all requests before it."""

    def take(self, count: int) -> list[Request]:
        """Return up to ``count`` requests; none once there is a failure and nothing to send again."""
        requests = [self._again.popleft() for _ in range(min(count, len(self._again)))]
        if self.failure is None and len(requests) < count:
            try:
                requests.extend(islice(self._source, count - len(requests)))
            except Exception as error:  # of the caller's iterator; raised after the responses
                self.failure = error
        return requests

    def put_back(self, requests: Iterable[Request]) -> None:
        """Return requests that were taken and not sent."""
        self._again.extendleft(reversed(tuple(requests)))

    def has_resend(self) -> bool:
        """Return whether there are requests to send again."""
        return bool(self._again)

    def note_progress(self) -> None:
        """Start over with the delays, because a server has answered."""
        self._retry.reset()

    def is_suspicious(self, lost: ConnectionLost, *, has_received: bool) -> bool:
        """Note a loss; return whether a mistake in the address is likely.

        That is so if nothing was received on two connections in a row, or on one that ended with a change.
        """
        self._silent_losses = 0 if has_received else self._silent_losses + 1
        first = next(iter(lost.unanswered), None)
        return self._silent_losses > 1 or (
            not has_received and first is not None and first.command is not Command.QUERY and not self._resend_changes
        )

    def lose(self, lost: ConnectionLost) -> None:
        """Decide what is sent again after a loss. Raises ``lost``, with all that was to be sent, if nothing is."""
        if not lost.may_retry:
            raise lost.with_unanswered((*lost.unanswered, *self._again))
        again = lost.unanswered
        if not self._resend_changes:
            again = tuple(takewhile(lambda request: request.command is Command.QUERY, lost.unanswered))
            if unknown := lost.unanswered[len(again) :]:
                self.failure = lost.with_unanswered((*unknown, *self._again))
                self._again.clear()
                if not again:
                    raise self.failure
        self.put_back(again)

    def next_delay(self, lost: ConnectionLost) -> float:
        """Return how long to wait before the next attempt to connect. Raises ``lost`` if the time is up."""
        if (delay := self._retry.next_delay()) is None:
            raise self.failure or lost.with_unanswered(tuple(self._again))
        return delay


class Retry:
    """The delays between attempts after a loss: exponential back-off with jitter, for a limited time.

    >>> Retry(0.0).next_delay() is None
    True
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._deadline: float | None = None
        self._delay = 0.0

    def reset(self) -> None:
        """Start over, because a server has answered."""
        self._deadline = None

    def next_delay(self) -> float | None:
        """Return how long to wait before the next attempt, or None if the time is up."""
        now = time.monotonic()
        if self._deadline is None:
            self._deadline, self._delay = now + self._seconds, 0.0
            return 0.0 if self._seconds else None
        self._delay = min(_LONGEST_DELAY, max(_FIRST_DELAY, self._delay * 2))
        # Jitter spreads the clients of a restarted server over time.
        delay = self._delay * random.uniform(0.5, 1.0)  # noqa: S311  # no secret depends on it
        return delay if now + delay < self._deadline else None
