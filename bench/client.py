"""The benchmark of scoop-client: ``python -m bench.client``.

One blocking client sends ``QUERY`` at depth 100, in rounds that alternate with a load generator in C on the same
server. Then ``scoop load`` sends packages with three dependencies each to an empty server. The server has one
processor, and its clients have the other one.
"""

import argparse
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Final

from bench.servers import Processors, ScoopPeer, Server
from scoop_core import Command, Request

from scoop_client import Client

DEPTH: Final = 100
DEPENDENCIES: Final = 3
SERVER: Final = ScoopPeer("scoop-server", [sys.executable, "-m", "scoop_server"], keeps_changes=False)

_SOURCE: Final = Path(__file__).parent / "query_load.c"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure both and print the medians; without gcc only the client is measured."""
    parser = argparse.ArgumentParser("python -m bench.client", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="rounds of queries (default: %(default)s)")
    parser.add_argument("--queries", type=int, default=300_000, help="queries of a round (default: %(default)s)")
    parser.add_argument("--packages", type=int, default=1_000_000, help="packages to load (default: %(default)s)")
    options = parser.parse_args(arguments)
    processors = Processors.choose()
    processors.take_own()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with SERVER.running(directory, processors) as server:
            measure_queries(server, compile_generator(directory), options.rounds, options.queries)
        with SERVER.running(directory, processors) as server:
            measure_load(server, write_packages(directory / "packages", options.packages), options.packages)
    return 0


def compile_generator(directory: Path) -> Path | None:
    """Return the compiled load generator, or None without gcc."""
    if shutil.which("gcc") is None:
        return None
    program = directory / "query_load"
    subprocess.run(["gcc", "-O2", "-o", program, _SOURCE], check=True)
    return program


def measure_queries(server: Server, generator: Path | None, rounds: int, count: int) -> None:
    """Print the rates of the client and of ``generator``, and the median of their ratios."""
    host, port = server.address
    client_rates: list[float] = []
    generator_rates: list[float] = []
    with Client(f"{host}:{port}", max_unanswered=DEPTH) as client:
        client.index("gmp")
        for _ in range(rounds):
            client_rates.append(count / seconds_of(lambda: query(client, count)))
            if generator is not None:
                run = partial(subprocess.run, [generator, host, str(port), str(DEPTH), str(count)], check=True)
                generator_rates.append(count / seconds_of(run))
    print(f"client, depth {DEPTH}: {statistics.median(client_rates):,.0f} QUERY/s")
    if generator_rates:
        ratio = statistics.median(map(float.__truediv__, client_rates, generator_rates))
        print(f"generator in C, depth {DEPTH}: {statistics.median(generator_rates):,.0f} QUERY/s")
        print(f"ratio: {ratio:.2f}")


def query(client: Client, count: int) -> None:
    """Send ``count`` queries, each of which must be answered OK."""
    request = Request.of(Command.QUERY, "gmp")
    if not all(response for _, response in client.stream(repeat(request, count))):
        raise AssertionError


def write_packages(path: Path, count: int) -> Path:
    """Write protocol lines in dependency order, the same at each call."""
    chance = random.Random(1)
    with path.open("w") as file:
        for number in range(count):
            names = {f"package-{chance.randrange(number)}" for _ in range(min(number, DEPENDENCIES))}
            file.write(f"INDEX|package-{number}|{','.join(sorted(names))}\n")
    return path


def measure_load(server: Server, path: Path, count: int) -> None:
    """Print the elapsed time of ``scoop load`` beside the processor time of the server."""
    host, port = server.address
    command = [sys.executable, "-m", "scoop_client.cli.main", "--server", f"{host}:{port}", "load", str(path)]
    before = server.cpu_seconds()
    seconds = seconds_of(lambda: subprocess.run(command, check=True, stderr=subprocess.DEVNULL))
    own = server.cpu_seconds() - before
    print(f"scoop load of {count:,} packages: {seconds:.2f} s; processor time of the server: {own:.2f} s")
    print(f"ratio: {seconds / own:.2f}")


def seconds_of(run: Callable[[], object]) -> float:
    """Return the elapsed time of a call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
