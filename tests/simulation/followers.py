"""A follower beside the simulated servers: at any call, what it shows is a state that a server has acknowledged."""

import errno
import os
from random import Random
from typing import Final

from scoop_core import DependencyGraph

from scoop_explorer.data_directory import Follower
from scoop_server.config.settings import Fsync
from scoop_server.errors import DataDirectoryError
from scoop_server.ports import Loaded

from tests.simulation.disk import DIRECTORY, SimulatedDisk, SimulatedProcess
from tests.simulation.observer import Observer, State, state_of

_POLL_SHARE: Final = 0.1
"""The share of the calls of a server at which the follower polls."""

_POLLS_MAX: Final = 20
"""More than a follower needs to catch up."""


class _Reader(SimulatedProcess):
    """The process of the follower. It meets no faults, and uses none of the life's random numbers."""

    def listdir(self, fd: int, /) -> list[str]:
        return sorted((*self._opened(fd).names, *self._opened(fd).folders))

    def fdatasync(self, fd: int, /) -> None:
        """Succeed if nothing is to be done: a sync that changed what a crash leaves would hide mistakes of a server."""
        if self._file(fd).unsynced or self._disk.has_failed_sync:
            raise OSError(errno.EIO, os.strerror(errno.EIO))


class SimulatedFollower:
    """Follows the directory through the lives of several servers, until the machine loses its power."""

    def __init__(self, disk: SimulatedDisk, fsync: Fsync, seed: int) -> None:
        self._disk = disk
        self._fsync = fsync
        self._random = Random(f"follower {seed}")
        self._follower: Follower | None = None
        self._graph: DependencyGraph | None = None
        self._state: State = {}
        self._earlier: list[State] = []
        """The states that servers of earlier lives have acknowledged: the follower may not have read on since."""
        self._observer: Observer | None = None
        self._is_watching = False
        self.deliveries = 0
        """The number of deliveries that were checked."""

    def note(self, observer: Observer) -> None:
        """Note that the states which ``observer`` sees are acknowledged."""
        self._observer = observer

    def watch(self, observer: Observer) -> None:
        """Poll at some calls of the server, until :meth:`stop`."""

        def look() -> None:
            if self._random.random() < _POLL_SHARE:
                self._poll(observer)

        self._is_watching = True
        self._disk.before_call = look

    def stop(self) -> None:
        """Poll no longer, but keep the position."""
        self._disk.before_call = lambda: None
        self._is_watching = False
        if self._observer is not None:
            self._earlier += self._acknowledged(self._observer)
            self._observer = None

    def end(self) -> None:
        """Forget everything, as a process on a machine that loses its power does."""
        self.stop()
        self._follower = self._graph = None

    def check_current(self) -> None:
        """Check that a follower beside an undisturbed server shows all that was acknowledged."""
        observer = self._observer
        if observer is None or not self._is_watching:
            return
        for _ in range(_POLLS_MAX):
            self._poll(observer)
            if self._follower is not None and self._follower.is_current:
                break
        else:
            raise AssertionError("the follower does not catch up")
        if self._state != observer.history[-1]:
            raise AssertionError(f"the follower shows {self._state}, expected {observer.history[-1]}")

    def _poll(self, observer: Observer) -> None:
        disk = self._disk
        before = disk.fault, disk.before_call, disk.trace
        disk.fault, disk.before_call, disk.trace = (lambda _: None), (lambda: None), (lambda _: None)
        try:
            self._follow(observer)
        except DataDirectoryError as error:
            if "is damaged" in str(error):
                raise AssertionError(f"the follower takes a write in progress for damage: {error}") from error
        finally:
            disk.fault, disk.before_call, disk.trace = before

    def _follow(self, observer: Observer) -> None:
        if self._follower is None:
            self._follower = Follower(DIRECTORY, _Reader(self._disk))
        for each in self._follower.poll():
            if isinstance(each, Loaded):
                self._graph = each.graph
            else:
                assert self._graph is not None
                self._graph.apply_lines(each.lines)
            self.deliveries += 1
        if self._graph is not None:
            self._state = state_of(self._graph)
            possible = self._acknowledged(observer) + self._earlier
            if self._state not in possible:
                raise AssertionError(f"the follower shows {self._state}, which no server has acknowledged: {possible}")

    def _acknowledged(self, observer: Observer) -> list[State]:
        counts = {*observer.boundaries}
        if self._fsync is not Fsync.ALWAYS:  # the write is the acknowledgement, and the observer learns of it later
            counts.add(len(observer.history) - 1)
        return [observer.history[count] for count in sorted(counts) if count < len(observer.history)]
