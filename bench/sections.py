"""The sections of the benchmark with a few thousand packages."""

import resource
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bench.load_generator import connected
from bench.measurements import Laboratory, Result, Shape
from bench.servers import Peer
from bench.workloads import WORKLOADS, Packages, query

ROWS: Final[Mapping[str, str]] = {
    "100/1/query": "100 clients, one QUERY at a time each",
    "1/1/query": "one client, one QUERY at a time",
    "50/16/query": "pipelined",
    "50/100/query": "pipelined deep",
    "50/100/index": "every package indexed again, unchanged",
    "1/100/cycle": "every package indexed, then every package removed, pipelined",
    "1/1/cycle": "the same, one at a time",
    "100/1/mix": "80% QUERY, 10% INDEX, 8% REMOVE, 2% malformed",
    "50/100/mix": "the same, pipelined deep",
}
"""The loads, as clients/depth/workload."""

_CHANGING: Final = frozenset({"cycle", "mix"})
"""The workloads that change the index, for which it matters whether changes are kept on disk."""

DEPTHS_CLIENTS: Final = 50
"""Number of clients while the depth varies."""

IDLE_SHAPES: Final = (Shape(100, 1, "query"), Shape(50, 16, "query"))
"""The loads beside idle connections."""

_SPARE_DESCRIPTORS: Final = 500
"""Descriptors of this process and a server beside the idle connections."""


def _fitting(peers: Sequence[Peer], workload: str) -> list[Peer]:
    """Return the peers without those that would repeat another one under this workload."""
    return [peer for peer in peers if workload in _CHANGING or not peer.has_twin]


def measure_row(laboratory: Laboratory, peers: Sequence[Peer], packages: Packages, shape: Shape) -> list[Result]:
    """Measure one load on new servers."""
    workload = WORKLOADS[shape.workload](packages)
    with laboratory.contenders(_fitting(peers, shape.workload), workload, len(packages)) as contenders:
        return laboratory.compare(contenders, clients=shape.clients, depth=shape.depth)


def measure_queries(
    laboratory: Laboratory, peers: Sequence[Peer], packages: Packages, shapes: Sequence[tuple[int, int]]
) -> Iterator[list[Result]]:
    """Measure QUERY with each pair of clients and depth, on the same servers."""
    with laboratory.contenders(_fitting(peers, "query"), query(packages), len(packages)) as contenders:
        for clients, depth in shapes:
            yield laboratory.compare(contenders, clients=clients, depth=depth)


def measure_idle(
    laboratory: Laboratory, peers: Sequence[Peer], packages: Packages, idle_clients: int
) -> Iterator[list[Result]]:
    """Measure each peer twice in alternation: with the load alone, and with idle connections beside it."""
    descriptors_max, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    idle_clients = min(idle_clients, descriptors_max - _SPARE_DESCRIPTORS)
    for peer in _fitting(peers, "query"):
        with (
            laboratory.contenders([peer, peer], query(packages), len(packages)) as [quiet, crowded],
            connected(crowded.server.address, idle_clients, peer.dialect),
        ):
            contenders = [quiet, replace(crowded, idle_clients=idle_clients)]
            yield [
                result
                for shape in IDLE_SHAPES
                for result in laboratory.compare(contenders, clients=shape.clients, depth=shape.depth)
            ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The start of a peer: medians."""

    peer: str
    package_count: int
    """Number of packages in its data."""
    seconds: float
    """Until its first response, with the start of the interpreter."""
    resident_bytes: int


def measure_start(laboratory: Laboratory, peers: Sequence[Peer], packages: Packages) -> list[Start]:
    """Start each peer empty, and with all packages if it keeps changes, in alternating rounds."""
    beginnings = [(peer, 0, laboratory.new_directory()) for peer in peers]
    keeping = [peer for peer in peers if peer.keeps_changes]
    with laboratory.contenders(keeping, query(packages), len(packages)) as contenders:
        beginnings += [(each.peer, each.package_count, each.directory) for each in contenders]
    seconds: list[list[float]] = [[] for _ in beginnings]
    resident_bytes: list[list[int]] = [[] for _ in beginnings]
    for _ in range(laboratory.rounds):
        for number, (peer, _, directory) in enumerate(beginnings):
            with peer.running(directory, laboratory.processors) as server:
                seconds[number].append(server.start_seconds)
                resident_bytes[number].append(server.resident_bytes())
    return [
        Start(
            peer=peer.name,
            package_count=package_count,
            seconds=statistics.median(seconds[number]),
            resident_bytes=round(statistics.median(resident_bytes[number])),
        )
        for number, (peer, package_count, _) in enumerate(beginnings)
    ]
