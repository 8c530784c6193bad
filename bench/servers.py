"""The measured servers: start, end and resource usage of each."""

import atexit
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Self

from bench.load_generator import REDIS, SCOOP, Address, Dialect

WAIT_SECONDS: Final = 300.0
"""Longest time to start or stop: enough for a million packages on a busy machine."""

CLIENTS_MAX: Final = 12_000
"""Connection limit of a server: more than any load opens."""

REDIS_COMMAND: Final = "redis-server"

_LOOK_SECONDS: Final = 0.001
"""Interval of the checks of a start: negligible beside the start of an interpreter."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

_HERE: Final = Path(__file__).parent


class ServerError(Exception):
    """A server could not be started or stopped."""


class Processors(NamedTuple):
    """The processors of the servers and of the load generator; None if both share one."""

    server: int | None
    generator: int | None

    @classmethod
    def choose(cls) -> "Processors":
        """Return the first two that this process may use."""
        usable = sorted(os.sched_getaffinity(0))
        return cls(usable[0], usable[1]) if len(usable) > 1 else cls(None, None)

    def take_own(self) -> None:
        """Move this process, the load generator, to its processor."""
        if self.generator is not None:
            os.sched_setaffinity(0, {self.generator})


class Server:
    """A running server. Leaving the ``with`` block stops it."""

    def __init__(self, command: Sequence[str], log_path: Path, processors: Processors) -> None:
        self._command = command
        self._log_path = log_path
        self._started = time.perf_counter()
        with log_path.open("wb") as log:
            # A child inherits the processor, and so do all its threads and children.
            if processors.server is not None:
                os.sched_setaffinity(0, {processors.server})
            try:
                with _delayed_signals():
                    # In a session of its own, because the benchmark handles Ctrl-C and stops its servers itself.
                    self._process = subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                        # The child inherits the blocked signals; no other thread runs yet.
                        preexec_fn=partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, _SIGNALS),  # noqa: PLW1509  # as above
                    )
                    atexit.register(self._end)  # a signal can come before the block that stops it
            except OSError as error:
                raise ServerError(f"cannot run {command[0]}: {error.strerror}") from error
            finally:
                processors.take_own()
        self.address: Address = ("127.0.0.1", 0)
        self.start_seconds = 0.0
        """From the start of the process until its first response."""

    def is_running(self) -> bool:
        """True while the process is running."""
        return self._process.poll() is None

    def wait_until_listening(self) -> None:
        """Wait until the log contains the address of the server."""
        while not (found := re.search(r"listening on (\S+):(\d+)", self._log_path.read_text())):
            self.wait_a_moment()
        self.has_started((found[1].strip("[]"), int(found[2])))

    def has_started(self, address: Address) -> None:
        """Record that the server accepts connections."""
        self.start_seconds = time.perf_counter() - self._started
        self.address = address

    def wait_a_moment(self) -> None:
        """Wait one interval during a start. Raises :exc:`ServerError` if the server has ended or takes too long."""
        if not self.is_running():
            raise self._error(f"has ended with status {self._process.returncode} instead of starting")
        if time.perf_counter() - self._started > WAIT_SECONDS:
            raise self._error(f"has not started within {WAIT_SECONDS:.0f} s")
        time.sleep(_LOOK_SECONDS)

    def _error(self, what: str) -> ServerError:
        return ServerError(f"{' '.join(self._command)} {what}\n{self._log_path.read_text()}".rstrip())

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def cpu_seconds(self) -> float:
        """Return the processor time of all threads of the process."""
        return cpu_seconds(self.pid)

    def resident_bytes(self) -> int:
        """Return the resident memory."""
        return self._memory("VmRSS")

    def peak_bytes(self) -> int:
        """Return the peak resident memory."""
        return self._memory("VmHWM")

    def _memory(self, field: str) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"^{field}:\s*(\d+) kB$", status, re.MULTILINE)
        return int(found[1]) * 1_024 if found else 0

    def stop(self) -> float:
        """Stop it with SIGTERM; return the duration in seconds."""
        started = time.perf_counter()
        self._process.terminate()
        try:
            self._process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise self._error(f"has not ended within {WAIT_SECONDS:.0f} s") from None
        return time.perf_counter() - started

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self.is_running():
                self.stop()
        finally:
            self._end()

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def _delayed_signals() -> Iterator[None]:
    """Deliver signals that end the benchmark only after the block."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def cpu_seconds(process: int) -> float:
    """Return the processor time of all threads of ``process``: exact, while /proc counts in hundredths of a second."""
    clock = ctypes.c_int()
    error: int = ctypes.CDLL(None).clock_getcpuclockid(process, ctypes.byref(clock))
    if error:
        raise OSError(error, os.strerror(error))
    return time.clock_gettime(clock.value)


def waiting_seconds_of(process: int) -> float:
    """Return how long the main thread of ``process`` was ready while its processor ran another program."""
    try:
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[1]) / 1e9
    except FileNotFoundError:  # this kernel does not count it
        return 0.0


class Peer(ABC):
    """A program in the comparison."""

    dialect: Dialect = SCOOP

    def __init__(self, name: str, *, keeps_changes: bool = False, has_twin: bool = False) -> None:
        self.name = name
        self.keeps_changes = keeps_changes
        """True if acknowledged changes are on disk and survive a restart."""
        self.has_twin = has_twin
        """True if another peer differs only in its treatment of changes; then loads without changes skip this one."""

    @abstractmethod
    def running(self, directory: Path, processors: Processors) -> AbstractContextManager[Server]:
        """Return a context in which it runs and listens, with the data of an earlier run in ``directory``."""


class ScoopPeer(Peer):
    """A Scoop server: ``command`` accepts the options of scoop-server."""

    def __init__(self, name: str, command: Sequence[str], *, keeps_changes: bool, has_twin: bool = False) -> None:
        super().__init__(name, keeps_changes=keeps_changes, has_twin=has_twin)
        self._command = command

    @contextmanager
    def running(self, directory: Path, processors: Processors) -> Iterator[Server]:
        """See :meth:`Peer.running`."""
        storage = ("--data-dir", str(directory / "data"), "--fsync", "always") if self.keeps_changes else ("--memory",)
        command = [
            *self._command,
            "--port",
            "0",
            "--max-clients",
            str(CLIENTS_MAX),
            "--max-clients-per-peer",
            str(CLIENTS_MAX),
            *storage,
        ]
        with Server(command, directory / "log", processors) as server:
            server.wait_until_listening()
            yield server


class FloorPeer(Peer):
    """The lower bound, which stores nothing and answers OK to everything."""

    @contextmanager
    def running(self, directory: Path, processors: Processors) -> Iterator[Server]:
        """See :meth:`Peer.running`."""
        with Server([sys.executable, str(_HERE / "floor.py")], directory / "log", processors) as server:
            server.wait_until_listening()
            yield server


class RedisPeer(Peer):
    """Redis with the rules of the package index as functions; changes are kept in an append-only file."""

    dialect = REDIS

    @contextmanager
    def running(self, directory: Path, processors: Processors) -> Iterator[Server]:
        """See :meth:`Peer.running`."""
        # Redis does not choose a free port itself. If another program takes it first, the start fails with the reason.
        with socket.create_server(("127.0.0.1", 0)) as briefly:
            port: int = briefly.getsockname()[1]
        address = ("127.0.0.1", port)
        data = directory / "data"
        data.mkdir(exist_ok=True)
        options = {
            "bind": address[0],
            "port": str(port),
            "maxclients": str(CLIENTS_MAX),
            "dir": str(data),
            "save": "",
            "appendonly": "yes" if self.keeps_changes else "no",
            "appendfsync": "always",
        }
        command = [REDIS_COMMAND, *(word for option, value in options.items() for word in (f"--{option}", value))]
        with Server(command, directory / "log", processors) as server:
            while not _is_redis_ready(address):
                server.wait_a_moment()
            server.has_started(address)
            function = (_HERE / "redis_index.lua").read_bytes()
            load = b"*4\r\n$8\r\nFUNCTION\r\n$4\r\nLOAD\r\n$7\r\nREPLACE\r\n$%d\r\n%s\r\n" % (len(function), function)
            answer = _ask_redis(address, load)
            if not answer.startswith(b"$"):
                raise ServerError(f"Redis rejects redis_index.lua: {answer.decode()}")
            yield server


def find_redis() -> str | None:
    """Return the version of the installed Redis, or None."""
    if shutil.which(REDIS_COMMAND) is None:
        return None
    said = subprocess.run([REDIS_COMMAND, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"v=(\S+)", said)
    return version[1] if version else said.strip()


def _is_redis_ready(address: Address) -> bool:
    """Return whether it answers and has loaded its data; until then it answers -LOADING."""
    try:
        return _ask_redis(address, b"*1\r\n$4\r\nPING\r\n") == b"+PONG\r\n"
    except ConnectionError:
        return False


def _ask_redis(address: Address, question: bytes) -> bytes:
    with socket.create_connection(address, WAIT_SECONDS) as connection:
        connection.sendall(question)
        return connection.recv(65_536)
