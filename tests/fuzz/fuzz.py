"""Hostile clients on a real server, one after the other, beside a healthy one."""

import contextlib
import enum
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Final

from scoop_core import Changes, Connection, DependencyGraph, is_http_request

from scoop_server.cli.directory import DirectorySource
from scoop_server.errors import DataDirectoryError

from tests.crash.load_client import NotAsPromisedError, OwnPackages
from tests.fuzz.streams import LINE_BYTES_MAX, cut, damaged, stream_of_bytes
from tests.soak.connectors import Connect, Stream, TlsStream, connector, open_socket
from tests.soak.visits import read_lines, read_to_end
from tests.support.certificates import CertificateFiles, TlsPeer
from tests.support.process import MODULE_COMMAND, WAIT_SECONDS, ServerProcess

_STALE_MAX: Final = 20
"""Number of connections that are left open at a time, in any state."""

_PAUSE_SECONDS_MAX: Final = 0.003
_HEALTHY_PAUSE_SECONDS: Final = 0.002
_HEALTHY_PREFIX: Final = "client"
"""Prefix of the packages of the healthy client; those of the hostile ones have another."""


class Ending(enum.Enum):
    """The end of a hostile connection."""

    HALF_CLOSE = "half-closed, and read to the end"
    CLOSE = "closed"
    RESET = "reset"
    STALE = "left open"
    NO_HANDSHAKE = "with no handshake of TLS"
    DAMAGED_HANDSHAKE = "with a damaged handshake"
    BROKEN_RECORD = "with a broken record"


def lines_of(data: bytes) -> list[str]:
    """Return the lines that the server must answer, with their newlines."""
    text = Connection(max_line_length=LINE_BYTES_MAX).receive(data)
    return [f"{line}\n" for line in text.split("\n")[:-1]]


_ENDINGS: Final = (Ending.HALF_CLOSE, Ending.HALF_CLOSE, *Ending)


class Fuzz:
    """A server on the directory ``path``, and hostile clients planned by ``seed``.

    A model, a graph of scoop_core, applies the requests of each connection too. If the connection is read to its end,
    its responses must be those of the model, byte for byte. Otherwise the server must have applied the first N
    requests, and its packages show N.
    """

    def __init__(self, path: Path, seed: int, *, command: Sequence[str] = MODULE_COMMAND) -> None:
        random = Random(seed)
        self.endings: Counter[Ending] = Counter()
        self.answers = 0
        """Number of responses that were compared with the model."""
        self.healthy_answers = 0
        self._data = path / "data"
        self._seed = seed
        self._model = DependencyGraph()
        self._stale: deque[Stream] = deque()
        self._stop = threading.Event()
        self._healthy_failure: BaseException | None = None
        certificates = CertificateFiles.make(path / "certificates")
        self._server = ServerProcess(
            *("--data-dir", str(self._data), "--fsync", "never", "--max-line", str(LINE_BYTES_MAX)),
            *("--listen", "tcp:127.0.0.1:0", "--listen", f"unix:{path / 'socket'}", "--listen", "tls:127.0.0.1:0"),
            *certificates.server_arguments,
            command=command,
        )
        self._ways = [connector(address, certificates.authority) for address in self._server.addresses]
        self._tls_address = self._server.addresses[-1]
        self._tls_context = certificates.client_context()
        self._healthy = threading.Thread(target=self._be_healthy, args=(random.choice(self._ways),))
        self._healthy.start()

    def round(self, number: int) -> None:
        """Run one hostile connection. Raises :exc:`NotAsPromisedError`."""
        random = Random(f"{self._seed} {number}")
        data, ending = stream_of_bytes(random), random.choice(_ENDINGS)
        self.endings[ending] += 1
        match ending:
            case Ending.HALF_CLOSE if not is_http_request("".join(lines_of(data)[:1])):
                self._compare(data, self._converse(data, random))
            case Ending.NO_HANDSHAKE | Ending.DAMAGED_HANDSHAKE:
                self._break_a_handshake(data, ending, random)
                self._find_model(b"")
            case _:
                self._leave(data, ending, random)
                self._find_model(data)
        if self._healthy_failure is not None:
            raise NotAsPromisedError(f"the healthy client: {self._healthy_failure!r}") from self._healthy_failure

    # The hostile connection

    def _send(self, send: Callable[[bytes], None], data: bytes, random: Random) -> None:
        pauses = random.random() < 0.2
        for piece in cut(data, random):
            send(piece)
            if pauses:
                self._stop.wait(random.random() * _PAUSE_SECONDS_MAX)

    def _converse(self, data: bytes, random: Random) -> bytes:
        with random.choice(self._ways)() as stream:
            self._send(stream.send, data, random)
            stream.end()
            return read_to_end(stream)

    def _break_a_handshake(self, data: bytes, ending: Ending, random: Random) -> None:
        with open_socket(self._tls_address) as sock:
            if ending is Ending.DAMAGED_HANDSHAKE:
                data = damaged(TlsPeer(sock, self._tls_context).begin(), random)
            with contextlib.suppress(ConnectionError):
                self._send(sock.sendall, data, random)
                with contextlib.suppress(OSError):  # the server has closed it already
                    sock.shutdown(socket.SHUT_WR)
                received = read_to_end(Stream(sock))
                if any(answer in received for answer in (b"OK\n", b"FAIL\n", b"ERROR\n")):
                    raise NotAsPromisedError(f"a response outside TLS: {received!r}")

    def _leave(self, data: bytes, ending: Ending, random: Random) -> None:
        if ending is Ending.BROKEN_RECORD:
            stream = self._ways[-1]()
            assert isinstance(stream, TlsStream)
            records = stream.peer.encrypt(data)
            cut = random.randrange(len(records) or 1)  # no data, no record
            broken = random.choice((damaged(records, random), records[:cut]))
            send: Callable[[bytes], None] = stream.socket.sendall
        else:
            stream = random.choice(self._ways)()
            broken, send = data, stream.send
        with contextlib.suppress(ConnectionError):
            self._send(send, broken, random)
        self._stale.append(stream)
        if ending is not Ending.STALE:
            self._stale.pop()
            stream.reset() if ending is Ending.RESET else stream.close()
        while len(self._stale) > _STALE_MAX:
            self._stale.popleft().close()

    # Comparison with the model

    def _compare(self, data: bytes, received: bytes) -> None:
        lines = lines_of(data)
        answers = "".join(self._model.apply_lines(line, Changes()) for line in lines).encode()
        if received == answers:
            self.answers += answers.count(b"\n")
            return
        if answers.startswith(received):
            raise NotAsPromisedError(f"the connection ended before the responses {answers[len(received) :]!r}")
        for line, got, expected in zip(lines, received.split(b"\n"), answers.split(b"\n"), strict=False):
            if got != expected:
                raise NotAsPromisedError(f"{line!r} was answered {got!r}, not {expected!r}")
        raise NotAsPromisedError(f"more responses than requests: {received!r}")

    def _settle(self) -> None:
        """Wait until the server has handled all sent bytes: it reads later connections no earlier."""
        with self._server.connect() as client:
            client.ask_one_by_one("QUERY|a|", "QUERY|a|")

    def _find_model(self, data: bytes) -> None:
        """Find the number of applied requests of ``data``, and apply them to the model."""
        self._settle()
        out = BytesIO()
        try:
            DirectorySource(str(self._data)).dump(out)
        except DataDirectoryError as error:
            raise NotAsPromisedError(f"cannot read the files of the server: {error}") from error
        dumped = [line for line in out.getvalue().decode().splitlines(keepends=True) if not line.startswith("#")]
        found = DependencyGraph()
        for line in dumped:
            if not line.split("|")[1].startswith(_HEALTHY_PREFIX):
                found.apply_lines(line, Changes())
        model = self._model
        lines = lines_of(data)
        for line in lines:
            if model == found:
                return
            model.apply_lines(line, Changes())
        if model != found:
            raise NotAsPromisedError(f"after {lines} the server holds {dumped}, which no prefix of them explains")

    # The healthy client

    def _be_healthy(self, connect: Connect) -> None:
        packages = OwnPackages(0, {}, Random(self._seed))
        try:
            with connect() as stream:
                while not self._stop.wait(_HEALTHY_PAUSE_SECONDS):
                    stream.send(f"{packages.submit()}\n".encode())
                    packages.take_answer(read_lines(stream, 1).decode("latin-1").removesuffix("\n"))
                    self.healthy_answers += 1
        except BaseException as error:  # the next round reports it
            self._healthy_failure = error

    # Shutdown

    def finish(self) -> None:
        """Stop the server. Raises :exc:`NotAsPromisedError` if it fails."""
        self.close(is_over=False)
        if self._server.stop() != 0 or any("Traceback" in line for line in self._server.log_lines):
            raise NotAsPromisedError("\n".join(["the server failed at its end:", *self._server.log_lines]))

    def close(self, *, is_over: bool = True) -> None:
        """Close all connections, and kill the server if it ``is_over``."""
        self._stop.set()
        self._healthy.join(WAIT_SECONDS)
        while self._stale:
            self._stale.pop().close()
        if is_over:
            self._server.kill()

    def __str__(self) -> str:
        endings = ", ".join(f"{count:,} {ending.value}" for ending, count in self.endings.items())
        return (
            f"{self.endings.total():,} hostile connections ({endings}), {self.answers:,} responses equal to the "
            f"model's, {self.healthy_answers:,} correct responses to a healthy client"
        )
