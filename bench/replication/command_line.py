"""The command ``python -m bench.replication``."""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bench import report
from bench.load_generator import SCOOP, LoadError, connected, make_blocks
from bench.machine import describe_machine
from bench.measurements import Figures, Laboratory
from bench.replication.servers import SCOOP_COMMAND, UNPINNED, ReplicatedPeer, etcd_running, is_etcd_missing
from bench.servers import Peer, ScoopPeer, Server, ServerError
from bench.workloads import HOMEBREW, Packages, change, index_lines, query, random_packages, read_packages

CLIENTS: Final = 100

DEPTHS: Final = (1, 16)

_FOLLOW_CLIENTS: Final = 20
_FOLLOW_DEPTH: Final = 100


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio that is to be reached."""

    text: str
    factor: float
    reached: float

    def row(self) -> tuple[str, str, str]:
        """Return the row of the table."""
        return (self.text, f"{self.factor:g}", f"{self.reached:.2f}")


class Benchmark:
    """One run, in a directory on the disk whose syncs are measured."""

    def __init__(self, directory: Path, rounds: int, seconds: float, package_count: int) -> None:
        self._directory = directory
        self._rounds = rounds
        self._seconds = seconds
        self._package_count = package_count
        self._laboratory = Laboratory(directory, UNPINNED, rounds, seconds)
        self._packages = read_packages(HOMEBREW)
        self.goals: list[Goal] = []

    def _etcd(self, resources: ExitStack, size: int) -> Sequence[str]:
        return resources.enter_context(etcd_running(self._laboratory.new_directory(), size))

    def _compare(self, title: str, peers: Sequence[Peer], packages: Packages, load: str, depth: int) -> list[float]:
        """Measure the peers in alternation; return the responses per second of each."""
        workload = {"change": change, "query": query}[load](packages)
        with self._laboratory.contenders(peers, workload, len(packages)) as contenders:
            results = self._laboratory.compare(contenders, clients=CLIENTS, depth=depth)
        print(report.result_table(title, results), flush=True)
        return [result.median.answers_per_second for result in results]

    def changes(self) -> None:
        """Changes: a node on one member and on three, and the same node with a data directory."""
        with ExitStack() as resources:
            peers = [
                ScoopPeer("data directory", SCOOP_COMMAND, keeps_changes=True),
                ReplicatedPeer("one member", self._etcd(resources, 1)),
                ReplicatedPeer("three members", self._etcd(resources, 3)),
            ]
            for depth, factor in zip(DEPTHS, (0.4, 0.6), strict=True):
                title = f"Changes, {CLIENTS} clients at depth {depth}"
                single, one, _ = self._compare(title, peers, self._packages, "change", depth)
                self.goals.append(Goal(f"{title}: one member to a data directory", factor, one / single))

    def queries(self) -> None:
        """QUERY: linearizable and local reads, and the same node with a data directory."""
        with ExitStack() as resources:
            urls = self._etcd(resources, 1)
            peers = [
                ScoopPeer("data directory", SCOOP_COMMAND, keeps_changes=True),
                ReplicatedPeer("linearizable", urls),
                ReplicatedPeer("local", urls, "--reads", "local", prefix="/local/"),
            ]
            title = f"QUERY, {CLIENTS} clients at depth 1"
            single, linearizable, local = self._compare(title, peers, self._packages, "query", 1)
            self.goals.append(Goal(f"{title}: linearizable reads to a data directory", 0.3, linearizable / single))
            self.goals.append(Goal(f"{title}: local reads to a data directory", 0.95, local / single))

    def transactions(self) -> None:
        """Changes: a node, one transaction of etcd per request, and etcd alone."""
        with ExitStack() as resources:
            urls = self._etcd(resources, 1)
            node = ReplicatedPeer("a node", urls)
            other = self._etcd(resources, 1)[0].partition("//")[2]
            workload = change(self._packages)
            [contender] = resources.enter_context(self._laboratory.contenders([node], workload, len(self._packages)))
            clients = resources.enter_context(connected(contender.server.address, CLIENTS, SCOOP))
            for depth in DEPTHS:
                blocks = make_blocks(workload.lines, depth, SCOOP)
                run = partial(clients.run, workload, blocks, self._seconds)
                self._compare_transactions(partial(contender.measure, run), other, depth)

    def _compare_transactions(self, run: Callable[[], Figures], endpoint: str, depth: int) -> None:
        """Compare ``run``, which measures a node, with clients that send transactions to ``endpoint``."""
        in_flight = CLIENTS * depth
        rates = self._alternate(
            {
                "a node": lambda: run().answers_per_second,
                "a transaction per request": partial(self._without_scoop, endpoint, "--depth", str(depth)),
                f"etcd alone, entries of {in_flight:,} changes": partial(
                    self._without_scoop, endpoint, "--entry", str(in_flight)
                ),
            }
        )
        title = f"Changes per second, {CLIENTS} clients with {depth} in flight each"
        print(report.table(title, ("", "median"), [(name, f"{rate:,.0f}") for name, rate in rates.items()]), flush=True)
        ratio = rates["a node"] / rates["a transaction per request"]
        self.goals.append(Goal(f"{title}: a node to a transaction per request", 10, ratio))

    def _alternate(self, runs: Mapping[str, Callable[[], float]]) -> dict[str, float]:
        """Return the median of each."""
        rates: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(self._rounds):
            for name, run in runs.items():
                rates[name].append(run())
        return {name: statistics.median(values) for name, values in rates.items()}

    def _without_scoop(self, endpoint: str, *options: str) -> float:
        command = [sys.executable, "-m", "bench.replication.transactions", endpoint, str(self._seconds), *options]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def size(self) -> None:
        """A large index: restore, join, memory, and a node that follows the changes of another."""
        packages = random_packages(self._package_count)
        with ExitStack() as resources:
            directory = self._laboratory.new_directory()
            urls = resources.enter_context(etcd_running(directory, 1))
            restore = [*SCOOP_COMMAND, "restore", "--etcd", ",".join(urls)]
            dump = "".join(f"{line}\n" for line in index_lines(packages))
            started = time.perf_counter()
            subprocess.run(restore, input=dump, text=True, capture_output=True, check=True)
            restored = time.perf_counter() - started
            [database] = directory.glob("*/member/snap/db")
            database_bytes = database.stat().st_size
            peer = ReplicatedPeer("a node", urls)
            [one, other] = [self._start(resources, peer) for _ in range(2)]
            rate, behind = self._follow(one, other)
            peak_bytes = one.peak_bytes()
        count = f"{self._package_count:,} packages"
        rows = [
            ("restore", f"{restored:.1f} s"),
            ("database of etcd after that", f"{database_bytes / 1e6:,.0f} MB"),
            ("join", f"{one.start_seconds:.1f} s"),
            ("memory of a node", f"{peak_bytes / 1e6:,.0f} MB at most"),
            ("changes at one node", f"{rate:,.0f} per second"),
            ("another node after that", f"{behind:.2f} s behind"),
        ]
        print(report.table(count, ("", ""), rows), flush=True)
        self.goals.append(Goal(f"{count}: seconds to join, at most", 10, one.start_seconds))
        self.goals.append(Goal(f"{count}: thousands of changes per second that a node follows", 20, rate / 1000))

    def _start(self, resources: ExitStack, peer: Peer) -> Server:
        return resources.enter_context(peer.running(self._laboratory.new_directory(), UNPINNED))

    def _follow(self, one: Server, other: Server) -> tuple[float, float]:
        """Return the changes per second at one node, and the time that the other then needs to catch up."""
        workload = change(self._packages)
        with connected(one.address, _FOLLOW_CLIENTS, SCOOP) as clients, connected(other.address, 1, SCOOP) as reader:
            clients.run_once(iter(make_blocks(workload.preparation, _FOLLOW_DEPTH, SCOOP)))
            load = clients.run(workload, make_blocks(workload.lines, _FOLLOW_DEPTH, SCOOP), 5 * self._seconds)
            # A linearizable query waits until its node has applied all changes that were acknowledged.
            [block, *_] = make_blocks([f"QUERY|{next(iter(self._packages))}|"], 1, SCOOP)
            return load.messages / load.seconds, reader.run_once(iter([block])).seconds


SECTIONS: Final[Mapping[str, Callable[[Benchmark], None]]] = {
    "changes": Benchmark.changes,
    "queries": Benchmark.queries,
    "transactions": Benchmark.transactions,
    "size": Benchmark.size,
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    sections = "\n".join(f"  {name:14}{function.__doc__}" for name, function in SECTIONS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench.replication",
        description="Measure replicated nodes in alternating rounds of one run. Needs Linux and etcd.",
        epilog=f"sections:\n{sections}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("sections", nargs="*", metavar="SECTION", help="what to measure (default: all sections)")
    add("--rounds", type=int, default=5, metavar="N", help="rounds of alternation (default: %(default)s)")
    add("--seconds", type=float, default=1.0, metavar="S", help="length of a round (default: %(default)s)")
    add("--packages", type=int, default=1_000_000, metavar="N", help="packages of a large index (default: %(default)s)")
    add("--output", type=Path, default=Path("build/bench"), metavar="DIR", help="where the servers keep their data")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return its exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if unknown := set(options.sections).difference(SECTIONS):
        parser.error(f"unknown section: {', '.join(sorted(unknown))}; expected some of {', '.join(SECTIONS)}")
    if is_etcd_missing():
        print("skipped: etcd is not installed (etcd-server)")
        return 0
    options.output.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="servers-", dir=options.output) as directory:
            benchmark = Benchmark(Path(directory).absolute(), options.rounds, options.seconds, options.packages)
            for name, value in describe_machine(Path(directory), UNPINNED, None).items():
                if name not in {"redis", "pinned"}:
                    print(f"{name:11}{value}")
            print(f"{'rounds':11}{options.rounds} of {options.seconds:g} s, in alternation\n", flush=True)
            for name in options.sections or SECTIONS:
                SECTIONS[name](benchmark)
    except (ServerError, LoadError, ConnectionError, subprocess.CalledProcessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if benchmark.goals:
        print(report.table("Goals", ("", "goal", "reached"), [goal.row() for goal in benchmark.goals]))
    return 0
