"""Threads and child processes, which work beside the event loop and end with the process."""

import contextlib
import errno
import logging
import os
import pathlib
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Final, Protocol

_log: Final = logging.getLogger("scoop_server")

_KILL_SECONDS: Final = 1.0
"""The wait for a killed process: one that is stuck in a call on a disk ends when that call does."""


_OOM_SCORE_ADDED: Final = 500
_OOM_SCORE_MAX: Final = 1_000


def start_thread(run: Callable[[], None], name: str) -> threading.Thread:
    """Start a thread that ends with the process. Raises OSError if the system allows no more threads."""
    thread = threading.Thread(target=run, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from error
    return thread


class Task(Protocol):
    """Work in a process of its own."""

    def poll(self) -> int | None:
        """Return None while it runs, 0 once it has succeeded, anything else if it failed."""

    def kill(self) -> None:
        """End it now."""


class ChildProcess:
    """A :class:`Task` that runs a module of this program, which calls :func:`run_child`.

    ``line`` is passed on its standard input, because arguments can be read by every user of the machine. The pipe stays
    open: its end of file shows the child that its parent has exited. Raises OSError if no process can be started.
    """

    def __init__(self, module: str, *arguments: str, line: bytes = b"", descriptors: Sequence[int] = ()) -> None:
        self._process = subprocess.Popen(  # noqa: S603  # this program's own module and its own arguments
            [sys.executable, "-P", "-m", module, *arguments],  # -P: import nothing from the working directory
            stdin=subprocess.PIPE,
            bufsize=0,
            pass_fds=descriptors,
            process_group=0,  # Ctrl-C at a terminal is for the server, which ends its children itself
        )
        assert self._process.stdin is not None  # noqa: S101  # it is a pipe
        self._pipe = self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # it has ended already; poll tells with which status
            self._pipe.write(line)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def poll(self) -> int | None:
        """See :meth:`Task.poll`; a negative status is the signal that ended it."""
        status = self._process.poll()
        if status is not None:
            self._pipe.close()
        return status

    def kill(self) -> None:
        """See :meth:`Task.kill`."""
        self._process.kill()
        self._pipe.close()
        try:
            self._process.wait(_KILL_SECONDS)
        except subprocess.TimeoutExpired:
            _log.warning("child process %(pid)d does not end: it waits for the disk", {"pid": self.pid})


def run_child(work: Callable[[], int], set_up_log: Callable[[], None], niceness: int) -> int:
    """Do the work of a child process, which gives way to its parent and ends with it; return its exit status."""
    try:
        set_up_log()
        os.nice(niceness)
        start_thread(_end_with_parent, "parent")
    except OSError as error:
        _log.error("cannot begin: %(reason)s", {"reason": error.strerror})
        return 1
    with contextlib.suppress(OSError):  # only Linux has the file
        _prefer_as_victim()
    return work()


def _prefer_as_victim() -> None:
    """Let the kernel end this process before its parent if memory runs out: its work can be repeated."""
    path = pathlib.Path("/proc/self/oom_score_adj")
    path.write_text(str(min(_OOM_SCORE_MAX, int(path.read_text()) + _OOM_SCORE_ADDED)))


def _end_with_parent() -> None:
    # Not through sys.stdin: the interpreter, when it ends, would wait for the lock that this thread holds, and abort.
    os.read(0, 1)
    os._exit(1)
