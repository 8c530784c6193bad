"""One hostile client after the other on a real server, and a healthy one beside them."""

import contextlib
import enum
import socket
import threading
from collections import Counter, deque
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Final

from scoop_core import Changes, Connection, DependencyGraph

from scoop_server import maintenance
from scoop_server.data_directory import DataDirectoryError

from tests.crash.load_client import NotAsPromisedError, OwnPackages
from tests.fuzz.streams import LINE_BYTES_MAX, cut, stream
from tests.server.process import MODULE_COMMAND, WAIT_SECONDS, ServerProcess
from tests.soak.connectors import READ_BYTES, Connect, connector
from tests.soak.visits import RESET_ON_CLOSE, read_lines, read_to_end

_STALE_MAX: Final = 20
"""How many connections are left open at a time, in whatever state they are."""

_PAUSE_SECONDS_MAX: Final = 0.003
_HEALTHY_PAUSE_SECONDS: Final = 0.002
_HEALTHY_PREFIX: Final = "client"
"""How the names of the healthy client's packages begin; those of the hostile ones begin otherwise."""


class Ending(enum.Enum):
    """How a hostile connection ends."""

    HALF_CLOSE = "half-closed, and read to the end"
    CLOSE = "closed"
    RESET = "reset"
    STALE = "left open"


_ENDINGS: Final = (Ending.HALF_CLOSE, Ending.HALF_CLOSE, Ending.CLOSE, Ending.RESET, Ending.STALE)


class Fuzz:
    """A server on the directory ``path``, and hostile clients as ``seed`` plans them.

    Each connection's requests go through a graph of scoop_core as well. Where the connection is read to its end,
    its answers must be that graph's, byte for byte; otherwise the server must have applied the first of its
    requests, however many, and what it holds says how many these were.
    """

    def __init__(self, path: Path, seed: int, *, command: Sequence[str] = MODULE_COMMAND) -> None:
        self.endings: Counter[Ending] = Counter()
        self.answers = 0
        """How many answers were held against the model's."""
        self.healthy_answers = 0
        self._data = path / "data"
        self._seed = seed
        self._model = DependencyGraph()
        self._stale: deque[socket.socket] = deque()
        self._stop = threading.Event()
        self._healthy_failure: BaseException | None = None
        self._server = ServerProcess(
            *("--data-dir", str(self._data), "--fsync", "never", "--max-line", str(LINE_BYTES_MAX)), command=command
        )
        address = f"tcp:{self._server.host}:{self._server.port}"
        self._ways: tuple[Connect, ...] = (connector(address),)
        self._healthy = threading.Thread(target=self._be_healthy, args=(self._ways[0],))
        self._healthy.start()

    def round(self, number: int) -> None:
        """Have one hostile connection. Raises :exc:`NotAsPromisedError`."""
        random = Random(f"{self._seed} {number}")
        data, ending = stream(random), random.choice(_ENDINGS)
        self.endings[ending] += 1
        if ending is Ending.HALF_CLOSE:
            self._compare(data, self._converse(data, random))
        else:
            self._leave(data, ending, random)
            self._settle()
            self._find_model(data)
        if self._healthy_failure is not None:
            raise NotAsPromisedError(f"the healthy client: {self._healthy_failure!r}") from self._healthy_failure

    # The hostile connection

    def _send(self, sock: socket.socket, data: bytes, random: Random) -> None:
        pauses = random.random() < 0.2
        for piece in cut(data, random):
            sock.sendall(piece)
            if pauses:
                self._stop.wait(random.random() * _PAUSE_SECONDS_MAX)

    def _converse(self, data: bytes, random: Random) -> bytes:
        with random.choice(self._ways)() as sock:
            self._send(sock, data, random)
            sock.shutdown(socket.SHUT_WR)
            return read_to_end(sock)

    def _leave(self, data: bytes, ending: Ending, random: Random) -> None:
        sock = random.choice(self._ways)()
        with contextlib.suppress(ConnectionError):
            self._send(sock, data, random)
            if random.random() < 0.5:
                sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    sock.recv(READ_BYTES)
        self._stale.append(sock)
        if ending is Ending.RESET:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        if ending is not Ending.STALE:
            self._stale.pop().close()
        while len(self._stale) > _STALE_MAX:
            self._stale.popleft().close()

    # What the server makes of it

    def _compare(self, data: bytes, received: bytes) -> None:
        lines = Connection(max_line_length=LINE_BYTES_MAX).receive(data)
        answers = self._model.apply_lines(lines, Changes()).encode()
        if received == answers:
            self.answers += answers.count(b"\n")
            return
        if answers.startswith(received):
            raise NotAsPromisedError(f"the connection ended before the answers {answers[len(received) :]!r}")
        for line, got, expected in zip(lines.splitlines(), received.split(b"\n"), answers.split(b"\n"), strict=False):
            if got != expected:
                raise NotAsPromisedError(f"{line!r} was answered {got!r}, not {expected!r}")
        raise NotAsPromisedError(f"more answers than requests: {received!r}")

    def _settle(self) -> None:
        """Return when the server has dealt with all that was sent: it reads what came before this no later."""
        with self._server.connect() as client:
            client.ask_one_by_one("QUERY|a|", "QUERY|a|")

    def _find_model(self, data: bytes) -> None:
        """Find out how many requests of ``data`` were applied, and have the model follow."""
        out = BytesIO()
        try:
            maintenance.dump(str(self._data), out)
        except DataDirectoryError as error:
            raise NotAsPromisedError(f"the server has left files that cannot be read: {error}") from error
        dumped = out.getvalue().decode().splitlines(keepends=True)
        found = DependencyGraph()
        for line in dumped:
            if not line.split("|")[1].startswith(_HEALTHY_PREFIX):
                found.apply_lines(line, Changes())
        model = self._model
        lines = Connection(max_line_length=LINE_BYTES_MAX).receive(data).splitlines(keepends=True)
        for line in lines:
            if model == found:
                return
            model.apply_lines(line, Changes())
        if model != found:
            raise NotAsPromisedError(f"after {lines} the server holds {dumped}, which no part of them leads to")

    # The healthy client

    def _be_healthy(self, connect: Connect) -> None:
        packages = OwnPackages(0, {}, Random(self._seed))
        try:
            with connect() as sock:
                while not self._stop.wait(_HEALTHY_PAUSE_SECONDS):
                    sock.sendall(f"{packages.submit()}\n".encode())
                    packages.take_answer(read_lines(sock, 1).decode("latin-1").removesuffix("\n"))
                    self.healthy_answers += 1
        except BaseException as error:  # whatever it is, the next round says so
            self._healthy_failure = error

    # The end

    def finish(self) -> None:
        """End the server in order. Raises :exc:`NotAsPromisedError` where it does not end well."""
        self.close(is_over=False)
        if self._server.stop() != 0 or any("Traceback" in line for line in self._server.log_lines):
            raise NotAsPromisedError("\n".join(["the server did not end well:", *self._server.log_lines]))

    def close(self, *, is_over: bool = True) -> None:
        """Leave nothing open, and nothing running if it ``is_over``."""
        self._stop.set()
        self._healthy.join(WAIT_SECONDS)
        while self._stale:
            self._stale.pop().close()
        if is_over:
            self._server.kill()

    def __str__(self) -> str:
        endings = ", ".join(f"{count:,} {ending.value}" for ending, count in self.endings.items())
        return (
            f"{self.endings.total():,} hostile connections ({endings}), {self.answers:,} answers as the model gives "
            f"them, {self.healthy_answers:,} answers to a healthy client that has noticed nothing"
        )
