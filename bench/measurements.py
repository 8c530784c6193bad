"""The measurement of several servers under one load, in alternation."""

import os
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

from bench.load_generator import Load, LoadError, connected, iterate_blocks, make_blocks
from bench.servers import Peer, Processors, Server, waiting_seconds_of
from bench.workloads import WORKLOADS, Workload

ORDERLY_DEPTH: Final = 100
"""Pipeline depth of one client that sends messages in order."""

GENERATOR_SHARE_MAX: Final = 0.95
"""The processor share of the load generator above which it, not the server, limits the responses per second."""

DISTURBANCE_MAX: Final = 0.05
"""The share of a round that other programs may use the server's processor before its figures are marked."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one round under a load, or the medians of several."""

    answers_per_second: float
    cpu_us_per_message: float
    """Processor time of the server process: user and system, all threads."""
    server_busy: float
    """The processor share of the server; above 1 with several threads."""
    server_waiting: float
    """The share of the time in which it was ready and other programs used its processor."""
    generator_busy: float
    generator_waiting: float
    """The processor share of the load generator."""
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float
    """Latency of a block, in microseconds."""

    @property
    def answers_per_cpu_second(self) -> float:
        """Responses per second of the server's processor time: its rate under an unlimited load."""
        return 1e6 / self.cpu_us_per_message

    @property
    def is_generator_limit(self) -> bool:
        """True if the load generator limited the responses per second."""
        return self.generator_busy + self.generator_waiting > GENERATOR_SHARE_MAX

    @property
    def is_disturbed(self) -> bool:
        """True if other programs slowed the server down, so that only the processor time is meaningful."""
        return self.server_waiting > DISTURBANCE_MAX


@dataclass(frozen=True, slots=True)
class Shape:
    """A load: number of clients, pipeline depth of each, and workload."""

    clients: int
    depth: int
    workload: str

    @classmethod
    def parse(cls, text: str) -> "Shape":
        """Parse ``clients/depth/workload``. Raises ValueError."""
        clients, depth, workload = text.split("/")
        if workload not in WORKLOADS or min(int(clients), int(depth)) < 1:
            raise ValueError(f"{text!r} is not clients/depth/workload")
        return cls(int(clients), int(depth), workload)

    def __str__(self) -> str:
        return f"{self.clients}/{self.depth}/{self.workload}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The figures of a server under a load."""

    peer: str
    shape: Shape
    package_count: int
    idle_clients: int
    rounds: list[Figures]
    resident_bytes: int
    peak_bytes: int

    @property
    def median(self) -> Figures:
        """The medians of the rounds; of the longest latency, the longest."""
        names = Figures.__dataclass_fields__
        medians = {name: statistics.median(getattr(each, name) for each in self.rounds) for name in names}
        return Figures(**medians | {"max_us": max(each.max_us for each in self.rounds)})

    def as_json(self) -> dict[str, Any]:
        """Return the content for a JSON file."""
        return asdict(self) | {"median": asdict(self.median)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A running server of a peer, and its workload."""

    peer: Peer
    server: Server
    directory: Path
    workload: Workload
    package_count: int
    """Number of packages that it has, or indexes and removes."""
    idle_clients: int = 0
    """Number of idle connections."""

    def measure(self, run: Callable[[], Load]) -> Figures:
        """Return the figures of the load ``run`` on this server alone. Raises :exc:`LoadError`."""
        cpu_seconds, waiting_seconds = self.server.cpu_seconds(), waiting_seconds_of(self.server.pid)
        generator_waiting_seconds = waiting_seconds_of(os.getpid())
        try:
            load = run()
        except (LoadError, ConnectionError) as error:
            raise LoadError(f"{self.peer.name}: {error}") from error
        cpu_seconds = self.server.cpu_seconds() - cpu_seconds
        return Figures(
            answers_per_second=load.messages / load.seconds,
            cpu_us_per_message=cpu_seconds / load.messages * 1e6,
            server_busy=cpu_seconds / load.seconds,
            server_waiting=(waiting_seconds_of(self.server.pid) - waiting_seconds) / load.seconds,
            generator_busy=load.generator_cpu_seconds / load.seconds,
            generator_waiting=(waiting_seconds_of(os.getpid()) - generator_waiting_seconds) / load.seconds,
            p50_us=load.latency(0.5) * 1e6,
            p99_us=load.latency(0.99) * 1e6,
            p999_us=load.latency(0.999) * 1e6,
            max_us=load.latency(1) * 1e6,
        )

    def send_once(self, lines: Sequence[str]) -> Figures:
        """Send messages in order from one client; every response must be OK."""
        blocks = iterate_blocks(lines, ORDERLY_DEPTH, self.peer.dialect)
        with connected(self.server.address, 1, self.peer.dialect) as client:
            return self.measure(lambda: client.run_once(blocks))


@dataclass(slots=True)
class Laboratory:
    """The directory and processors of the servers, and the length of a measurement."""

    directory: Path
    """On the disk whose syncs are measured."""
    processors: Processors
    rounds: int
    seconds: float
    """Length of a round."""
    _numbers: Iterator[int] = field(default_factory=count)

    def new_directory(self) -> Path:
        """Return an empty directory for a server."""
        directory = self.directory / f"server-{next(self._numbers)}"
        directory.mkdir()
        return directory

    @contextmanager
    def contenders(self, peers: Iterable[Peer], workload: Workload, package_count: int) -> Iterator[list[Contender]]:
        """Run one new server of each peer, prepared for the workload."""
        with ExitStack() as running:
            contenders = []
            for peer in peers:
                directory = self.new_directory()
                server = running.enter_context(peer.running(directory, self.processors))
                contenders.append(
                    Contender(
                        peer=peer, server=server, directory=directory, workload=workload, package_count=package_count
                    )
                )
            if workload.preparation:
                for each in contenders:
                    each.send_once(workload.preparation)
            yield contenders

    def compare(self, contenders: Sequence[Contender], *, clients: int, depth: int) -> list[Result]:
        """Measure the contenders under the same load, round by round in alternation."""
        distinct = {(each.workload.name, each.package_count, each.peer.dialect): each for each in contenders}
        blocks = {key: make_blocks(each.workload.lines, depth, each.peer.dialect) for key, each in distinct.items()}
        rounds: list[list[Figures]] = [[] for _ in contenders]
        with ExitStack() as connections:
            runs = [
                partial(
                    connections.enter_context(connected(each.server.address, clients, each.peer.dialect)).run,
                    each.workload,
                    blocks[each.workload.name, each.package_count, each.peer.dialect],
                    self.seconds,
                )
                for each in contenders
            ]
            turns = list(zip(contenders, runs, rounds, strict=True))
            for _ in range(self.rounds):
                for each, run, its_rounds in turns:
                    its_rounds.append(each.measure(run))
                turns.reverse()  # so that none always follows the same other one
        return [
            Result(
                peer=each.peer.name,
                shape=Shape(clients, depth, each.workload.name),
                package_count=each.package_count,
                idle_clients=each.idle_clients,
                rounds=its_rounds,
                resident_bytes=each.server.resident_bytes(),
                peak_bytes=each.server.peak_bytes(),
            )
            for each, its_rounds in zip(contenders, rounds, strict=True)
        ]
