"""A server that prints the durations of its turns and of its calls on files: run it as scoop-server."""

import sys
import time
from functools import partial
from selectors import SelectorKey
from typing import Any, Final
from unittest.mock import patch

from scoop_server.app import application, stored_index
from scoop_server.cli import main as command_line
from scoop_server.net.selector import EpollSelector
from scoop_server.storage.compaction import start_compaction
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.files import OPERATING_SYSTEM

_TIMED: Final = frozenset({"open", "write", "fsync", "fdatasync", "rename", "unlink", "close", "listdir"})


class TimedFiles:
    """The file system, with a line ``timed CALL SECONDS`` for each call."""

    def __getattr__(self, name: str) -> Any:
        function = getattr(OPERATING_SYSTEM, name)
        return timed(name, function) if name in _TIMED else function


class TimedSelector(EpollSelector):
    """A selector with a line ``timed turn SECONDS`` for the time between two calls, and one for its CPU time."""

    def __init__(self) -> None:
        super().__init__()
        self._turn_started: tuple[float, float] | None = None

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Print the duration of the last turn, and wait for the next one."""
        if self._turn_started is not None:
            started, cpu_started = self._turn_started
            print_duration("turn", time.perf_counter() - started)
            print_duration("turn-cpu", time.thread_time() - cpu_started)
        ready = super().select(timeout)
        self._turn_started = (time.perf_counter(), time.thread_time())
        return ready


def print_duration(name: str, seconds: float) -> None:
    """Print a duration."""
    sys.stderr.write(f"timed {name} {seconds:.6f}\n")


def timed(name: str, function: Any) -> Any:
    """Return ``function`` with a line for the duration of each call."""

    def call(*arguments: Any, **named: Any) -> Any:
        started = time.perf_counter()
        result = function(*arguments, **named)
        print_duration(name, time.perf_counter() - started)
        return result

    return call


def main() -> int:
    """Run the server."""
    with (
        patch.object(DataDirectory, "lock", partial(DataDirectory.lock, files=TimedFiles())),
        patch.object(application, "best_selector", TimedSelector),
        patch.object(stored_index, "start_compaction", timed("start", start_compaction)),
    ):
        return command_line.main()


if __name__ == "__main__":
    sys.exit(main())
