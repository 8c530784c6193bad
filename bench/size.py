"""The sections of the benchmark with a large index of random packages."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Final

from bench.measurements import Contender, Figures, Laboratory, Result
from bench.servers import Peer, ScoopPeer
from bench.workloads import Packages, Workload, index_lines, mix, query, query_lines

SMALL_INDEX: Final = 3_370
"""Size of the small index that the large one is compared with: that of the Homebrew list."""

QUERY_CLIENTS: Final = 50
QUERY_DEPTH: Final = 16
"""The load of QUERY at each size."""

_SMALLEST_SIZE: Final = 1_000
_SAMPLE: Final = 10_000
"""Number of packages that are queried after a restart."""

_TIMED_SERVER: Final = Path(__file__).parent / "timed_server.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """The stop and start of a peer with a large index."""

    stop_seconds: float
    """From SIGTERM to the end of the process."""
    start_seconds: float
    """From the start of the process to its first response."""
    start_cpu_seconds: float
    """Processor time of the start."""
    bytes_per_package: float
    """Resident memory after it, minus that of an empty server."""


@dataclass(slots=True, kw_only=True)
class Growth:
    """The growth of one peer to a large index. Memory is resident, minus that of the empty server."""

    peer: str
    package_count: int
    segments: list[tuple[int, Figures]] = field(default_factory=list)
    """Size of the index, and the figures of the INDEX messages since the previous size."""
    bytes_per_package: float = 0.0
    peak_bytes_per_package: float = 0.0
    restart: Restart | None = None
    """None if it keeps no changes."""

    @property
    def index_per_second(self) -> float:
        """INDEX messages per second, from the first package to the last."""
        return self.package_count / sum(count / figures.answers_per_second for count, figures in self._counted())

    @property
    def index_cpu_us(self) -> float:
        """Processor time of an INDEX message, in microseconds, from the first package to the last."""
        return sum(count * figures.cpu_us_per_message for count, figures in self._counted()) / self.package_count

    def _counted(self) -> list[tuple[int, Figures]]:
        """Return the number of messages of each segment, and their figures."""
        sizes = [0, *(size for size, _ in self.segments)]
        return [
            (after - before, figures)
            for (before, after), (_, figures) in zip(pairwise(sizes), self.segments, strict=True)
        ]

    def as_json(self) -> dict[str, Any]:
        """Return the content for a JSON file."""
        totals = {"index_per_second": self.index_per_second, "index_cpu_us_per_message": self.index_cpu_us}
        return asdict(self) | totals


@dataclass(frozen=True, slots=True)
class Growths:
    """The growth of all peers."""

    growths: list[Growth]
    queries: list[Result]
    """QUERY at each size."""
    small_and_large: list[Result]
    """QUERY on a small and on the full index, in alternation."""


def sizes_up_to(package_count: int) -> list[int]:
    """Return the sizes at which a growing index is measured: the powers of ten, and each tenth of the whole."""
    sizes = {package_count * tenth // 10 for tenth in range(1, 11)}
    size = _SMALLEST_SIZE
    while size < package_count:
        sizes.add(size)
        size *= 10
    return sorted(sizes)


def measure_growth(
    laboratory: Laboratory, peers: Sequence[Peer], packages: Packages, tell: Callable[[str], None]
) -> Growths:
    """Index all packages at each peer, segment by segment in alternation, with QUERY loads between."""
    lines = index_lines(packages)
    growths: list[Growth] = []
    queries: list[Result] = []
    with laboratory.contenders(peers, Workload("query", [], []), 0) as contenders:
        empty_bytes = [each.server.resident_bytes() for each in contenders]
        growths += [Growth(peer=each.peer.name, package_count=len(packages)) for each in contenders]
        for before, after in pairwise([0, *sizes_up_to(len(packages))]):
            for contender, growth in zip(contenders, growths, strict=True):
                figures = contender.send_once(lines[before:after])
                growth.segments.append((after, figures))
                tell(f"{growth.peer}: {after:,} packages, {figures.answers_per_second:,.0f} INDEX/s")
            asked = _holding(contenders, dict(islice(packages.items(), after)))
            queries += laboratory.compare(asked, clients=QUERY_CLIENTS, depth=QUERY_DEPTH)
        for contender, growth, empty in zip(contenders, growths, empty_bytes, strict=True):
            growth.bytes_per_package = (contender.server.resident_bytes() - empty) / len(packages)
            growth.peak_bytes_per_package = (contender.server.peak_bytes() - empty) / len(packages)
        large = _holding(contenders, packages)
        small_packages = dict(islice(packages.items(), SMALL_INDEX))
        with laboratory.contenders(peers, query(small_packages), len(small_packages)) as small:
            both = [each for pair in zip(small, large, strict=True) for each in pair]
            small_and_large = laboratory.compare(both, clients=QUERY_CLIENTS, depth=QUERY_DEPTH)
        for contender, growth, empty in zip(large, growths, empty_bytes, strict=True):
            if contender.peer.keeps_changes:
                tell(f"{growth.peer}: restart")
                growth.restart = _restart(laboratory, contender, empty)
    return Growths(growths, queries, small_and_large)


def _holding(contenders: Sequence[Contender], packages: Packages) -> list[Contender]:
    """Return the contenders, which now have ``packages``, with a QUERY workload for them."""
    workload = Workload("query", query_lines(packages), [])
    return [replace(each, workload=workload, package_count=len(packages)) for each in contenders]


def _restart(laboratory: Laboratory, contender: Contender, empty_bytes: int) -> Restart:
    stop_seconds = contender.server.stop()
    with contender.peer.running(contender.directory, laboratory.processors) as server:
        restart = Restart(
            stop_seconds=stop_seconds,
            start_seconds=server.start_seconds,
            start_cpu_seconds=server.cpu_seconds(),
            bytes_per_package=(server.resident_bytes() - empty_bytes) / contender.package_count,
        )
        replace(contender, server=server).send_once(contender.workload.lines[:_SAMPLE])
    return restart


@dataclass(frozen=True, slots=True)
class Turns:
    """The durations of the turns of a Scoop server while its index grew, and under QUERY and mix."""

    peer: str
    package_count: int
    report: dict[str, Any]
    """The report of timed_server.py."""


def measure_turns(laboratory: Laboratory, packages: Packages, *, keeps_changes: bool) -> Turns:
    """Time the turns of the server that this Python imports: INDEX in order, QUERY, and a mix."""
    path = laboratory.new_directory() / "turns.json"
    peer = ScoopPeer(
        "scoop" if keeps_changes else "scoop-memory",
        [sys.executable, str(_TIMED_SERVER), str(path)],
        keeps_changes=keeps_changes,
    )
    with laboratory.contenders([peer], query(packages), len(packages)) as [contender]:
        laboratory.compare([contender], clients=QUERY_CLIENTS, depth=QUERY_DEPTH)
        mixed = replace(contender, workload=mix(packages))
        laboratory.compare([mixed], clients=QUERY_CLIENTS, depth=QUERY_DEPTH)
        contender.server.stop()
    return Turns(peer.name, len(packages), json.loads(path.read_text()))
