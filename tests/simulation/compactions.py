"""Simulated compactions: processes that finish, die at some call, hang, or outlive their server."""

from collections.abc import Callable
from random import Random
from typing import Final

from scoop_server.errors import DataDirectoryError
from scoop_server.storage.compaction import compact
from scoop_server.storage.directory import DataDirectory

from tests.simulation.disk import SimulatedDisk, SimulatedProcess

_KILLED: Final = -9


class ChildKilledError(BaseException):
    """A compaction stops here, and the server continues."""


class SimulatedCompaction:
    """A compaction that runs, entirely or in part, while the server watches it."""

    def __init__(
        self,
        disk: SimulatedDisk,
        server: SimulatedProcess,
        directory: DataDirectory,
        generation: int,
        clock: Callable[[], float],
    ) -> None:
        self._disk = disk
        self._random: Random = disk.random
        self._process = SimulatedProcess(disk)
        descriptor = self._process.inherit(server, directory.duplicate())
        self._directory = DataDirectory(directory.path, self._process, descriptor=descriptor)
        self._generation = generation
        self._clock = clock
        self.hangs_since: float | None = clock() if self._random.random() < 0.1 else None
        """The time since which it hangs, None if it does not."""
        self.status: int | None = None
        """The exit status, once it has ended."""

    def poll(self) -> int | None:
        """See :class:`scoop_server.telemetry.workers.Task`."""
        if self.status is None and self.hangs_since is None and self._random.random() < 0.5:
            self.run(may_die=True)
        return self.status

    def kill(self) -> None:
        """See :class:`scoop_server.telemetry.workers.Task`; it may have got any part of its work done."""
        if self.status is None:
            if self.hangs_since is None and self._random.random() < 0.5:
                self.run(may_die=True)
            else:
                self._end(_KILLED)

    def outlive(self) -> None:
        """Go on after the death of the server, or die with it."""
        if self.status is None:
            if self.hangs_since is None and self._random.random() < 0.3:
                self.run(may_die=True)
            else:
                self._end(_KILLED)

    def run(self, *, may_die: bool) -> None:
        """Compact."""
        disk = self._disk
        fault, on_sync = disk.fault, disk.on_sync
        calls_left = self._random.randrange(25) if may_die and self._random.random() < 0.3 else None

        def die_at_some_call(name: str) -> None:
            nonlocal calls_left
            fault(name)
            if calls_left is not None:
                calls_left -= 1
                if calls_left < 0:
                    raise ChildKilledError

        disk.fault, disk.on_sync = die_at_some_call, lambda: None
        status = _KILLED
        try:
            disk.call("compaction", str(self._generation))
            compact(self._directory, self._generation)
            status = 0
        except ChildKilledError:
            pass
        except OSError:
            status = 1
        except DataDirectoryError:
            if not self._directory.is_removed:
                raise
            status = 1
        finally:
            disk.fault, disk.on_sync = fault, on_sync
            self._end(status)

    def _end(self, status: int) -> None:
        self.status = status
        self._process.end()
