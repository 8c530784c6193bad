"""The command ``scoop-server``: read the settings, put the parts together, run, save."""

import errno
import gc
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import Final

from scoop_core import DependencyGraph

from scoop_server import maintenance
from scoop_server.compaction import CompactionProcess
from scoop_server.data_directory import DataDirectory, DataDirectoryError
from scoop_server.event_loop import Server, format_address
from scoop_server.limits import Limits
from scoop_server.lock import DirectoryLock
from scoop_server.selector import best_selector
from scoop_server.settings import Settings, read_settings
from scoop_server.store import JournalStore, MemoryStore

log: Final = logging.getLogger("scoop_server")

_BACKLOG: Final = 4_096
"""Connections that wait to be accepted: a burst of thousands is taken in a few turns, and the system caps it."""

_STATUS_INTERRUPTED: Final = 128 + signal.SIGINT
"""What a shell reports for a program that Ctrl-C has ended."""

_RESERVED_DESCRIPTORS: Final = 32
"""Kept from clients: standard streams, lock, journal and its successor, a compaction, the selector, signals."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class _CannotStart(Exception):
    """What the command line asks for cannot be had; the message is one line for the operator."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``scoop-server``; return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments and arguments[0] in maintenance.COMMAND_NAMES:
            return maintenance.main(arguments)
        settings = read_settings(arguments, os.environ)
        _set_up_logging(settings.log_level)
        serve(settings)
    except (_CannotStart, DataDirectoryError) as error:
        print(f"scoop-server: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before the server listens to signals, or in a command that is none
        return _STATUS_INTERRUPTED
    return 0


def _set_up_logging(level: str) -> None:
    """Have one line an event on stderr, with the time in UTC."""
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        level=level.upper(),
        stream=sys.stderr,
        format="%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )


def serve(settings: Settings) -> None:
    """Serve as ``settings`` say until a signal ends it.

    Raises :exc:`DataDirectoryError` or :exc:`_CannotStart` where that is not possible.
    """
    with ExitStack() as resources:
        if not settings.memory:
            resources.enter_context(closing(DirectoryLock(str(settings.data_dir))))
        listener = resources.enter_context(_bind(settings.host, settings.port))
        signals = resources.enter_context(closing(_SignalPipe()))
        if settings.memory:
            store, graph, place = None, DependencyGraph(), "memory only"
        else:
            directory = DataDirectory(str(settings.data_dir))
            store = resources.enter_context(
                closing(JournalStore(directory, settings.fsync, time.monotonic, CompactionProcess))
            )
            graph, place = store.graph, f"data directory {directory.path}, fsync {settings.fsync}"
        graph.reject_cycles = settings.reject_cycles
        limits = Limits(
            line_bytes_max=settings.max_line,
            clients_max=_allow_descriptors(settings.max_clients),
            idle_seconds_max=settings.idle_timeout,
        )
        selector = resources.enter_context(best_selector())
        # What has been loaded stays: the collector need not look at it again in any turn.
        gc.collect()
        gc.freeze()
        _listen(listener)
        server = Server(graph, store or MemoryStore(), [listener], selector, time.monotonic, limits)
        resources.enter_context(closing(server))
        server.watch(signals.fileno(), lambda: _obey(signals, server, store))
        log.info("listening on %s with %d packages (%s)", format_address(listener.getsockname()), len(graph), place)
        server.run()
        server.close()
        if store is not None:
            store.save()


def _bind(host: str, port: int) -> socket.socket:
    """Return a non-blocking socket that holds the address, and does not listen yet."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _CannotStart(f"cannot listen on {host}: {error.strerror}; name another address with --host") from error
    except UnicodeError as error:
        raise _CannotStart(f"cannot listen on {host}: it is no host name; name another address with --host") from error
    try:
        # A restart need not wait for the connections of the process before; a second server still cannot listen.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Answers are short and complete: they leave at once. Accepted sockets inherit it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setblocking(False)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _cannot_listen(address, error) from error
    return listener


def _listen(listener: socket.socket) -> None:
    """Begin to listen, when whoever connects is served at once. Another server may have come first since the bind."""
    try:
        listener.listen(_BACKLOG)
    except OSError as error:
        raise _cannot_listen(listener.getsockname(), error) from error


def _cannot_listen(address: object, error: OSError) -> _CannotStart:
    way_out = "name another address with --host or --port"
    if error.errno == errno.EADDRINUSE:
        way_out = "another process listens there; stop it, or name another port with --port"
    return _CannotStart(f"cannot listen on {format_address(address)}: {error.strerror}; {way_out}")


def _allow_descriptors(clients: int) -> int:
    """Raise the limit of open files as far as ``clients`` connections need; return how many it leaves room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = clients + _RESERVED_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < needed:
            clients = max(1, soft - _RESERVED_DESCRIPTORS)
            log.warning(
                "at most %d clients at a time: the limit of open files is %d; raise it with ulimit -n", clients, soft
            )
    return clients


class _SignalPipe:
    """Signals as something a selector can wait for: SIGTERM, SIGINT and SIGUSR1 put a byte into it."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}

    def fileno(self) -> int:
        return self._reader.fileno()

    def read(self) -> bytes:
        """Return the numbers of the signals that came, one a byte."""
        return self._reader.recv(4_096)

    def close(self) -> None:
        """Put everything back as it was."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._reader.close()
        self._writer.close()


def _obey(signals: _SignalPipe, server: Server, store: JournalStore | None) -> None:
    for number in signals.read():
        log.info("received %s", signal.Signals(number).name)
        if number != signal.SIGUSR1:
            server.request_shutdown()
        elif store is not None:
            store.request_compaction()
