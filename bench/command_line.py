"""The command ``python -m bench``."""

import argparse
import json
import re
import resource
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from bench import report
from bench.goals import Reached, goal_table, goals_of_idle, goals_of_loads, goals_of_size, goals_of_turns
from bench.load_generator import LoadError
from bench.machine import describe_machine
from bench.measurements import Laboratory, Result, Shape
from bench.sections import DEPTHS_CLIENTS, ROWS, measure_idle, measure_queries, measure_row, measure_start
from bench.servers import FloorPeer, Peer, Processors, RedisPeer, ScoopPeer, ServerError, find_redis
from bench.size import measure_growth, measure_turns
from bench.workloads import HOMEBREW, random_packages, read_packages

BUILT_IN_PEERS: Final = ("scoop", "scoop-memory", "floor", "redis", "redis-aof")

_SCOOP_COMMAND: Final = (sys.executable, "-m", "scoop_server")


@dataclass(frozen=True, slots=True)
class Scale:
    """The extent of a run."""

    rows: tuple[str, ...]
    rounds: int
    seconds: float
    depths: tuple[int, ...]
    clients: tuple[int, ...]
    idle_clients: int
    listed_packages: int | None
    """Number of packages of the list; None means all."""
    random_packages: int
    """Number of packages of the large index."""


FULL: Final = Scale(
    rows=tuple(ROWS),
    rounds=5,
    seconds=1.0,
    depths=(1, 2, 4, 8, 16, 32, 64, 128),
    clients=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000),
    idle_clients=10_000,
    listed_packages=None,
    random_packages=1_000_000,
)
QUICK: Final = Scale(
    rows=("1/100/cycle", "50/100/mix"),
    rounds=1,
    seconds=0.02,
    depths=(1, 16),
    clients=(1, 10),
    idle_clients=20,
    listed_packages=200,
    random_packages=2_000,
)
"""Enough to show that everything runs. Its figures are meaningless."""


class Benchmark:
    """One run: the measured peers, the extent, and the results so far."""

    def __init__(self, laboratory: Laboratory, peers: Sequence[Peer], scale: Scale) -> None:
        self._laboratory = laboratory
        self._peers = peers
        self._scale = scale
        self._listed = read_packages(HOMEBREW, scale.listed_packages)
        self._goals: list[Reached] = []
        self.texts: list[str] = []
        self.charts: dict[str, str] = {}
        self.data: dict[str, Any] = {}

    def tell(self, text: str) -> None:
        """Print a text, and record it for the file."""
        print(text, flush=True)
        self.texts.append(text)

    def describe(self, machine: Mapping[str, str]) -> None:
        """Report the machine and the extent."""
        self.data["machine"] = dict(machine)
        self.data["scale"] = asdict(self._scale)
        rounds = f"{self._scale.rounds} of {self._scale.seconds:g} s, in alternation"
        lines = [f"{name:11}{value}" for name, value in {**machine, "rounds": rounds}.items()]
        self.tell("\n".join([*lines, ""]))

    def loads(self) -> None:
        """Every row, on every peer for which it is meaningful."""
        results: list[Result] = []
        for shape in map(Shape.parse, self._scale.rows):
            row = measure_row(self._laboratory, self._peers, self._listed, shape)
            what = ROWS.get(str(shape), "")
            self.tell(report.result_table(f"{shape}: {what}" if what else str(shape), row))
            results += row
        self.data["loads"] = [each.as_json() for each in results]
        self._goals += goals_of_loads(results)

    def depths(self) -> None:
        """QUERY at increasing depths."""
        shapes = [(DEPTHS_CLIENTS, depth) for depth in self._scale.depths]
        title = f"Throughput against pipeline depth, QUERY, {DEPTHS_CLIENTS} clients"
        self._sweep("depths", title, "pipeline depth of each client", shapes, lambda each: each.shape.depth)

    def clients(self) -> None:
        """QUERY from increasing numbers of clients."""
        shapes = [(clients, 1) for clients in self._scale.clients]
        title = "Throughput against clients, QUERY, one message at a time"
        self._sweep("clients", title, "clients", shapes, lambda each: each.shape.clients)

    def _sweep(
        self, name: str, title: str, x_label: str, shapes: Sequence[tuple[int, int]], x: Callable[[Result], float]
    ) -> None:
        results: list[Result] = []
        for some in measure_queries(self._laboratory, self._peers, self._listed, shapes):
            self.tell(report.result_table(str(some[0].shape), some))
            results += some
        self.data[name] = [each.as_json() for each in results]
        if results:
            self.charts[name] = report.query_chart(title, x_label, results, x)

    def idle(self) -> None:
        """QUERY with and without thousands of idle connections beside it."""
        results: list[Result] = []
        for some in measure_idle(self._laboratory, self._peers, self._listed, self._scale.idle_clients):
            self.tell(report.idle_table(some))
            results += some
        self.data["idle"] = [each.as_json() for each in results]
        self._goals += goals_of_idle(results)

    def start(self) -> None:
        """The time from the start of a server to its first response."""
        starts = measure_start(self._laboratory, self._peers, self._listed)
        self.tell(report.start_table(starts))
        self.data["start"] = [asdict(each) for each in starts]

    def size(self) -> None:
        """A large index: INDEX and QUERY while it grows, memory, restart."""
        peers = [peer for peer in self._peers if not isinstance(peer, FloorPeer)]
        if not peers:
            return
        packages = random_packages(self._scale.random_packages)
        found = measure_growth(self._laboratory, peers, packages, lambda text: print(text, flush=True))
        for text in report.growth_tables(found):
            self.tell(text)
        self.charts |= report.size_charts(found)
        self.data["size"] = {
            "growths": [each.as_json() for each in found.growths],
            "queries": [each.as_json() for each in found.queries],
            "small_and_large": [each.as_json() for each in found.small_and_large],
        }
        self._goals += goals_of_size(found)

    def turns(self) -> None:
        """The longest turns of the Scoop of this Python on a large index."""
        packages = random_packages(self._scale.random_packages)
        found = [
            measure_turns(self._laboratory, packages, keeps_changes=peer.keeps_changes)
            for peer in self._peers
            if peer.name in ("scoop", "scoop-memory")
        ]
        if found:
            self.tell(report.turn_table(found))
        self.data["turns"] = [asdict(each) for each in found]
        self._goals += goals_of_turns(found)

    def conclude(self) -> None:
        """Report the goals."""
        if self._goals:
            self.tell(goal_table(self._goals))
        self.data["goals"] = [each._asdict() for each in self._goals]
        self.tell(report.LEGEND)

    def save(self, directory: Path) -> None:
        """Write all results so far."""
        (directory / "results.txt").write_text("\n".join(self.texts) + "\n")
        (directory / "results.json").write_text(json.dumps(self.data, indent=1) + "\n")
        for name, chart in self.charts.items():
            (directory / f"{name}.svg").write_text(chart)


SECTIONS: Final[Mapping[str, Callable[[Benchmark], None]]] = {
    "loads": Benchmark.loads,
    "depths": Benchmark.depths,
    "clients": Benchmark.clients,
    "idle": Benchmark.idle,
    "start": Benchmark.start,
    "size": Benchmark.size,
    "turns": Benchmark.turns,
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    sections = "\n".join(f"  {name:9}{function.__doc__}" for name, function in SECTIONS.items())
    rows = "\n".join(f"  {row:14}{what}" for row, what in ROWS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure package index servers under the same loads, in alternation. Needs Linux.",
        epilog=f"sections:\n{sections}\n\nrows of the section loads, as clients/depth/workload:\n{rows}\n\n"
        "To judge a change, compare the server before and after it, here for QUERY alone:\n"
        "  python -m bench loads --rows 100/1/query,50/16/query --peers scoop \\\n"
        "      --server 'before=env PYTHONPATH=OTHER/packages/scoop-core/src:OTHER/packages/scoop-server/src "
        "python -m scoop_server'",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("sections", nargs="*", metavar="SECTION", help="what to measure (default: all sections)")
    add("--quick", action="store_true", help="a minimal run of a few seconds; the figures are meaningless")
    add("--rows", type=_rows, metavar="ROW,...", help="loads of the section loads: any clients/depth/workload")
    add("--rounds", type=_number, metavar="N", help=f"rounds of alternation (default: {FULL.rounds})")
    add("--seconds", type=float, metavar="S", help=f"length of a round (default: {FULL.seconds:g})")
    add("--packages", type=_number, metavar="N", help=f"packages of a large index (default: {FULL.random_packages})")
    add("--peers", default=",".join(BUILT_IN_PEERS), metavar="NAME,...", help="peers to measure (default: %(default)s)")
    add(
        "--server",
        action="append",
        default=[],
        type=_named_command,
        metavar="NAME=COMMAND",
        help="measure this scoop-server too, as NAME and NAME-memory; can be given several times",
    )
    add(
        "--output",
        type=Path,
        default=Path("build/bench"),
        metavar="DIR",
        help="directory of the results (default: %(default)s)",
    )
    return parser


def _number(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(f"expected at least 1, got {number}")
    return number


def _rows(text: str) -> tuple[str, ...]:
    return tuple(str(Shape.parse(each)) for each in text.split(","))


def _named_command(text: str) -> tuple[str, list[str]]:
    named = re.fullmatch(r"([\w.-]+)=(.+)", text)
    if named is None:
        raise ValueError(f"{text!r} is not NAME=COMMAND")
    return named[1], shlex.split(named[2])


def _choose_peers(names: Sequence[str], commands: Sequence[tuple[str, list[str]]], *, has_redis: bool) -> list[Peer]:
    peers: list[Peer] = []
    if "scoop" in names:
        peers.append(ScoopPeer("scoop", _SCOOP_COMMAND, keeps_changes=True))
    if "scoop-memory" in names:
        peers.append(ScoopPeer("scoop-memory", _SCOOP_COMMAND, keeps_changes=False, has_twin="scoop" in names))
    for name, command in commands:
        peers.append(ScoopPeer(name, command, keeps_changes=True))
        peers.append(ScoopPeer(f"{name}-memory", command, keeps_changes=False, has_twin=True))
    if "floor" in names:
        peers.append(FloorPeer("floor"))
    if "redis" in names and has_redis:
        peers.append(RedisPeer("redis"))
    if "redis-aof" in names and has_redis:
        peers.append(RedisPeer("redis-aof", keeps_changes=True, has_twin="redis" in names))
    return peers


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return its exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    names = options.peers.split(",")
    for what, given, known in (("section", options.sections, SECTIONS), ("peer", names, BUILT_IN_PEERS)):
        if unknown := set(given).difference(known):
            parser.error(f"unknown {what}: {', '.join(sorted(unknown))}; expected some of {', '.join(known)}")
    scale = QUICK if options.quick else FULL
    given_scale = {
        "rows": options.rows,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "random_packages": options.packages,
    }
    scale = replace(scale, **{name: value for name, value in given_scale.items() if value is not None})
    redis_version = find_redis()
    peers = _choose_peers(names, options.server, has_redis=redis_version is not None)
    options.output.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that every server is stopped
    _allow_many_connections()
    processors = Processors.choose()
    processors.take_own()
    try:
        with tempfile.TemporaryDirectory(prefix="servers-", dir=options.output) as directory:
            laboratory = Laboratory(Path(directory).absolute(), processors, scale.rounds, scale.seconds)
            benchmark = Benchmark(laboratory, peers, scale)
            benchmark.describe(describe_machine(Path(directory), processors, redis_version))
            try:
                for name, section in SECTIONS.items():
                    if name in options.sections or not options.sections:
                        section(benchmark)
                benchmark.conclude()
            finally:
                benchmark.save(options.output)
    except (ServerError, LoadError, ConnectionError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _allow_many_connections() -> None:
    """Raise the limit of file descriptors to the maximum; the servers inherit it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
