"""Compaction: snapshot N and the journals that follow it become a later snapshot.

A function of files that are no longer changed, run by a process of its own while the server appends to the next
journal. It neither copies the server's memory nor delays its turns, and if it dies nothing has changed.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

from scoop_core import encode_snapshot

from scoop_server.errors import DataDirectoryError
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.files import close_quietly
from scoop_server.storage.recovery import fold
from scoop_server.telemetry.logs import log, set_up_logging

NICENESS_MAX: Final = 10
"""The niceness of a compaction that is in time: the server has priority."""

STALL_SECONDS: Final = 60.0
"""The time without progress after which a compaction counts as hanging: far more than any read or write of a disk
that works, also on a processor that is busy with the server."""

_REPORT_SECONDS: Final = 0.1
"""The interval of progress reports: often enough for any deadline, and rare enough to cost nothing."""

_REPORTS_MAX: Final = 65_536
"""Read at a time: all that a pipe holds."""

_CLOSED: Final = -1

_KILL_SECONDS: Final = 1.0
"""The wait for a killed process: one that is stuck in a call on a disk ends when that call does."""


def compact(directory: DataDirectory, generation: int, progress: Callable[[], None] = lambda: None) -> None:
    """Write snapshot ``generation`` from the newest snapshot and the journals before that generation.

    Raises :exc:`DataDirectoryError` if something cannot be read, OSError if it cannot be written.
    """
    graph = fold(directory, generation, progress=lambda _path, _done, _size: progress())
    directory.write("snapshot", generation, _with_progress(encode_snapshot(graph), progress))


def _with_progress(chunks: Iterable[bytes], progress: Callable[[], None]) -> Iterator[bytes]:
    for chunk in chunks:
        progress()
        yield chunk


class Compaction(Protocol):
    """A compaction that was started."""

    def poll(self) -> int | None:
        """Return None while it runs, 0 once the snapshot is durable, anything else if it failed."""

    def has_progressed(self) -> bool:
        """Return whether it has made progress since the last call."""

    def kill(self) -> None:
        """End it now."""


class WatchedCompaction:
    """A compaction with a deadline for its progress. ``clock`` returns seconds."""

    def __init__(self, compaction: Compaction, clock: Callable[[], float]) -> None:
        self._compaction = compaction
        self._clock = clock
        self._deadline = clock() + STALL_SECONDS

    def outcome(self) -> str | None:
        """Return None while it runs, an empty text if it succeeded, and the problem if it failed or was ended."""
        status = self._compaction.poll()
        if status is not None:
            return f"ended with status {status}" if status else ""
        if self._compaction.has_progressed():
            self._deadline = self._clock() + STALL_SECONDS
        elif self._clock() >= self._deadline:
            self._compaction.kill()
            return f"made no progress for {STALL_SECONDS:.0f} s and was ended"
        return None

    def kill(self) -> None:
        """End it now."""
        self._compaction.kill()


class CompactionProcess:
    """A compaction in a process of its own, which logs as the server does. Raises OSError if none can be started."""

    def __init__(self, directory: DataDirectory, generation: int, niceness: int, log_format: str = "text") -> None:
        descriptor = directory.duplicate()  # one that does not hold the lock after the death of the server
        try:
            self._reports, reports = os.pipe()
            os.set_blocking(self._reports, False)
            try:
                # -P: nothing may be imported from the working directory.
                self._process = subprocess.Popen(  # noqa: S603  # this package's own module and its own arguments
                    [
                        *(sys.executable, "-P", "-m", "scoop_server.storage.compaction"),
                        *(str(descriptor), directory.path, str(generation), str(niceness), log_format),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=reports,
                    pass_fds=(descriptor,),
                    process_group=0,  # Ctrl-C at a terminal is for the server, which ends its compaction itself
                )
            except OSError:
                os.close(self._reports)
                raise
            finally:
                os.close(reports)
        finally:
            close_quietly(directory.files, descriptor, directory.path)

    def poll(self) -> int | None:
        """See :meth:`Compaction.poll`; a negative status is the signal that ended it."""
        status = self._process.poll()
        if status is not None:
            self._close_reports()
        return status

    def has_progressed(self) -> bool:
        """See :meth:`Compaction.has_progressed`."""
        try:
            return bool(os.read(self._reports, _REPORTS_MAX))
        except BlockingIOError:
            return False

    def kill(self) -> None:
        """See :meth:`Compaction.kill`."""
        self._process.kill()
        self._close_reports()
        try:
            self._process.wait(_KILL_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning("compaction process %(pid)d does not end: it waits for the disk", {"pid": self._process.pid})

    def _close_reports(self) -> None:
        if self._reports != _CLOSED:
            os.close(self._reports)
            self._reports = _CLOSED


class _Reports:
    """Reports progress to the server, and ends the process when the server is gone."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _REPORT_SECONDS
        try:
            os.write(sys.stdout.fileno(), b".")
        except BrokenPipeError:
            raise SystemExit(1) from None


def main(descriptor: str, path: str, generation: str, niceness: str, log_format: str) -> int:
    """Run one compaction; return the exit status."""
    set_up_logging("info", log_format)
    os.nice(int(niceness))
    try:
        compact(DataDirectory(path, descriptor=int(descriptor)), int(generation), _Reports())
    except DataDirectoryError as error:
        log.error("compaction failed: %(problem)s", {"problem": error})
        return 1
    except MemoryError:
        log.error("compaction failed: out of memory")
        return 1
    except OSError as error:
        log.error(
            "compaction failed: cannot write %(file)s: %(why)s",
            {"file": error.filename or path, "why": error.strerror},
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
