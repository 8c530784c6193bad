"""One simulated life of a data directory: servers come and go on it, with every fault that chance brings.

The event loop and the data directory are the real ones; the selector, sockets, disk and clock are simulated, and
everything that happens follows from one seed. ``python -m tests.simulation.run --seed N`` repeats a life.
"""

import hashlib
import re
from collections.abc import Callable
from random import Random
from typing import Final
from unittest.mock import patch

from scoop_core import DependencyGraph

from scoop_server.config.fsync import Fsync
from scoop_server.config.limits import Limits
from scoop_server.errors import JournalError
from scoop_server.index.local import LocalIndex
from scoop_server.loop.server import Server
from scoop_server.loop.shutdown import Lifecycle
from scoop_server.storage import compaction, journal
from scoop_server.storage.compaction import Compaction
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.store import JournalStore

from tests.simulation.disk import DIRECTORY, PowerLossError, ProcessKilledError, SimulatedDisk
from tests.simulation.network import Habit, SimulatedNetwork
from tests.simulation.observer import Observer, state_of

_LIVES_MAX: Final = 4
_TURNS_MAX: Final = 3_000
"""More than any life needs to come to its end: whoever takes more hangs."""

_CLIENTS_MAX: Final = 5
_LINES_MAX: Final = 12
_NAMES: Final = "abcdef"
_ROOMS: Final = (1, 150, 500)
_COMPACT_ABOVE_BYTES: Final = 900
_BROKEN_LINES: Final = ("", "INDEX|a", "BLINDEX|a|b", "INDEX||", "INDEX|a|b,,c", "QUERY|a b|", "x" * 200)

_LIMITS: Final = Limits(
    line_bytes_max=100,
    output_bytes_high_water=150,
    read_bytes_max=80,
    turn_bytes_max=150,
    drain_bytes_max=81_920,
    clients_max=4,
)


class ChildKilledError(BaseException):
    """A compaction stops here, and the server goes on."""


class SimulatedCompaction:
    """A compaction that is carried out, whole or in part, while the server looks after it."""

    def __init__(self, simulation: "Simulation", directory: DataDirectory, generation: int) -> None:
        self._simulation = simulation
        self._directory = directory
        self._generation = generation
        self.status: int | None = None
        """The exit status, when it has ended."""

    def poll(self) -> int | None:
        """See :class:`scoop_server.storage.compaction.Compaction`."""
        if self.status is None and self._simulation.random.random() < 0.5:
            self.status = self.run(may_die=True)
        return self.status

    def kill(self) -> None:
        """See :class:`scoop_server.storage.compaction.Compaction`."""
        if self.status is None:
            self.status = self.run(may_die=True) if self._simulation.random.random() < 0.5 else -9

    def run(self, *, may_die: bool) -> int:
        """Compact; return the exit status."""
        disk, random = self._simulation.disk, self._simulation.random
        fault = disk.fault
        calls_left = random.randrange(25) if may_die and random.random() < 0.3 else None

        def die_at_some_call(name: str) -> None:
            nonlocal calls_left
            fault(name)
            if calls_left is not None:
                calls_left -= 1
                if calls_left < 0:
                    raise ChildKilledError

        disk.fault = die_at_some_call
        on_sync, disk.on_sync = disk.on_sync, lambda: None
        self._simulation.trace(f"compaction {self._generation}")
        try:
            compaction.compact(self._directory, self._generation)
        except ChildKilledError:
            return -9
        except (PowerLossError, ProcessKilledError):
            self.status = -9
            raise
        except OSError:
            return 1
        finally:
            disk.fault = fault
            disk.on_sync = on_sync
        return 0


class Simulation:
    """One life, driven by ``seed``. :meth:`run` raises AssertionError where something is not as it must be."""

    def __init__(self, seed: int, tell: Callable[[str], None] = lambda _: None) -> None:
        self.random = Random(seed)
        self.trace_lines = 0
        self._digest = hashlib.sha256()
        self._tell = tell
        self.disk = SimulatedDisk(self.random, self.trace)
        self._fsync = self.random.choice((Fsync.ALWAYS, Fsync.ALWAYS, Fsync.ALWAYS, Fsync.EVERYSEC, Fsync.NEVER))
        self._observer: Observer | None = None
        self._orphan: SimulatedCompaction | None = None

    def trace(self, line: str) -> None:
        """Note what happens."""
        line = re.sub(r"unfinished-[0-9]+", "unfinished", line)
        self.trace_lines += 1
        self._digest.update(line.encode() + b"\n")
        self._tell(line)

    @property
    def digest(self) -> str:
        """A digest of all that has happened."""
        return self._digest.hexdigest()

    def run(self) -> None:
        """Live."""
        self.trace(f"fsync {self._fsync}")
        # Room for a few batches, so that it is set aside, filled, found too small and left over all the time.
        with patch.object(journal, "ROOM_BYTES", self.random.choice(_ROOMS)):
            for _ in range(self.random.randrange(1, _LIVES_MAX + 1)):
                self._live_once()
            self._check_recovery(self._recover())

    # One server

    def _live_once(self) -> None:
        disk, random = self.disk, self.random
        graph = self._recover()
        self._check_recovery(graph)
        network = SimulatedNetwork(random, self.trace)
        end: str = random.choice(("power loss", "power loss", "power loss", "kill", "kill", "shutdown"))
        self.trace(f"a server starts, and will end by {end}")
        store: JournalStore | None = None
        try:
            store, graph = JournalStore.open(
                DataDirectory(DIRECTORY, disk), self._fsync, network.clock, self._start_compaction, _COMPACT_ABOVE_BYTES
            )
            self._observer = observer = Observer(LocalIndex(graph, store), graph)
            self._serve(store, graph, observer, network, end)
        except PowerLossError:
            self.trace("power loss")
            self._end_process()
            disk.lose_power()
            self._forgive_unsynced()
        except ProcessKilledError:
            self.trace("kill")
            self._end_process()
        except JournalError as error:
            self.trace(f"the server gives up: {error}")
            self._end_process()
        else:
            self._end_process()
            disk.lose_power()  # an orderly end leaves nothing to lose

    def _end_process(self) -> None:
        self.disk.fault = lambda _: None
        self.disk.on_sync = lambda: None
        self.disk.space_left = None
        self.disk.writes_short = False
        self.disk.end_process()
        orphan, self._orphan = self._orphan, None
        if orphan is not None and orphan.status is None and self.random.random() < 0.3:
            orphan.run(may_die=True)  # a compaction may outlive its server

    def _forgive_unsynced(self) -> None:
        """After a power loss, what was promised is what had been synced, unless every commit syncs."""
        if self._observer is not None and self._fsync is not Fsync.ALWAYS:
            self._observer.floor = self._observer.synced

    def _start_compaction(self, directory: DataDirectory, generation: int) -> Compaction:
        if self.random.random() < 0.1:
            raise OSError(11, "no process can be started")
        self._orphan = SimulatedCompaction(self, directory, generation)
        return self._orphan

    def _serve(
        self, store: JournalStore, graph: DependencyGraph, observer: Observer, network: SimulatedNetwork, end: str
    ) -> None:
        random = self.random
        network.on_send = observer.on_send
        self.disk.on_sync = observer.on_sync
        self.disk.writes_short = random.random() < 0.5
        for _ in range(random.randrange(_CLIENTS_MAX + 1)):
            network.connect(self._requests(), random.choice(list(Habit)))
        server = Server(observer, [network.listener], network, network.clock, _LIMITS, cpu_clock=network.clock)
        server.on_tick(store.tick)
        self._plan_faults(end)
        has_trouble_with_space = random.random() < 0.3
        for _ in range(_TURNS_MAX):
            if has_trouble_with_space and random.random() < 0.1:
                self.disk.space_left = random.choice((None, 0, random.randrange(300)))
            if random.random() < 0.02:
                network.connect(self._requests(), random.choice(list(Habit)))
            if random.random() < 0.02:
                store.request_compaction()
            if network.is_quiet:
                self._end_when_quiet(server, end)
            server.turn()
            if server.state is Lifecycle.STOPPED:
                break
        else:
            raise AssertionError(f"the server has not come to an end in {_TURNS_MAX} turns")
        server.close()
        self.disk.space_left = None
        store.save(graph)
        store.close()
        if any(not each.is_closed for each in network.sockets if each not in network.listener.waiting):
            raise AssertionError("a connection was left open")

    def _end_when_quiet(self, server: Server, end: str) -> None:
        if end == "shutdown":
            if server.state is Lifecycle.SERVING:
                self.trace("shutdown is requested")
                server.request_shutdown()
            return
        raise PowerLossError if end == "power loss" else ProcessKilledError

    def _plan_faults(self, end: str) -> None:
        """Have the machine or the process stop at some call, if that is its end, and a sync fail now and then."""
        random = self.random
        stops_in = random.randrange(60) if end != "shutdown" and random.random() < 0.7 else None
        sync_fails_in = random.randrange(30) if random.random() < 0.1 else None

        def fault(name: str) -> None:
            nonlocal stops_in, sync_fails_in
            if stops_in is not None:
                stops_in -= 1
                if stops_in < 0:
                    raise PowerLossError if end == "power loss" else ProcessKilledError
            if sync_fails_in is not None and name == "fdatasync":
                sync_fails_in -= 1
                if sync_fails_in < 0:
                    raise OSError(5, "Input/output error")

        self.disk.fault = fault

    def _requests(self) -> bytes:
        """Return what one client sends."""
        random = self.random
        lines = []
        for _ in range(random.randrange(_LINES_MAX + 1)):
            package = random.choice(_NAMES)
            needed = random.sample(_NAMES, random.choice((0, 0, 0, 1, 1, 2)))
            kind = random.random()
            if kind < 0.5:
                lines.append(f"INDEX|{package}|{','.join(needed)}")
            elif kind < 0.7:
                lines.append(f"REMOVE|{package}|")
            elif kind < 0.93:
                lines.append(f"QUERY|{package}|")
            else:
                lines.append(random.choice(_BROKEN_LINES))
        return "".join(f"{line}\n" for line in lines).encode() + random.choice((b"", b"", b"INDEX|half"))

    # After it

    def _recover(self) -> DependencyGraph:
        """Recover twice: it must succeed, and the second time change nothing."""
        graph, files = self._recover_once()
        again, files_again = self._recover_once()
        if graph != again or files != files_again:
            raise AssertionError("recovering twice is not the same as recovering once")
        return graph

    def _recover_once(self) -> tuple[DependencyGraph, dict[str, bytes]]:
        store, graph = JournalStore.open(
            DataDirectory(DIRECTORY, self.disk), self._fsync, lambda: 0.0, self._start_compaction, _COMPACT_ABOVE_BYTES
        )
        store.close()
        self.disk.end_process()
        return graph, self.disk.files()

    def _check_recovery(self, graph: DependencyGraph) -> None:
        """Hold what was recovered against what may be: nothing told is lost, nothing half, nothing invented."""
        observer = self._observer
        if observer is None:
            if len(graph):
                raise AssertionError("something came from nothing")
            return
        found = state_of(graph)
        last = len(observer.history) - 1
        possible = {*observer.boundaries, last}
        if not any(observer.history[count] == found for count in possible if observer.floor <= count <= last):
            raise AssertionError(
                f"{dict(found)} was recovered, which is no state at the end of a turn from change {observer.floor} "
                f"to change {last}: {[dict(state) for state in observer.history]}"
            )
