"""One life of a real server in which one system call fails, by strace: it continues, or exits with one line."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.process import WAIT_SECONDS, BlockingClient, ServerProcess, server_environment

SERVER: Final = (sys.executable, "-m", "scoop_server")

CALLS: Final[dict[str, tuple[str, ...]]] = {
    "openat": ("EIO", "EMFILE", "ENOSPC", "EROFS"),
    "close": ("EIO",),
    "read": ("EIO",),
    "lseek": ("EIO",),
    "newfstatat": ("EIO",),
    "faccessat": ("EIO",),
    "fstatfs": ("EIO",),
    "getdents64": ("EIO",),
    "mkdir": ("EIO",),
    "flock": ("EIO", "ENOLCK"),
    "write": ("EIO", "ENOSPC", "EROFS"),
    "pwrite64": ("EIO", "ENOSPC"),
    "ftruncate": ("EIO", "EROFS"),
    "fsync": ("EIO", "ENOSPC", "EROFS"),
    "fdatasync": ("EIO", "ENOSPC", "EROFS"),
    "renameat": ("EIO", "ENOSPC", "EROFS"),
    "unlinkat": ("EIO", "EROFS"),
    "socketpair": ("EMFILE",),
    "listen": ("EADDRINUSE",),
    "epoll_create1": ("EMFILE",),
    "epoll_ctl": ("ENOMEM", "ENOSPC"),
    "accept4": ("ECONNABORTED", "EMFILE", "ENOMEM"),
    "recvfrom": ("ECONNRESET",),
    "sendto": ("EPIPE", "ENOBUFS"),
    "pipe2": ("EMFILE",),
    "vfork": ("EAGAIN", "ENOMEM"),
    "clone3": ("EAGAIN",),
}
"""The calls by which storage touches files, the loop clients, and the server its compaction and threads, and the errors
that each may report."""

_ONLY_ON_FILES: Final = frozenset({"openat", "close", "read", "lseek", "newfstatat", "faccessat", "getdents64"})
"""Calls that Python itself needs everywhere: they fail only on the directory and the files in it."""

_COMPACTION_SECONDS: Final = 5.0
"""The wait for a compaction, which need not begin if a call fails. Nothing depends on its end."""

_DEAF_WHILE_ENDING: Final = ("sh", "-c", 'trap "" USR1 TERM; exec "$@"', "sh")
"""The start of a command that ignores these signals while it does not handle them: also while it ends."""

_LOG_LINE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ |scoop-server: ")
_CHANGES: Final = 12


class NotAsPromisedError(Exception):
    """A fault had an outcome that is not allowed."""


@dataclass(frozen=True)
class Fault:
    """The call ``call`` fails with ``error`` when it is made for the ``when``-th time."""

    call: str
    error: str
    when: int

    def __str__(self) -> str:
        return f"{self.call} {self.when} fails with {self.error}"


def reason_to_skip() -> str:
    """Return the reason for which this machine cannot inject faults; empty if it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "strace may not trace processes here"


def _strace(path: Path, expression: str, calls: Sequence[str], output: str) -> list[str]:
    """Return the start of a command whose calls are traced. The server stays the direct child (-D)."""
    command = ["strace", "-D", "-f", "-qq", "-o", output, "-e", f"trace={','.join(calls)}", "-e", "signal=none"]
    if set(calls) <= _ONLY_ON_FILES:
        names = [f"{kind}-{number}" for kind in ("journal", "snapshot") for number in range(1, 6)]
        for place in (path, *(path / name for name in ("lock", "lock.trial", *names))):
            command += ["-P", str(place)]
    return [*command, *(["-e", expression] if expression else [])]


def count_calls(parent: Path) -> Counter[str]:
    """Return the number of times that each call is made in a life without faults."""
    counts: Counter[str] = Counter()
    for calls in (sorted(_ONLY_ON_FILES), sorted(CALLS.keys() - _ONLY_ON_FILES)):
        path, trace = parent / "data", parent / "trace"
        Life(path, _strace(path, "", calls, str(trace))).run()
        found = re.findall(r"^\d+ +(\w+)\(", trace.read_text("ascii", "replace"), re.MULTILINE)
        counts.update(call for call in found if call in calls)
        shutil.rmtree(path)
    return counts


class Life:
    """A server on ``path``, from its start to its end, with a client whose acknowledged changes are known."""

    def __init__(self, path: Path, tracer: Sequence[str], *, log_may_fail: bool = False) -> None:
        self.acknowledged: set[str] = set()
        self._path = path
        self._tracer = tracer
        self._log_may_fail = log_may_fail
        self._number = 0
        self._output = bytearray()

    @property
    def _log(self) -> list[str]:
        """The lines of the log so far; the last one may still be a part, as a line can come in several writes."""
        return self._output.decode("ascii", "replace").splitlines()

    def run(self) -> str:
        """Live; return the outcome. Raises :exc:`NotAsPromisedError`."""
        with subprocess.Popen(
            [*_DEAF_WHILE_ENDING, *self._tracer, *SERVER, "--port", "0", "--data-dir", str(self._path)],
            env=server_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                return self._use(process)
            finally:
                process.kill()

    def _use(self, process: subprocess.Popen[str]) -> str:
        assert process.stderr is not None
        os.set_blocking(process.stderr.fileno(), False)
        address = self._wait_for(process, r"listening on 127\.0\.0\.1:(\d+)")
        if address is not None:
            port = int(address[1])
            self._change(port)
            process.send_signal(signal.SIGUSR1)
            self._change(port)
            self._wait_for(process, "compaction .*(complete|next attempt)", seconds=_COMPACTION_SECONDS)
            self._change(port)
            process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise NotAsPromisedError("the server does not end") from None
        self._read_log(process)
        return self._outcome(status)

    def _outcome(self, status: int) -> str:
        odd = [line for line in self._log if not _LOG_LINE.match(line)]
        last = [line for line in self._log if line.startswith("scoop-server: ")]
        # The count of a call is one of its thread: a write to the log, which has its own, may fail as well.
        expected = {status, 0} if self._log_may_fail else {status}
        if odd or status not in {0, 1} or len(last) not in expected:
            raise NotAsPromisedError("\n".join([f"status {status}:", *self._log[-40:]]))
        return "continues" if status == 0 else "one line"

    def _read_log(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with suppress(BlockingIOError):
            while piece := os.read(process.stderr.fileno(), 65_536):
                self._output += piece

    def _wait_for(
        self, process: subprocess.Popen[str], pattern: str, seconds: float = WAIT_SECONDS
    ) -> re.Match[str] | None:
        """Wait for a line of the log, or for the end of the server."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            has_ended = process.poll() is not None
            self._read_log(process)
            for line in self._log:
                if found := re.search(pattern, line):
                    return found
            if has_ended:
                return None
            time.sleep(0.02)
        return None

    def _change(self, port: int) -> None:
        """Index packages one by one; a client that is disconnected does not know, and tries the next one."""
        for _ in range(_CHANGES):
            self._number += 1
            name = f"package-{self._number}"
            try:
                with BlockingClient(("127.0.0.1", port)) as client:
                    if client.ask(f"INDEX|{name}|") == ["OK"]:
                        self.acknowledged.add(name)
            except (OSError, EOFError, AssertionError):
                continue


def try_fault(fault: Fault, parent: Path) -> str:
    """Make one call fail, and check the data; return the outcome. Raises :exc:`NotAsPromisedError`."""
    path = parent / "data"
    expression = f"inject={fault.call}:error={fault.error}:when={fault.when}"
    life = Life(path, _strace(path, expression, [fault.call], os.devnull), log_may_fail=fault.call == "write")
    try:
        outcome = life.run()
        if life.acknowledged:
            _check_kept(path, sorted(life.acknowledged))
    finally:
        shutil.rmtree(path, ignore_errors=True)
    return outcome


def _check_kept(path: Path, names: list[str]) -> None:
    """Check that the next server has all packages of ``names``."""
    with ServerProcess("--data-dir", str(path)) as server, server.connect() as client:
        answers = client.ask(*(f"QUERY|{name}|" for name in names))
    if lost := [name for name, answer in zip(names, answers, strict=True) if answer != "OK"]:
        raise NotAsPromisedError(f"acknowledged and lost: {lost}")
