"""A data directory, and the servers that are killed on it one after the other."""

import enum
import os
import selectors
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO, StringIO
from pathlib import Path
from random import Random
from selectors import EVENT_READ, EVENT_WRITE
from typing import Final

from scoop_core import Changes, DependencyGraph, encode_dump

from scoop_server.cli.directory import DirectorySource
from scoop_server.config.settings import Fsync
from scoop_server.history import batches

from tests.crash.directory_watch import DirectoryWatch
from tests.crash.load_client import LoadConnection, NotAsPromisedError, OwnPackages, State
from tests.crash.victim import Child, Victim
from tests.support.process import MODULE_COMMAND, WAIT_SECONDS, BlockingClient

_POLICIES: Final = (Fsync.ALWAYS, Fsync.ALWAYS, Fsync.ALWAYS, Fsync.EVERYSEC, Fsync.NEVER)
_CLIENT_COUNTS: Final = (10, 50, 100)
_SHARED_COUNTS: Final = (100, 2_000, 20_000)
_SHARED_PER_CLIENT: Final = 5

_ANSWERS_MAX: Final = 2_000
"""The maximum of responses before the next event."""

_ANSWERS_MEANWHILE_MAX: Final = 5_000

_FIRST_START_STEPS: Final = 26
_START_STEPS: Final = 12
_COMPACTION_STEPS: Final = 13
_SHUTDOWN_STEPS: Final = 20
"""The approximate number of events in the directory of each of these. A kill comes after some of them."""


class Moment(enum.Enum):
    """The moment of a kill."""

    LOAD = "under load"
    COMPACTION = "during a compaction"
    AFTER_KILLED_COMPACTION = "after its compaction was killed"
    SHUTDOWN = "during a shutdown"
    START = "during a start"
    IDLE = "just started"


_MOMENTS_UNDER_LOAD: Final = (
    Moment.LOAD,
    Moment.LOAD,
    Moment.COMPACTION,
    Moment.COMPACTION,
    Moment.AFTER_KILLED_COMPACTION,
    Moment.SHUTDOWN,
    Moment.SHUTDOWN,
)


@dataclass
class Tally:
    """The results."""

    kills: Counter[Moment] = field(default_factory=Counter)
    policies: Counter[Fsync] = field(default_factory=Counter)
    acknowledged: int = 0
    """Changes that were answered OK."""
    kept_unanswered: int = 0
    """Requests that were applied although their response had not arrived."""
    half_batches: int = 0
    """Kills that left a partial batch."""
    added_tails: int = 0
    compactions_killed: int = 0

    def __str__(self) -> str:
        return (
            f"{self.kills.total()} kills ({_listed(self.kills)}; fsync {_listed(self.policies)}), "
            f"{self.compactions_killed} compactions killed, {self.acknowledged:,} acknowledged changes all kept, "
            f"{self.kept_unanswered:,} unanswered requests found applied, {self.half_batches} half batches "
            f"left by a kill and {self.added_tails} tails added, all dropped"
        )


def _listed(counter: Mapping[Moment, int] | Mapping[Fsync, int]) -> str:
    return ", ".join(f"{count} {key.value}" for key, count in counter.items())


class Tail:
    """Unsealed bytes at the end of a journal. ``size`` is the number that a server logs."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        self._sealed_size = len(path.read_bytes().rstrip(b"\0"))  # the rest is room that was set aside
        with path.open("r+b") as file:
            file.truncate(self._sealed_size)
            file.seek(0, os.SEEK_END)
            file.write(data)
        self.size = len(data.rstrip(b"\0"))
        self._file_size = self._sealed_size + len(data)

    def is_gone(self) -> bool:
        """Return whether a start has dropped them. Raises if it has done anything else."""
        size = self.path.stat().st_size
        if size not in {self._sealed_size, self._file_size}:
            raise NotAsPromisedError(f"{self.path} has {size} bytes, of which {self._sealed_size} were sealed")
        return size == self._sealed_size


class Scene:
    """The empty directory ``path``, and all events in it, planned by ``seed``.

    The plan can be repeated; what exactly the system does between two of its events cannot.
    Raises :exc:`NotAsPromisedError` if a server breaks the contract.
    """

    def __init__(
        self,
        seed: int,
        path: Path,
        tally: Tally,
        *,
        command: Sequence[str] = MODULE_COMMAND,
        moments: Sequence[Moment] = _MOMENTS_UNDER_LOAD,
        start_kill_probability: float = 0.25,
    ) -> None:
        self._random = Random(seed)
        self._history = ("--history", "30d") if seed % 2 else ()
        self._path = path
        self._tally = tally
        self._command = command
        self._moments = moments
        self._start_kill_probability = start_kill_probability
        self._selector = selectors.DefaultSelector()
        self._watch = DirectoryWatch(path)
        self._selector.register(self._watch, EVENT_READ, lambda _: self._watch.read())
        self._shared: dict[str, frozenset[str]] = {}
        self._owners: list[OwnPackages] = []
        self._connections: list[LoadConnection] = []
        self._survivors: list[Child] = []
        """Compactions that were running when their server was killed."""
        self._may_end = False
        """True if the server may close connections, and end."""
        self._has_served = False
        """True once a server has listened."""
        self._dump = b""
        """The content of the directory when it was last examined."""
        self._tail: Tail | None = None
        self._last_log = ""

    @property
    def last_log(self) -> str:
        """The log of the last server."""
        return self._last_log

    def close(self) -> None:
        """Close everything and end all processes."""
        for connection in self._connections:
            connection.close()
        for child in self._survivors:
            child.kill()
            child.wait()
            child.close()
        self._tally.acknowledged += sum(owner.acknowledged_changes for owner in self._owners)
        self._watch.close()
        self._selector.close()

    def run(self, kills: int) -> None:
        """Kill ``kills`` servers and check what each leaves; then stop one in order."""
        goal = self._tally.kills.total() + kills
        self._check_at_rest()
        while self._tally.kills.total() < goal:
            if self._random.random() < self._start_kill_probability:
                self._kill_during_a_start()
            else:
                self._kill_under_load()
            self._check_at_rest()
        with self._server() as victim:
            self._check_running(victim)
            self._may_end = True
            victim.send_signal(signal.SIGTERM)
            self._wait(lambda: victim.status is not None)
            if victim.status != 0:
                raise NotAsPromisedError(f"the server ended with status {victim.status}")
        self._check_at_rest(may_have_tail=False)

    # Servers

    @contextmanager
    def _server(self) -> Iterator[Victim]:
        """Yield a server that starts; it is killed at the end of the block at the latest."""
        policy = self._random.choice(_POLICIES)
        self._may_end = False
        victim = Victim(self._command, "--data-dir", str(self._path), "--fsync", policy.value, *self._history)
        try:
            self._selector.register(victim, EVENT_READ, lambda _: self._hear(victim))
            self._selector.register(victim.process_file, EVENT_READ, lambda _: self._notice_end(victim))
            yield victim
        finally:
            self._may_end = True
            self._survivors += victim.children()
            if victim.kill() == -signal.SIGKILL:
                self._tally.policies[policy] += 1
            self._last_log = victim.log
            for file in (victim, victim.process_file):
                if file in self._selector.get_map():
                    self._selector.unregister(file)
            victim.close()

    def _hear(self, victim: Victim) -> None:
        victim.read_log()
        if victim.log_has_ended:
            self._selector.unregister(victim)

    def _notice_end(self, victim: Victim) -> None:
        self._selector.unregister(victim.process_file)
        status = victim.wait()
        if not self._may_end:
            raise NotAsPromisedError(f"the server ended by itself, with status {status}")

    def _wait(self, is_so: Callable[[], bool]) -> None:
        """Process events until ``is_so``."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not is_so():
            remaining = deadline - time.monotonic()
            if remaining < 0:
                raise AssertionError(f"what was waited for has not come within {WAIT_SECONDS:.0f} s")
            for key, events in self._selector.select(remaining):
                key.data(events)
                if is_so():
                    return

    # The kills

    def _kill_during_a_start(self) -> None:
        steps = _START_STEPS if self._journals() else _FIRST_START_STEPS
        with self._server() as victim:
            self._wait_for_steps(steps, lambda: victim.address is not None)
            self._tally.kills[Moment.START if victim.address is None else Moment.IDLE] += 1
            victim.kill()
        if self._tail is not None and self._tail.is_gone():
            self._tail = None

    def _kill_under_load(self) -> None:
        random = self._random
        with self._server() as victim:
            self._check_running(victim)
            if not self._shared:
                self._index_shared_packages(victim)
            self._connect(victim, random.choice(_CLIENT_COUNTS))
            self._wait_for_answers(random.randint(1, _ANSWERS_MAX))
            moment = random.choice(self._moments)
            if moment is Moment.COMPACTION:
                self._begin_compaction(victim)
                self._wait_for_steps(_COMPACTION_STEPS, lambda: "is complete" in victim.log or _has_failed(victim))
                if _has_failed(victim):
                    raise NotAsPromisedError("the compaction has failed")
            elif moment is Moment.AFTER_KILLED_COMPACTION:
                self._kill_a_compaction(victim)
                self._wait_for_answers(random.randint(1, _ANSWERS_MAX))
            elif moment is Moment.SHUTDOWN:
                self._may_end = True
                victim.send_signal(signal.SIGTERM)
                self._wait_for_steps(_SHUTDOWN_STEPS, lambda: victim.status is not None)
            self._survivors += victim.children()
            self._may_end = True
            if victim.kill() == -signal.SIGKILL:
                self._tally.kills[moment] += 1
            self._wait(lambda: not self._connections)

    def _begin_compaction(self, victim: Victim) -> None:
        begun = victim.log.count(" has begun")
        victim.send_signal(signal.SIGUSR1)
        self._wait(lambda: victim.log.count(" has begun") > begun or "nothing to compact" in victim.log)

    def _kill_a_compaction(self, victim: Victim) -> None:
        self._begin_compaction(victim)
        self._wait_for_steps(_COMPACTION_STEPS, lambda: "is complete" in victim.log)
        for child in victim.children():
            child.kill()
            child.close()
            self._tally.compactions_killed += 1
        self._wait(lambda: _has_failed(victim) or "is complete" in victim.log)

    def _wait_for_answers(self, count: int) -> None:
        goal = self._answered + count
        self._wait(lambda: self._answered >= goal)

    def _wait_for_steps(self, steps_max: int, is_over: Callable[[], bool]) -> None:
        """Wait for some of the events of an action in the directory, or for its end.

        A compaction has the lowest priority, so on a busy machine the load may end the wait instead.
        """
        step_goal = self._watch.count + self._random.randrange(steps_max)
        answer_goal = self._answered + _ANSWERS_MEANWHILE_MAX
        self._wait(lambda: self._watch.count >= step_goal or self._answered >= answer_goal or is_over())

    # The load

    @property
    def _answered(self) -> int:
        return sum(owner.answered for owner in self._owners)

    def _index_shared_packages(self, victim: Victim) -> None:
        """Index packages that stay: a directory of some size, with dependencies for the packages of clients."""
        random = self._random
        names = [f"shared{number}" for number in range(random.choice(_SHARED_COUNTS))]
        shared = {
            name: frozenset(random.sample(names[:number], min(number, random.randrange(4))))
            for number, name in enumerate(names)
        }
        with self._connected(victim) as client:
            answers = client.ask(*(f"INDEX|{name}|{','.join(sorted(needed))}" for name, needed in shared.items()))
        if set(answers) != {"OK"}:
            raise NotAsPromisedError(f"packages in dependency order were answered {set(answers)}")
        self._shared = shared

    def _connect(self, victim: Victim, count: int) -> None:
        """Let ``count`` clients submit requests, each about packages of its own."""
        assert victim.address is not None
        while len(self._owners) < count:
            shared = {
                name: self._shared[name] for name in self._random.sample(sorted(self._shared), _SHARED_PER_CLIENT)
            }
            self._owners.append(OwnPackages(len(self._owners), shared, Random(self._random.random())))
        for owner in self._owners[:count]:
            connection = LoadConnection(victim.address, owner, self._random)
            self._connections.append(connection)
            self._selector.register(connection, self._events(connection), self._make_serve(connection))

    @staticmethod
    def _events(connection: LoadConnection) -> int:
        return EVENT_READ | EVENT_WRITE if connection.has_unsent else EVENT_READ

    def _make_serve(self, connection: LoadConnection) -> Callable[[int], None]:
        def serve(events: int) -> None:
            if events & EVENT_WRITE:
                connection.write()
            if events & EVENT_READ:
                connection.read(ask=not self._may_end)
            if not connection.is_open:
                self._selector.unregister(connection)
                self._connections.remove(connection)
                if not self._may_end:
                    raise NotAsPromisedError("the server ended a connection")
            elif self._events(connection) != self._selector.get_key(connection).events:
                self._selector.modify(connection, self._events(connection), serve)

        return serve

    @staticmethod
    @contextmanager
    def _connected(victim: Victim) -> Iterator[BlockingClient]:
        assert victim.address is not None
        with BlockingClient(victim.address) as client:
            yield client

    # What is left

    def _check_at_rest(self, *, may_have_tail: bool = True) -> None:
        """Examine the directory while no server uses it."""
        if not self._has_served:
            return  # nothing was promised, and there may be nothing to look at
        if may_have_tail and self._tail is None and self._random.random() < 0.2:
            self._add_a_tail()
        report = StringIO()
        status = DirectorySource(str(self._path)).check(report)  # what ``scoop-server check`` ends with
        allowed = {3} if self._tail is not None else {0, 3} if may_have_tail else {0}
        if status not in allowed:
            raise NotAsPromisedError(f"check would end with status {status}: {report.getvalue()}")
        self._tally.half_batches += status == 3 and self._tail is None
        self._dump = self._read_dump()
        self._check_state(parse_dump(self._dump))
        if self._history:
            self._check_history()

    def _check_history(self) -> None:
        """Compare the index with the one to which all kept batches lead."""
        graph, changes, last = DependencyGraph(), Changes(), 0
        for batch in batches(str(self._path)):
            if batch.seal.number != last + 1:
                raise NotAsPromisedError(f"the history has batch {batch.seal.number} after batch {last}")
            graph.apply_lines(batch.lines, changes)
            changes.clear()
            last = batch.seal.number
        if b"".join(encode_dump(graph)) != self._dump:
            raise NotAsPromisedError("the history leads to another index")

    def _add_a_tail(self) -> None:
        """Append what an interrupted write may leave to the journal: kills alone do so too rarely."""
        journals = self._journals()
        if not journals:
            return
        random = self._random
        length = random.randint(1, 10_000)
        data = random.choice((bytes(length) + b"?", random.randbytes(length), b"INDEX|never-submitted|\nINDEX|nev"))
        self._tail = Tail(max(journals, key=lambda each: int(each.name.removeprefix("journal-"))), data)
        self._tally.added_tails += 1

    def _journals(self) -> list[Path]:
        return [each for each in self._path.glob("journal-*") if each.suffix == ""]

    def _read_dump(self) -> bytes:
        """Return the output of ``scoop-server dump``."""
        out = BytesIO()
        DirectorySource(str(self._path)).dump(out)
        return out.getvalue()

    def _check_state(self, found: State) -> None:
        """Compare the index with what was acknowledged and submitted."""
        for owner in self._owners:
            self._tally.kept_unanswered += owner.check(found)
        for name, needed in self._shared.items():
            if found.get(name) != needed:
                raise NotAsPromisedError(f"{name} depends on {found.get(name)}, instead of {needed}")
        names = {*self._shared, *(name for owner in self._owners for name in owner.names)}
        if invented := found.keys() - names:
            raise NotAsPromisedError(f"never submitted: {invented}")

    def _check_running(self, victim: Victim) -> None:
        """Wait until the server listens, and compare its responses with the index before its start."""
        self._wait(lambda: victim.address is not None)
        self._has_served = True
        if (
            self._tail is not None
            and f"dropped the last {self._tail.size} bytes of {self._tail.path}" not in victim.log
        ):
            raise NotAsPromisedError("that a tail was dropped was not logged")
        self._tail = None
        found = parse_dump(self._dump)
        names = [*found, "never-submitted", *(name for owner in self._owners for name in owner.names)]
        with self._connected(victim) as client:
            answers = client.ask(*(f"QUERY|{name}|" for name in names))
        wrong = [name for name, answer in zip(names, answers, strict=True) if (answer == "OK") != (name in found)]
        if wrong:
            raise NotAsPromisedError(f"the server answers otherwise than dump did: {wrong[:5]}")
        if parse_dump(self._read_dump()) != found:
            raise NotAsPromisedError("dump prints something else beside the server than before it")


def _has_failed(victim: Victim) -> bool:
    """Return whether a compaction of the server has ended without a snapshot."""
    return "compaction ended with status" in victim.log or "compaction cannot begin" in victim.log


def parse_dump(data: bytes) -> State:
    """Return the state of a dump. Raises if a package comes before its dependencies."""
    state: dict[str, frozenset[str]] = {}
    for line in data.decode("ascii").splitlines():
        if line.startswith("#"):
            continue
        command, package, listed = line.split("|")
        needed = frozenset(listed.split(",")) if listed else frozenset()
        if command != "INDEX" or not needed <= state.keys():
            raise NotAsPromisedError(f"in a dump, {line!r} comes before its dependencies")
        state[package] = needed
    return state
