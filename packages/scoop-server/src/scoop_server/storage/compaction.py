"""Compaction: snapshot N and the journals that follow it become a later snapshot.

A function of files that are no longer changed, run by a process of its own while the server appends to the next
journal. It neither copies the server's memory nor delays its turns, and if it dies nothing has changed.
"""

import sys
from functools import partial
from typing import Final

from scoop_core import encode_snapshot

from scoop_server.errors import DataDirectoryError
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.files import close_quietly
from scoop_server.storage.trail import recover_before
from scoop_server.telemetry.logs import log, set_up_logging
from scoop_server.telemetry.workers import ChildProcess, run_child

NICENESS_MAX: Final = 10
"""The niceness of a compaction that is in time: the server has priority."""

HANG_SECONDS: Final = 60.0
_BYTES_PER_SECOND_MIN: Final = 250_000


def seconds_max(size: int) -> float:
    """Return the time after which a compaction of ``size`` bytes counts as hanging.

    It is far more than a compaction takes on a processor that is busy with the server: it reads and writes tens of
    megabytes in a second.
    """
    return HANG_SECONDS + size / _BYTES_PER_SECOND_MIN


def compact(directory: DataDirectory, generation: int) -> None:
    """Write snapshot ``generation`` from the newest snapshot and the journals before that generation.

    Raises :exc:`DataDirectoryError` if something cannot be read, OSError if it cannot be written.
    """
    directory.write("snapshot", generation, encode_snapshot(recover_before(directory, generation).graph))


def start_compaction(directory: DataDirectory, generation: int, niceness: int, log_format: str) -> ChildProcess:
    """Start a compaction in a process of its own. Raises OSError if none can be started."""
    descriptor = directory.duplicate()  # one that does not hold the lock after the death of the server
    try:
        arguments = (str(descriptor), directory.path, str(generation), str(niceness), log_format)
        return ChildProcess(__name__, *arguments, descriptors=(descriptor,))
    finally:
        close_quietly(directory.files, descriptor, directory.path)


def _run(descriptor: int, path: str, generation: int) -> int:
    try:
        compact(DataDirectory(path, descriptor=descriptor), generation)
    except DataDirectoryError as error:
        problem = str(error)
    except MemoryError:
        problem = "out of memory"
    except OSError as error:
        problem = f"cannot write {error.filename or path}: {error.strerror}"
    else:
        return 0
    log.error("compaction failed: %(problem)s", {"problem": problem})
    return 1


def main(descriptor: str, path: str, generation: str, niceness: str, log_format: str) -> int:
    """Run one compaction; return the exit status."""
    work = partial(_run, int(descriptor), path, int(generation))
    return run_child(work, partial(set_up_logging, "info", log_format), int(niceness))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
