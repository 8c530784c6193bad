"""Compaction: snapshot N and the journals that follow it become a later snapshot.

A function of files that no one changes any more, run by a process of its own
(``python -m scoop_server.storage.compaction DIR GENERATION LOG_FORMAT``), while the server appends to the next
journal. The server's memory is not copied, its turns are not held up, and a compaction that dies leaves all as it was.
"""

import os
import subprocess
import sys
from typing import Final, Protocol

from scoop_core import encode_snapshot

from scoop_server.errors import DataDirectoryError
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.recovery import recover
from scoop_server.telemetry.logs import log_final_problem, set_up_logging

_NICENESS: Final = 10
"""How far a compaction stands back behind the server for the processor."""


def compact(directory: DataDirectory, generation: int) -> None:
    """Write snapshot ``generation``, from the newest snapshot and the journals before that generation.

    Raises :exc:`DataDirectoryError` where something cannot be read, OSError where it cannot be written.
    """
    state = recover(directory, before=generation)
    if state is None or state.journal_generation != generation - 1:
        raise DataDirectoryError(f"the files before {directory.file('snapshot', generation)} are not there")
    directory.write("snapshot", generation, encode_snapshot(state.graph))


class Compaction(Protocol):
    """A compaction that has been started."""

    def poll(self) -> int | None:
        """Return None while it goes on, 0 when the snapshot is there and durable, anything else when it has failed."""

    def kill(self) -> None:
        """End it now, as far as it has come; return when it has ended."""


class CompactionProcess:
    """A compaction in a process of its own, which logs as the server does. Raises OSError where none can be started."""

    def __init__(self, directory: DataDirectory, generation: int, log_format: str = "text") -> None:
        # -P: the working directory may hold anything, and nothing of it is to be imported.
        command = [
            sys.executable,
            "-P",
            "-m",
            "scoop_server.storage.compaction",
            directory.path,
            str(generation),
            log_format,
        ]
        self._process = subprocess.Popen(  # noqa: S603  # this package's own module and its own arguments
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            process_group=0,  # what is typed at a terminal is for the server, which ends its compaction itself
        )

    def poll(self) -> int | None:
        """See :meth:`Compaction.poll`; a negative status is the signal that ended it."""
        return self._process.poll()

    def kill(self) -> None:
        """See :meth:`Compaction.kill`."""
        self._process.kill()
        self._process.wait()


def main(path: str, generation: str, log_format: str = "text") -> int:
    """Run one compaction; return the exit status."""
    os.nice(_NICENESS)
    try:
        compact(DataDirectory(path), int(generation))
    except DataDirectoryError as error:
        log_final_problem(f"compaction: {error}", log_format)
        return 1
    except OSError as error:
        log_final_problem(f"compaction: cannot write {error.filename or path}: {error.strerror}", log_format)
        return 1
    return 0


if __name__ == "__main__":
    set_up_logging("info", sys.argv[-1])
    sys.exit(main(*sys.argv[1:]))
