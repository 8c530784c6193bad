"""The real server as a child process, and a blocking client for it.

Nothing here sleeps: every wait is for a log line, for bytes or for the end of a process, and at most
:data:`WAIT_SECONDS`.
"""

import os
import re
import resource
import secrets
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

WAIT_SECONDS: Final = 120.0
"""Longest wait for an event that must happen; only a bug takes longer, even on a busy machine."""

MODULE_COMMAND: Final = (sys.executable, "-m", "scoop_server")

_LINES_PER_ASK: Final = 1_000
"""Number of lines that a client sends before it reads: their responses fit into any socket buffer."""

_HAND_OVER: Final = """
import fcntl, os, sys
names, descriptors, command = sys.argv[1], sys.argv[2].split(","), sys.argv[3:]
copies = [fcntl.fcntl(int(descriptor), fcntl.F_DUPFD, 100) for descriptor in descriptors]
for number, copy in enumerate(copies, 3):
    os.dup2(copy, number)
    os.close(copy)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(descriptors)), "LISTEN_FDNAMES": names}
os.execv(command[0], command)
"""
"""A program that hands over sockets as systemd does, and then becomes the service."""

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

SocketAddress = tuple[str, int] | str
"""Host and port, or the path of a Unix socket."""


def _family(address: SocketAddress) -> socket.AddressFamily:
    if isinstance(address, str):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


_UNASSIGNED_PORTS: Final = range(10_000, 32_768)
"""Ports that Linux gives to no other program: it takes those from 32768 on for port 0 and for connections."""


def free_port() -> int:
    """Return a port on which nothing listens, and which stays free for a program that must know it before it starts."""
    while True:
        port = secrets.choice(_UNASSIGNED_PORTS)
        with suppress(OSError), socket.socket() as sock:
            sock.bind(("127.0.0.1", port))
            return port


def server_environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of this process without settings of a server, and with ``variables``."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SCOOP_")}
    return inherited | dict(variables or {})


def run_to_end(
    *arguments: str,
    command: Sequence[str] = MODULE_COMMAND,
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself; return its status and output."""
    return subprocess.run(
        [*command, *arguments],
        env=server_environment(variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )


def _written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class BlockingClient:
    """One connection to a server."""

    def __init__(
        self, address: SocketAddress, receive_buffer_bytes: int | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.socket = socket.socket(_family(address))
        try:
            if receive_buffer_bytes is not None:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            self.socket.settimeout(WAIT_SECONDS)
            self.socket.connect(address)
            if isinstance(address, tuple):
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.name = "" if isinstance(address, str) else _written(*self.socket.getsockname()[:2])
            """The name of this client in the server's log."""
            if tls is not None:
                self.socket = tls.wrap_socket(self.socket, server_hostname=address[0])
        except BaseException:
            self.socket.close()
            raise
        self._reader = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def read_answers(self, count: int) -> list[str]:
        """Return the next ``count`` responses, without their newlines."""
        answers: list[str] = []
        for _ in range(count):
            answer = self._reader.readline()
            if not answer.endswith(b"\n"):
                raise AssertionError(f"the connection ended after {len(answers)} of {count} answers, with {answer!r}")
            answers.append(answer[:-1].decode("ascii"))
        return answers

    def ask(self, *lines: str) -> list[str]:
        """Send the lines, pipelined, and return their responses."""
        answers: list[str] = []
        for start in range(0, len(lines), _LINES_PER_ASK):
            some = lines[start : start + _LINES_PER_ASK]
            self.send("".join(f"{line}\n" for line in some).encode())
            answers += self.read_answers(len(some))
        return answers

    def ask_one_by_one(self, *lines: str) -> list[str]:
        """Send each line after the response to the previous one; return the responses."""
        return [self.ask(line)[0] for line in lines]

    def finish_sending(self) -> None:
        """End the sending side."""
        self.socket.shutdown(socket.SHUT_WR)

    def read_to_end(self) -> bytes:
        """Return all bytes until the server ends the stream."""
        return self._reader.read()

    def wait_until_closed(self) -> None:
        """Wait until the server has closed the connection, by an end or a reset."""
        try:
            rest = self.read_to_end()
        except ConnectionResetError:
            return
        if rest:
            raise AssertionError(f"the connection ended with {rest[:100]!r}")

    def reset(self) -> None:
        """Reset the connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ServerProcess:
    """A server, by default on a free port of 127.0.0.1, from construction to the end of the ``with`` block.

    Leaving the block ends it with SIGTERM, unless it has ended before, and requires exit status 0, so that a broken
    server fails the test. ``descriptors_max`` limits its file descriptors once it listens, after it has read its own
    limit. ``sockets`` are handed over to it as systemd does, under their names.
    """

    def __init__(
        self,
        *arguments: str,
        command: Sequence[str] = MODULE_COMMAND,
        variables: Mapping[str, str] | None = None,
        working_directory: Path | None = None,
        descriptors_max: int | None = None,
        sockets: Sequence[tuple[str, socket.socket]] = (),
    ) -> None:
        any_port = () if "--listen" in arguments else ("--port", "0")
        if sockets:
            names = ":".join(name for name, _ in sockets)
            descriptors = [str(sock.fileno()) for _, sock in sockets]
            command = (sys.executable, "-c", _HAND_OVER, names, ",".join(descriptors), *command)
        self._process = subprocess.Popen(
            [*command, *any_port, *arguments],
            pass_fds=[sock.fileno() for _, sock in sockets],
            env=server_environment(variables),
            cwd=working_directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._log: list[str] = []
        self._log_ended = False
        self._log_grew = threading.Condition()
        self._log_reader = threading.Thread(target=self._read_log, daemon=True)
        self._log_reader.start()
        self._status: int | None = None
        try:
            listening = self.wait_for_log(r"listening on (.+) with (\d+) packages?")
        except BaseException:
            self.kill()
            raise
        self.addresses = listening[1].split(", ")
        """The addresses of its listeners, from its log."""
        self.package_count = int(listening[2])
        """The number of packages that it loaded, from its log."""
        if descriptors_max is not None:
            resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (descriptors_max, descriptors_max))

    def address_of(self, number: int) -> SocketAddress:
        """Return the address of the listener with this number."""
        address = self.addresses[number].removeprefix("tls:").partition("?")[0]
        if address.startswith("unix:"):
            return address.removeprefix("unix:")
        host, _, port = address.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def address(self) -> tuple[str, int]:
        """The address of the first listener, on TCP."""
        address = self.address_of(0)
        assert isinstance(address, tuple)
        return address

    @property
    def host(self) -> str:
        """The host of :attr:`address`."""
        return self.address[0]

    @property
    def port(self) -> int:
        """The port of :attr:`address`."""
        return self.address[1]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """True until it has ended."""
        return self._process.poll() is None

    @property
    def log_lines(self) -> list[str]:
        """The lines that it has logged so far."""
        with self._log_grew:
            return list(self._log)

    def wait_for_log(self, pattern: str, *, after: int = 0) -> re.Match[str]:
        """Wait for a log line, from number ``after`` on, that contains ``pattern``; return the match."""
        deadline = time.monotonic() + WAIT_SECONDS
        searched = after
        with self._log_grew:
            while True:
                for line in self._log[searched:]:
                    if match := re.search(pattern, line):
                        return match
                searched = max(after, len(self._log))
                if self._log_ended or not self._log_grew.wait(deadline - time.monotonic()):
                    raise AssertionError("\n".join([f"no log line contains {pattern!r}:", *self._log]))

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._log_grew:
                self._log.append(line.rstrip("\n"))
                self._log_grew.notify_all()
        with self._log_grew:
            self._log_ended = True
            self._log_grew.notify_all()

    def connect(
        self, number: int = 0, *, receive_buffer_bytes: int | None = None, tls: ssl.SSLContext | None = None
    ) -> BlockingClient:
        """Connect a client to the listener with this number."""
        return BlockingClient(self.address_of(number), receive_buffer_bytes, tls)

    def cpu_seconds(self) -> float:
        """Return its processor time."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_memory_bytes(self) -> int:
        """Return its peak resident memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        peak = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert peak is not None
        return int(peak[1]) * 1_024

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait until it has ended and its whole log is read; return its exit status."""
        if self._status is None:
            self._status = self._process.wait(WAIT_SECONDS)
            self._log_reader.join(WAIT_SECONDS)
            assert self._process.stderr is not None
            self._process.stderr.close()
        return self._status

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal and wait for its end; return its exit status."""
        self.send_signal(number)
        return self.wait()

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._process.kill()
        self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self._status is not None:
            return
        try:
            status = self.stop()
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        if status and kind is None:
            raise AssertionError("\n".join([f"the server ended with status {status}:", *self.log_lines]))


@contextmanager
def connected(server: ServerProcess, count: int) -> Iterator[list[BlockingClient]]:
    """Connect ``count`` clients to ``server``, and close them at the end."""
    clients: list[BlockingClient] = []
    try:
        while len(clients) < count:
            clients.append(server.connect())
        yield clients
    finally:
        close_all(clients)


def close_all(clients: Iterable[BlockingClient]) -> None:
    """Close the connections of ``clients``."""
    for client in clients:
        client.close()


def send_all_that_fits(client: BlockingClient, line: bytes) -> int:
    """Send ``line`` repeatedly until the buffers are full; return the number of bytes sent."""
    piece = line * 1_000
    sent = 0
    client.socket.setblocking(False)
    try:
        while True:
            sent += client.socket.send(piece[sent % len(line) :])
    except BlockingIOError:
        return sent
    finally:
        client.socket.settimeout(WAIT_SECONDS)


def processes_with(variable: str) -> list[int]:
    """Return the running processes with ``NAME=value`` in the environment that they were started with."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = path.read_bytes().split(b"\0")
        except OSError:  # it has just ended, or belongs to another user
            continue
        if variable.encode() in variables:
            found.append(int(path.parent.name))
    return found
