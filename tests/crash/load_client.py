"""Clients that change packages of their own, and know the states in which these may be after a crash."""

import socket
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.support.naive_index import NaiveIndex
from tests.support.process import WAIT_SECONDS

State = Mapping[str, frozenset[str]]
"""Packages with their dependencies."""

PACKAGES_PER_CLIENT: Final = 8
_WINDOWS: Final = (1, 1, 1, 4, 16)
"""The maximum of unanswered requests per client: most wait for each response, some make turns long."""
_READ_BYTES: Final = 65_536


class NotAsPromisedError(AssertionError):
    """A server has broken the contract."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A request without a response so far."""

    line: str
    expected: str
    state: State
    """The packages after it."""


class OwnPackages:
    """Packages that one client alone changes.

    They depend on one another and on ``shared`` packages that never leave, so the response to every request is
    known beforehand; and what a crash may leave is the state after one of the requests: the last one that was
    answered, or a later one that was submitted.
    """

    def __init__(self, number: int, shared: State, random: Random) -> None:
        self.names = [f"client{number}-{each}" for each in range(PACKAGES_PER_CLIENT)]
        self.answered = 0
        """The number of answered requests."""
        self.acknowledged_changes = 0
        """The number of changes among them that were answered OK."""
        self._random = random
        self._shared = shared
        self._index = NaiveIndex(dict(shared))
        self._acknowledged: State = {}
        self._pending: deque[Pending] = deque()

    @property
    def acknowledged(self) -> State:
        """The packages after the last request that was answered."""
        return self._acknowledged

    @property
    def unanswered(self) -> int:
        """The number of requests without a response."""
        return len(self._pending)

    def submit(self) -> str:
        """Return another request, without newline, that is being submitted."""
        line = self._random_request()
        expected = self._index.answer(line)
        state = {name: needed for name, needed in self._index.state.items() if name not in self._shared}
        self._pending.append(Pending(line, expected, state))
        return line

    def _random_request(self) -> str:
        random = self._random
        package = random.choice(self.names)
        kind = random.random()
        if kind >= 0.6:
            return f"{'REMOVE' if kind < 0.9 else 'QUERY'}|{package}|"
        # Mostly with what is there, because an INDEX that fails changes nothing.
        present = [name for name in self._index.state if name != package]
        needed = random.sample(present, min(len(present), random.randrange(4)))
        if random.random() < 0.1:
            needed.append(random.choice(self.names))
        return f"INDEX|{package}|{','.join(needed)}"

    def take_answer(self, answer: str) -> None:
        """Check the next answer."""
        if not self._pending:
            raise NotAsPromisedError(f"a response to nothing: {answer!r}")
        pending = self._pending.popleft()
        if answer != pending.expected:
            raise NotAsPromisedError(f"{pending.line!r} was answered {answer!r} instead of {pending.expected!r}")
        self._acknowledged = pending.state
        self.answered += 1
        self.acknowledged_changes += answer == "OK" and not pending.line.startswith("QUERY")

    def withdraw(self, count: int) -> None:
        """Forget the last ``count`` requests, which were never submitted entirely."""
        for _ in range(count):
            self._pending.pop()

    def check(self, found: State) -> int:
        """Raise if ``found`` is not a possible state of the packages; return how many unanswered requests were kept.

        From here on, what was found is what is there.
        """
        possible = [self._acknowledged, *(pending.state for pending in self._pending)]
        own = {name: found[name] for name in self.names if name in found}
        if own not in possible:
            raise NotAsPromisedError(
                f"{own} was found, where {dict(self._acknowledged)} was acknowledged, and after that only "
                f"{[pending.line for pending in self._pending]} submitted"
            )
        kept = possible.index(own)
        self._index = NaiveIndex({**self._shared, **own})
        self._acknowledged = own
        self._pending.clear()
        return kept


class LoadConnection:
    """A connection on which requests about ``packages`` are submitted in bursts until it ends."""

    def __init__(self, address: tuple[str, int], packages: OwnPackages, random: Random) -> None:
        self.is_open = True
        self._packages = packages
        self._random = random
        self._window = random.choice(_WINDOWS)
        self._received = b""
        self._unsent = b""
        self._socket = socket.create_connection(address, WAIT_SECONDS)
        self._socket.setblocking(False)
        self._ask()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._socket.fileno()

    @property
    def has_unsent(self) -> bool:
        """True if requests are unsent."""
        return bool(self._unsent)

    def write(self) -> None:
        """Send unsent requests, as much as the system accepts."""
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            return  # answers that were given before may still be there to be read

    def read(self, *, ask: bool) -> None:
        """Receive answers and, with ``ask``, submit more requests; close at the end."""
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self.close()
            return
        *answers, self._received = (self._received + data).split(b"\n")
        for answer in answers:
            self._packages.take_answer(answer.decode("latin-1"))
        if ask and not self._unsent:
            self._ask()

    def _ask(self) -> None:
        count = self._random.randint(1, self._window) - self._packages.unanswered
        self._unsent = "".join(f"{self._packages.submit()}\n" for _ in range(count)).encode()
        if self._unsent:
            self.write()

    def close(self) -> None:
        """Close it. Requests that were not sent entirely were never submitted."""
        if self.is_open:
            self.is_open = False
            self._socket.close()
            self._packages.withdraw(self._unsent.count(b"\n"))
