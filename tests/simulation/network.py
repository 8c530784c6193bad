"""A simulated network: sockets, a listener and a selector, with clients behind them that act by chance.

The selector is where the world turns: each ``select`` lets the clients act, then tells what is ready, in any
order, not all of it, and sometimes what is not ready at all.
"""

import enum
import errno
import os
from collections.abc import Callable, Mapping
from random import Random
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector, SelectorKey
from socket import SHUT_WR
from typing import Any, Final

from scoop_server.config.peer import Peer

from tests.simulation.roles import IDENTITIES

_SEND_BUFFER_BYTES: Final = 64
"""The bytes that the system accepts before the client reads: few, so that sends are partial."""

_ACTIONS_PER_SELECT_MAX: Final = 4


class Habit(enum.Enum):
    """The behaviour of a simulated client."""

    POLITE = "reads its responses, and ends the connection when it has them"
    DEAF = "does not read its responses"
    RUDE = "resets the connection in the middle"
    HASTY = "shuts its sending side as soon as all is sent"


class SimulatedSocket:
    """The server's end of a connection, and the actions of the client at the other end."""

    def __init__(self, number: int, to_send: bytes, habit: Habit, network: "SimulatedNetwork") -> None:
        self.number = number
        self.habit = habit
        self.answers = bytearray()
        """The bytes that the client has read."""
        self._to_send = to_send
        self._arrived = bytearray()
        self._unread = bytearray()
        self._has_ended = False
        self._is_reset = False
        self.is_closed = False
        self._network = network

    # What the server calls

    def fileno(self) -> int:
        """Return the descriptor."""
        return self.number

    def recv(self, size: int, /) -> bytes:
        """Return some of the bytes that have arrived."""
        random = self._network.random
        self._network.trace(f"recv {self.number}")
        self._fail_if_reset()
        if not self._arrived:
            if self._has_ended:
                return b""
            raise BlockingIOError
        if random.random() < 0.05:
            raise BlockingIOError  # a spurious wake-up
        piece = bytes(self._arrived[: min(size, random.randrange(1, len(self._arrived) + 1))])
        del self._arrived[: len(piece)]
        return piece

    def send(self, data: bytes | bytearray, /) -> int:
        """Take some of ``data``."""
        self._fail_if_reset()
        room = _SEND_BUFFER_BYTES - len(self._unread)
        if room <= 0 or self._network.random.random() < 0.05:
            raise BlockingIOError
        count = min(room, len(data))
        if self._network.random.random() < 0.2:
            count = self._network.random.randrange(1, count + 1)
        self._network.trace(f"send {self.number} {bytes(data[:count])!r}")
        self._unread += data[:count]
        self._network.on_send(self, bytes(data[:count]))
        return count

    def shutdown(self, how: int, /) -> None:
        """Shut the server's sending side."""
        assert how == SHUT_WR
        self._fail_if_reset()
        self._network.trace(f"shutdown {self.number}")

    def close(self) -> None:
        """Close the server's end."""
        self.is_closed = True
        self._network.trace(f"close {self.number}")

    def _fail_if_reset(self) -> None:
        assert not self.is_closed
        if self._is_reset:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))

    # What the client does

    @property
    def events(self) -> int:
        """The events for which the server's end is ready."""
        if self._is_reset:
            return EVENT_READ | EVENT_WRITE
        return (EVENT_READ if self._arrived or self._has_ended else 0) | (
            EVENT_WRITE if len(self._unread) < _SEND_BUFFER_BYTES else 0
        )

    def act(self) -> bool:
        """Have the client do something; return whether it had anything to do."""
        random = self._network.random
        if self.is_closed or self._is_reset:
            return False
        if self._unread and (self.habit is not Habit.DEAF or not self._to_send):
            count = random.randrange(1, len(self._unread) + 1)
            self.answers += self._unread[:count]
            del self._unread[:count]
            return True
        if self._to_send:
            count = random.randrange(1, len(self._to_send) + 1)
            self._arrived += self._to_send[:count]
            self._to_send = self._to_send[count:]
            if self.habit is Habit.RUDE and random.random() < 0.3:
                self._is_reset = True
            return True
        if not self._has_ended and (self.habit is not Habit.POLITE or random.random() < 0.3):
            self._has_ended = True
            return True
        return False


class SimulatedListener:
    """The queue of clients that have not been accepted yet."""

    is_inherited = False
    admits_named = False

    def __init__(self, network: "SimulatedNetwork") -> None:
        self.waiting: list[SimulatedSocket] = []
        self.is_closed = False
        self._network = network

    def fileno(self) -> int:
        """Return the descriptor."""
        return 3

    def accept(self) -> tuple[SimulatedSocket, Peer]:
        """Return the next client."""
        if self._network.random.random() < 0.03:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        if not self.waiting:
            raise BlockingIOError
        client = self.waiting.pop(0)
        self._network.trace(f"accept {client.number}")
        name = IDENTITIES[client.number % len(IDENTITIES)]
        names = () if name == "anonymous" else (name,)
        peer = Peer(f"client {client.number}", f"host {client.number}", "simulated", names=names)
        peer.certificate = "".join(names).encode()
        return client, peer

    def close(self) -> None:
        """Stop listening."""
        self.is_closed = True


class SimulatedNetwork(BaseSelector):
    """The selector, and all that it looks at."""

    def __init__(self, random: Random, trace: Callable[[str], None]) -> None:
        self.random = random
        self.trace = trace
        self.now = 0.0
        self.is_quiet = False
        """True if the last ``select`` found that nothing will ever happen again."""
        self.on_send: Callable[[SimulatedSocket, bytes], None] = lambda _socket, _data: None
        self.listener = SimulatedListener(self)
        self.sockets: list[SimulatedSocket] = []
        self._keys: dict[int, SelectorKey] = {}

    def clock(self) -> float:
        """Return the time in seconds."""
        return self.now

    def connect(self, to_send: bytes, habit: Habit) -> SimulatedSocket:
        """Let a client connect that will send ``to_send``."""
        client = SimulatedSocket(len(self.sockets) + 10, to_send, habit, self)
        self.sockets.append(client)
        self.listener.waiting.append(client)
        return client

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        number = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        assert number not in self._keys
        self._keys[number] = SelectorKey(fileobj, number, events, data)
        return self._keys[number]

    def unregister(self, fileobj: Any) -> SelectorKey:
        return self._keys.pop(fileobj.fileno())

    def modify(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        assert events
        self.unregister(fileobj)
        return self.register(fileobj, events, data)

    def get_map(self) -> Mapping[Any, SelectorKey]:
        return self._keys

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        self.is_quiet = False
        did_anything = sum(self._act() for _ in range(self.random.randrange(_ACTIONS_PER_SELECT_MAX + 1))) > 0
        ready = self._ready()
        while not ready and (timeout is None or timeout > 0.0) and self._act_all():
            did_anything = True
            ready = self._ready()
        self.is_quiet = not ready and not did_anything
        if ready or timeout is None:
            self.now += self.random.random() * self.random.choice((0.01, 0.01, 0.01, 0.01, 1.0))
        else:
            self.now += max(0.0, timeout)
        self.random.shuffle(ready)
        if (timeout is None or timeout > 0.0) and len(ready) > 1 and self.random.random() < 0.3:
            ready = ready[: self.random.randrange(1, len(ready))]
        self.trace(f"select {[(key.fd, events) for key, events in ready]}")
        return ready

    def _act(self) -> bool:
        present = [each for each in self.sockets if not each.is_closed]
        return bool(present) and self.random.choice(present).act()

    def _act_all(self) -> bool:
        return sum(each.act() for each in self.sockets) > 0

    def _ready(self) -> list[tuple[SelectorKey, int]]:
        ready: list[tuple[SelectorKey, int]] = []
        for key in self._keys.values():
            if isinstance(key.fileobj, SimulatedListener):
                events = EVENT_READ if key.fileobj.waiting else 0
            else:
                assert isinstance(key.fileobj, SimulatedSocket)
                events = key.fileobj.events
                if self.random.random() < 0.02:
                    events |= EVENT_READ  # spurious
            if events & key.events:
                ready.append((key, events & key.events))
        return ready
