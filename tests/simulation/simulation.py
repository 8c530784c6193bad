"""One simulated life of a data directory: servers start and stop on it, with random faults.

The event loop, the index and the storage are the real ones; the selector, sockets, disk and clock are simulated, and
everything that happens follows from one seed. ``python -m tests.simulation.run --seed N`` repeats a life.
"""

import errno
import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Final
from unittest.mock import patch

from scoop_core import Changes, DependencyGraph

from scoop_server.config import limits
from scoop_server.config.limits import Limits
from scoop_server.config.settings import Fsync
from scoop_server.errors import DataDirectoryError
from scoop_server.index.local import LocalIndex
from scoop_server.loop.server import Server
from scoop_server.loop.shutdown import Lifecycle
from scoop_server.storage import compaction, journal
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.generations import Generations
from scoop_server.storage.store import VERIFY_SECONDS, JournalStore
from scoop_server.telemetry.workers import Task

from tests.simulation.compactions import SimulatedCompaction
from tests.simulation.disk import DIRECTORY, PowerLossError, ProcessKilledError, SimulatedDisk, SimulatedProcess
from tests.simulation.followers import SimulatedFollower
from tests.simulation.history import HistoryWitness, identity_of
from tests.simulation.network import Habit, SimulatedNetwork
from tests.simulation.observer import Observer, state_of
from tests.simulation.processor import OneProcessor
from tests.simulation.roles import RoleOperator
from tests.simulation.sliced import SlicedObserver

_LIVES_MAX: Final = 4
_TURNS_MAX: Final = 3_000
"""More than any life needs to end: one that takes more hangs."""

_CLIENTS_MAX: Final = 5
_LINES_MAX: Final = 12
_NAMES: Final = "abcdef"
_CHAIN: Final = ("INDEX|a|", *(f"INDEX|{package}|{below}" for below, package in pairwise(_NAMES)))
"""The first requests of each client if cycles are rejected, so that there is something to search."""

_ROOMS: Final = (1, 150, 500)
_COMPACT_ABOVE_BYTES: Final = 900
_BROKEN_LINES: Final = ("", "INDEX|a", "BLINDEX|a|b", "INDEX||", "INDEX|a|b,,c", "QUERY|a b|", "x" * 200)

_HANG_SECONDS: Final = 3.0
"""The time after which a compaction is ended: lives are short here."""

_ONE_PROCESSOR_SHARE: Final = 0.1
"""The share of lives that also run the model of one processor, which takes longer than most lives."""

_PROCESS_ID: Final = 4711

_MOVED: Final = "moved"
"""The path of a directory that an operator has moved."""

_LIMITS: Final = Limits(
    line_bytes_max=100,
    output_bytes_high_water=150,
    read_bytes_max=80,
    turn_bytes_max=150,
    drain_bytes_max=81_920,
    clients_max=4,
)
_SHORT_TURNS: Final = replace(_LIMITS, turn_lines_max=3, turn_text_bytes_max=30, uncounted_bytes_max=0)
"""The limits of some lives that reject cycles: lines of clients wait for turns, the longer ones alone."""

_SHORT_SHARE_BYTES: Final = 8


class Simulation:
    """One life, driven by ``seed``. :meth:`run` raises AssertionError if something is not as it must be."""

    def __init__(self, seed: int, tell: Callable[[str], None] = lambda _: None) -> None:
        self.random = Random(seed)
        self.rejects_cycles = seed % 6 == 5
        self.roles_random = Random(seed)  # of its own, so that seeds without roles live as if there were none
        self.has_roles = seed % 5 == 4
        has_short_turns = seed % 12 == 5
        self.limits = _SHORT_TURNS if has_short_turns else _LIMITS
        self._share_bytes_min = _SHORT_SHARE_BYTES if has_short_turns else limits.SHARE_BYTES_MIN
        self.trace_lines = 0
        self._digest = hashlib.sha256()
        self._tell = tell
        self.disk = SimulatedDisk(self.random, self.trace)
        self._fsync = self.random.choice((Fsync.ALWAYS, Fsync.ALWAYS, Fsync.ALWAYS, Fsync.EVERYSEC, Fsync.NEVER))
        self._observer: Observer | None = None
        self.follower = SimulatedFollower(self.disk, self._fsync, seed)
        self.history = HistoryWitness(self.disk, seed)

    def trace(self, line: str) -> None:
        """Note an event."""
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
        # Room for a few batches, so that it is reserved, filled, found too small and left over all the time.
        with (
            patch.object(journal, "ROOM_BYTES", self.random.choice(_ROOMS)),
            patch.object(limits, "SHARE_BYTES_MIN", self._share_bytes_min),
            patch.object(compaction, "HANG_SECONDS", _HANG_SECONDS),
            self.history.watching(),
            patch.object(os, "getpid", lambda: _PROCESS_ID),  # the number of its digits changes what is written
        ):
            for _ in range(self.random.randrange(1, _LIVES_MAX + 1)):
                self._check_recovery(self._recover())
                self._live_once()
            self._check_recovery(self._recover())
        if self.random.random() < _ONE_PROCESSOR_SHARE:
            OneProcessor(self.random).run()

    def _live_once(self) -> None:
        end: str = self.random.choice(("power loss", "power loss", "power loss", "kill", "kill", "shutdown"))
        self.trace(f"a server starts, and will end by {end}")
        self.disk.has_failed_sync = self.disk.has_cut = False
        life = Life(self, self._fsync, end)
        try:
            life.run()
        except PowerLossError:
            self.trace("power loss")
            life.end()
            self.follower.end()
            self.disk.lose_power()
            self._forgive_unsynced(life)
        except ProcessKilledError:
            self.trace("kill")
            life.end()
        except DataDirectoryError as error:
            self.trace(f"the server gives up: {error}")
            life.end()
        else:
            life.end()
            self.follower.end()
            self.disk.lose_power()  # an orderly end leaves nothing to lose
        if self.disk.has_failed_sync:
            self._forgive_unsynced(life)
        if self.random.random() < 0.5:
            self.disk.evict()
        self._observer = life.observer if life.observer is not None else self._observer
        if life.is_index_lost:
            self._observer = None
            self.history.forget()

    def _forgive_unsynced(self, life: "Life") -> None:
        """Expect only synced changes, unless every commit syncs."""
        if life.observer is not None and self._fsync is not Fsync.ALWAYS:
            life.observer.floor = min(life.observer.floor, life.observer.synced)

    # After a life

    def _recover(self) -> DependencyGraph:
        """Recover twice: it must succeed, and the second time change nothing."""
        graph, files = self._recover_once()
        again, files_again = self._recover_once()
        if graph != again or files != files_again:
            raise AssertionError("recovering twice is not the same as recovering once")
        self.history.check(graph)
        return graph

    def _recover_once(self) -> tuple[DependencyGraph, dict[str, bytes]]:
        process = SimulatedProcess(self.disk)
        directory = DataDirectory.lock(DIRECTORY, process)
        files, graph = Generations.open(directory, self._fsync)
        retention = self.history.retention
        store = JournalStore(files, lambda: 0.0, _no_compaction, _COMPACT_ABOVE_BYTES, lambda: 0, retention)
        if store.read_only_reason:
            raise AssertionError(f"changes are refused on a sound disk: {store.read_only_reason}")
        store.close()
        process.end()
        return graph, self.disk.files()

    def _check_recovery(self, graph: DependencyGraph) -> None:
        """Check that nothing acknowledged is lost, nothing is half applied, and nothing is invented."""
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


class Life:
    """One server on the directory, from its start to its end, with its clients, its compactions and its operator."""

    def __init__(self, simulation: Simulation, fsync: Fsync, end: str) -> None:
        self.observer: Observer | None = None
        self._simulation = simulation
        self._rejects_cycles = simulation.rejects_cycles
        self._limits = simulation.limits
        self._roles = RoleOperator(simulation.roles_random, is_active=simulation.has_roles)
        self.is_index_lost = False
        """True if an operator has deleted the index and no copy was left."""
        self._disk = simulation.disk
        self._follower = simulation.follower
        self._random = simulation.random
        self._trace = simulation.trace
        self._fsync = fsync
        self._end = end
        self._process = SimulatedProcess(self._disk)
        self._network = SimulatedNetwork(self._random, self._trace)
        self._compaction: SimulatedCompaction | None = None
        self._operator = Operator(self._disk, self._trace)

    def run(self) -> None:
        """Start, serve, save."""
        directory = DataDirectory.lock(DIRECTORY, self._process)
        history = self._simulation.history
        files, graph = Generations.open(directory, self._fsync)
        store = JournalStore(
            files,
            self._network.clock,
            self._start_compaction,
            _COMPACT_ABOVE_BYTES,
            lambda: history.wall_clock(self._network.clock),
            history.retention,
        )
        if self._rejects_cycles:
            graph.reject_cycles = True
            self.observer = SlicedObserver(graph, store, self._random.choice((1, 2, 5)))
        else:
            self.observer = Observer(LocalIndex(graph, store), graph)
        self.observer.check = self._roles.check
        if history.retention.seconds:
            self.observer.identify(identity_of)
        history.record(store, graph, self.observer.turn)
        self._serve(store)
        self._heal_disk()
        try:
            store.save(graph)
        finally:
            self._operator.save_has_ended()
        store.close()
        directory.close()
        self._follower.check_current()

    def end(self) -> None:
        """End the process and its compaction; let the operator undo the mistake."""
        self._follower.stop()
        self._heal_disk()
        self._disk.on_sync = lambda: None
        self._process.end()
        if self._compaction is not None:
            self._compaction.outlive()
        self.is_index_lost = self._operator.clean_up()

    def _heal_disk(self) -> None:
        self._disk.fault = lambda _: None
        self._disk.space_left = None
        self._disk.is_read_only = False
        self._disk.writes_short = False

    def _start_compaction(self, directory: DataDirectory, generation: int, niceness: int) -> Task:
        assert 0 <= niceness <= 10
        if self._disk.has_cut:
            raise PowerLossError  # the next journal has just been created: is what was cut off gone on the disk too?
        if self._random.random() < 0.1:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self._compaction = SimulatedCompaction(self._disk, self._process, directory, generation, self._network.clock)
        return self._compaction

    def _serve(self, store: JournalStore) -> None:
        random, network, observer = self._random, self._network, self.observer
        assert observer is not None
        network.on_send = observer.on_send
        self._disk.on_sync = observer.on_sync
        self._disk.writes_short = random.random() < 0.5
        for _ in range(random.randrange(_CLIENTS_MAX + 1)):
            network.connect(self._requests(), random.choice(list(Habit)))
        server = Server(observer, [network.listener], network, network.clock, self._limits, cpu_clock=network.clock)
        server.on_tick(store.tick)
        self._plan_faults()
        trouble = random.choice(("space", "space", "read-only", "operator", "operator", "", "", "", "", ""))
        if trouble == "operator":
            self._follower.end()  # a mistake can put other files in the place of the followed ones
        self._follower.note(observer)
        if trouble != "operator":
            self._follower.watch(observer)
        for _ in range(_TURNS_MAX):
            self._make_trouble(trouble)
            if random.random() < 0.02:
                network.connect(self._requests(), random.choice(list(Habit)))
            if random.random() < (0.1 if trouble == "space" else 0.02):
                store.request_compaction()
            self._compact_after_a_cut(store)
            if network.is_quiet and not observer.is_pending and not self._is_compaction_hanging:
                self._end_when_quiet(server)
            self._roles.take_turn(server)
            self._operator.check(observer, network.now)
            self._check_compaction()
            if server.shutdown.state is Lifecycle.STOPPED:
                break
        else:
            raise AssertionError(f"the server has not ended in {_TURNS_MAX} turns")
        server.close()
        if any(not each.is_closed for each in network.sockets if each not in network.listener.waiting):
            raise AssertionError("a connection was left open")

    def _compact_after_a_cut(self, store: JournalStore) -> None:
        """Make room and compact before the next batch, whose sync would include the truncation."""
        if not self._disk.has_cut:
            return
        self._disk.space_left = None
        store.request_compaction()
        store.tick()
        self._disk.has_cut = False

    def _end_when_quiet(self, server: Server) -> None:
        if self._end == "shutdown":
            if server.shutdown.state is Lifecycle.SERVING:
                self._trace("shutdown is requested")
                server.shutdown.request()
            return
        raise PowerLossError if self._end == "power loss" else ProcessKilledError

    @property
    def _is_compaction_hanging(self) -> bool:
        compaction = self._compaction
        return compaction is not None and compaction.hangs_since is not None and compaction.status is None

    def _check_compaction(self) -> None:
        if self._compaction is None or self._compaction.hangs_since is None or not self._is_compaction_hanging:
            return
        if self._network.now > self._compaction.hangs_since + _HANG_SECONDS + 1 + 2 * _LIMITS.tick_seconds:
            raise AssertionError("a compaction hangs, and nobody ends it")

    # Faults

    def _make_trouble(self, trouble: str) -> None:
        random, disk = self._random, self._disk
        if random.random() >= (0.5 if trouble == "space" else 0.1):
            return
        match trouble:
            case "space":
                disk.space_left = random.choice((None, 0, random.randrange(300), random.randrange(100)))
            case "read-only":
                disk.is_read_only = random.random() < 0.5
            case "operator" if self.observer is not None:
                self._operator.make_mistake(self.observer, self._network.now)

    def _plan_faults(self) -> None:
        """Let the machine or the process stop at some call, if that is its end, and calls fail now and then."""
        random = self._random
        stops_in = random.randrange(60) if self._end != "shutdown" and random.random() < 0.7 else None
        sync_fails_in = random.randrange(30) if random.random() < 0.1 else None
        fails = random.choice(("fdatasync", "fsync", "both"))
        close_fails = random.random() < 0.2
        # The first batch on the blocks of a deleted directory is the one that these may be mistaken for.
        stops_at_sync = bool(self._disk.freed) and self._end == "power loss" and random.random() < 0.5

        def fault(name: str) -> None:
            nonlocal stops_in, sync_fails_in
            if stops_at_sync and name == "fdatasync":
                raise PowerLossError
            if stops_in is not None:
                stops_in -= 1
                if stops_in < 0:
                    raise PowerLossError if self._end == "power loss" else ProcessKilledError
            if sync_fails_in is not None and (name == fails or (fails == "both" and "sync" in name)):
                sync_fails_in -= 1
                if sync_fails_in < 0:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
            if close_fails and name == "close" and random.random() < 0.2:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        self._disk.fault = fault

    def _requests(self) -> bytes:
        """Return the requests of one client."""
        random = self._random
        lines = [*_CHAIN] if self._rejects_cycles else []
        for _ in range(random.randrange(_LINES_MAX + 1)):
            package = random.choice(_NAMES)
            needed = random.sample(_NAMES, random.choice((0, 0, 0, 1, 1, 2)))
            kind = random.random() * (0.6 if self._rejects_cycles else 1.0)
            if kind < 0.5:
                lines.append(f"INDEX|{package}|{','.join(needed)}")
            elif kind < 0.7:
                lines.append(f"REMOVE|{package}|")
            elif kind < 0.93:
                lines.append(f"QUERY|{package}|")
            else:
                lines.append(random.choice(_BROKEN_LINES))
        return "".join(f"{line}\n" for line in lines).encode() + random.choice((b"", b"", b"INDEX|half"))


class Operator:
    """Removes, moves and replaces the directory of a running server, and starts a second one."""

    def __init__(self, disk: SimulatedDisk, trace: Callable[[str], None]) -> None:
        self._disk = disk
        self._random = disk.random
        self._trace = trace
        self._second: SimulatedProcess | None = None
        self._second_files: dict[str, bytes] = {}
        self._changes_max: int | None = None
        """The number of changes that may be made, if the directory has been deleted."""
        self._deadline: float | None = None
        """The time until which changes may still go to a directory that was moved."""
        self._is_index_lost = False

    @property
    def _is_in_place(self) -> bool:
        return DIRECTORY in self._disk.folders and _MOVED not in self._disk.folders

    def make_mistake(self, observer: Observer, now: float) -> None:
        """Do something to the directory that nobody should do while a server runs."""
        if not self._is_in_place:
            if self._second is None and _MOVED in self._disk.folders and self._random.random() < 0.3:
                self._move_back()
            return
        match self._random.choice(("lock", "move", "replace", "remove", "second", "second")):
            case "lock":
                self._trace("the operator deletes the lock file")
                self._disk.folders[DIRECTORY].unlink("lock")
            case "move":
                self._trace("the operator moves the directory")
                self._disk.move(DIRECTORY, _MOVED)
                self._deadline = now + VERIFY_SECONDS + _LIMITS.tick_seconds
            case "replace":
                self._trace("the operator puts a backup in place of the directory, and starts a second server")
                self._disk.move(DIRECTORY, _MOVED)
                self._disk.copy(_MOVED, DIRECTORY)
                self._deadline = now + VERIFY_SECONDS + _LIMITS.tick_seconds
                self._start_second()
            case "remove":
                self._trace("the operator deletes the directory")
                self._disk.freed += self._disk.files().values()
                self._disk.remove(DIRECTORY)
                self._is_index_lost = True
                self._changes_max = len(observer.history)
            case "second":
                self._try_second()

    def _try_second(self) -> None:
        """A second server must not start on the directory of the first."""
        process = SimulatedProcess(self._disk)
        fault, self._disk.fault = self._disk.fault, lambda _: None
        try:
            DataDirectory.lock(DIRECTORY, process)
        except DataDirectoryError:
            self._trace("a second server is refused")
        else:
            raise AssertionError("two servers use one directory")
        finally:
            process.end()
            self._disk.fault = fault

    def _start_second(self) -> None:
        """Start a second server on the directory that replaces the first one's, and let it acknowledge a change."""
        fault, self._disk.fault = self._disk.fault, lambda _: None
        on_sync, self._disk.on_sync = self._disk.on_sync, lambda: None
        written = list(self._disk.written)
        self._second = SimulatedProcess(self._disk)
        directory = DataDirectory.lock(DIRECTORY, self._second)
        files, graph = Generations.open(directory, Fsync.ALWAYS)
        store = JournalStore(files, lambda: 0.0, _no_compaction, wall_clock=lambda: 0)
        changes = Changes()
        graph.apply_lines("INDEX|second|\n", changes)
        store.commit(changes)
        self._second_files = self._disk.files()
        self._disk.written = written  # its blocks are its own, and show up nowhere else
        self._disk.fault, self._disk.on_sync = fault, on_sync

    def _move_back(self) -> None:
        self._trace("the operator moves the directory back")
        self._disk.move(_MOVED, DIRECTORY)
        self._deadline = None

    def check(self, observer: Observer, now: float) -> None:
        """Check that no change is acknowledged for a directory that is not there, and that the second one is intact."""
        if self._deadline is not None and now > self._deadline:
            self._changes_max, self._deadline = len(observer.history), None
        if self._changes_max is not None and _MOVED not in self._disk.folders and DIRECTORY in self._disk.folders:
            self._changes_max = None
        if self._changes_max is not None and len(observer.history) > self._changes_max:
            raise AssertionError("a change was acknowledged for a directory that is not there")
        if self._second is not None and self._disk.files() != self._second_files:
            raise AssertionError("the directory of another server was changed")

    def save_has_ended(self) -> None:
        """Check that a removed directory was not created again."""
        if self._is_index_lost and DIRECTORY in self._disk.folders:
            raise AssertionError("a removed directory was created again")

    def clean_up(self) -> bool:
        """Put everything in its place once the server has ended; return whether the index is lost."""
        if self._second is not None:
            if self._disk.files() != self._second_files:
                raise AssertionError("the directory of another server was changed")
            self._second.end()
            self._second = None
            self._disk.remove(DIRECTORY)
        if _MOVED in self._disk.folders:
            self._move_back()
        return self._is_index_lost


def _no_compaction(*_: object) -> Task:
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
