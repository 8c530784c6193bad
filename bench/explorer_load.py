"""Measure the explorer beside a loaded server: ``python -m bench.explorer_load [--packages N] [--seconds S]``.

Makes a data directory of so many packages, starts a server on it and the explorer beside it. Then a client changes the
index at a steady rate while others request pages, also at a steady rate: a request that is late counts from the time at
which it was due. Prints the time until the explorer is ready, the lag of changes, the durations of pages as the
explorer and as its clients see them, and the memory. The exit status is 0 if every goal is reached.
"""

import argparse
import http.client
import os
import queue
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from bench.servers import Processors, Server
from bench.workloads import HOMEBREW, read_packages

READY_SECONDS_MAX: Final = 10.0
MEMORY_MEGABYTES_MAX: Final = 1_024.0
LAG_SECONDS_MAX: Final = 1.0
PAGE_MILLISECONDS_MAX: Final = 50.0

_TICKS_PER_SECOND: Final = 20
"""Batches of changes per second."""

_CLIENTS: Final = 24
"""Connections that request pages: enough for the rate while single pages take a tenth of a second."""

_LAG_LOOK_SECONDS: Final = 0.02

_BUCKET: Final = re.compile(r'scoop_explorer_request_seconds_bucket\{le="([^"]+)"\} (\d+)')


def random_lines(packages: int, chance: random.Random) -> Iterator[str]:
    """Yield packages that each depend on five of those before: nearly all need a tenth of all."""
    for number in range(packages):
        needed = {f"package-{int(number * chance.random()):07}" for _ in range(5) if number}
        yield f"INDEX|package-{number:07}|{','.join(sorted(needed))}\n"


def homebrew_lines(packages: int) -> Iterator[str]:
    """Yield copies of the Homebrew list, which share nothing."""
    lists = read_packages(HOMEBREW)
    for copy in range(-(-packages // len(lists))):
        for name, needed in lists.items():
            yield f"INDEX|{name}-{copy}|{','.join(f'{each}-{copy}' for each in needed)}\n"


class Changes:
    """A client that changes the index ``rate`` times per second, and notes how late the explorer shows a change."""

    def __init__(self, server: tuple[str, int], explorer: int, rate: int) -> None:
        self.lags: list[float] = []
        self.made = 0
        self._server, self._explorer, self._rate = server, explorer, rate
        self._ending = threading.Event()
        self._marks: queue.SimpleQueue[tuple[str, float] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._change), threading.Thread(target=self._look)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _change(self) -> None:
        count = self._rate // _TICKS_PER_SECOND
        started = time.perf_counter()
        with socket.create_connection(self._server) as connection:
            answers = connection.makefile("rb")
            turn = 0
            while not self._ending.is_set():
                command = ("INDEX", "REMOVE")[turn % 2]
                lines = [f"{command}|changing-{number}|\n" for number in range(count)]
                if turn % _TICKS_PER_SECOND == 0:
                    lines.append(f"INDEX|mark-{turn}|\n")
                connection.sendall("".join(lines).encode())
                for _ in lines:
                    if answers.readline() != b"OK\n":
                        raise AssertionError("a change was not answered OK")
                if turn % _TICKS_PER_SECOND == 0:
                    self._marks.put((f"mark-{turn}", time.perf_counter()))
                self.made += len(lines)
                turn += 1
                self._ending.wait(max(0.0, started + turn / _TICKS_PER_SECOND - time.perf_counter()))
        self._marks.put(None)

    def _look(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._explorer)
        while (mark := self._marks.get()) is not None:
            name, acknowledged_at = mark
            while f'"names":["{name}"'.encode() not in get(connection, f"/api/v1/search?limit=1&q={name}"):
                time.sleep(_LAG_LOOK_SECONDS)
            self.lags.append(time.perf_counter() - acknowledged_at)
        connection.close()


def get(connection: http.client.HTTPConnection, path: str) -> bytes:
    """Return the body of a response."""
    connection.request("GET", path)
    return connection.getresponse().read()


def request_pages(port: int, names: Sequence[str], rate: int, seconds: float) -> list[float]:
    """Request pages ``rate`` times per second; return the duration of each, from the time at which it was due."""
    due: queue.SimpleQueue[tuple[str, float] | None] = queue.SimpleQueue()
    durations: list[float] = []

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while (each := due.get()) is not None:
            path, at = each
            try:
                get(connection, path)
            except (http.client.HTTPException, OSError):  # an idle connection that was closed meanwhile
                connection.close()
                get(connection, path)
            durations.append(time.perf_counter() - at)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    chance = random.Random(1)
    started = time.perf_counter()
    for number in range(int(rate * seconds)):
        at = started + number / rate
        time.sleep(max(0.0, at - time.perf_counter()))
        name = chance.choice(names)
        page = chance.choice(
            [f"/packages/{name}"] * 5 + [f"/search?q={name[:9]}", f"/dependents/{name}", "/", "/changes", "/cycles"]
        )
        due.put((page, at))
    for _ in threads:
        due.put(None)
    for thread in threads:
        thread.join()
    return durations


def buckets(port: int) -> dict[float, int]:
    """Return the explorer's own histogram of durations, in seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    text = get(connection, "/metrics").decode()
    connection.close()
    return {float(bound): int(count) for bound, count in _BUCKET.findall(text)}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of the values do not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


@contextmanager
def exploring(path: Path) -> Iterator[tuple[int, int, float]]:
    """Yield port and process id of an explorer of the directory, and the seconds until it was ready."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "scoop_explorer.cli", str(path), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            port = int(process.stderr.readline().rpartition(":")[2])
            connection = http.client.HTTPConnection("127.0.0.1", port)
            while b"ok" not in get(connection, "/readyz"):
                time.sleep(0.05)
            connection.close()
            yield port, process.pid, time.perf_counter() - started
        finally:
            process.terminate()


def peak_megabytes(pid: int) -> float:
    """Return the largest resident memory of a process so far."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1_024


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process so far: the time of a start on a machine that is otherwise idle."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def report(name: str, value: float, unit: str, limit: float | None = None) -> bool:
    """Print a figure and its goal; return whether it is reached."""
    is_reached = limit is None or value <= limit
    goal = "" if limit is None else f" (goal: {limit:g} {unit}{'' if is_reached else ': MISSED'})"
    print(f"{name}: {value:.3g} {unit}{goal}", flush=True)
    return is_reached


def measure(directory: Path, options: argparse.Namespace) -> bool:
    """Measure, print, and return whether every goal is reached."""
    path = directory / "data"
    is_random = options.graph == "random"
    lines = random_lines(options.packages, random.Random(1)) if is_random else homebrew_lines(options.packages)
    dump = directory / "lines"
    with dump.open("w") as file:
        file.writelines(lines)
    server_command = [sys.executable, "-m", "scoop_server"]
    with dump.open("rb") as file:
        subprocess.run([*server_command, "restore", str(path)], stdin=file, check=True, stderr=subprocess.DEVNULL)
    with dump.open() as file:
        names = [line.split("|")[1] for line in file]
    names = random.Random(2).sample(names, min(len(names), 10_000))
    dump.unlink()
    serve = [*server_command, "--port", "0", "--data-dir", str(path)]
    with Server(serve, directory / "log", Processors(None, None)) as server:
        server.wait_until_listening()
        with exploring(path) as (port, pid, ready_seconds):
            reached = [report("ready", ready_seconds, "s", READY_SECONDS_MAX)]
            report("processor time until then", processor_seconds(pid), "s")
            with Changes(server.address, port, options.changes) as changes:
                before, started, used = buckets(port), time.perf_counter(), processor_seconds(pid)
                durations = request_pages(port, names, options.rate, options.seconds)
                after, seconds = buckets(port), time.perf_counter() - started
                report("changes", changes.made / seconds, "per second")
                report("processor of the explorer", 100 * (processor_seconds(pid) - used) / seconds, "%")
            report("requests", len(durations) / seconds, "per second")
            reached.append(report("lag, median", percentile(changes.lags, 0.5), "s"))
            reached.append(report("lag, largest", max(changes.lags), "s", LAG_SECONDS_MAX))
            counts = {bound: count - before.get(bound, 0) for bound, count in after.items()}
            within = min(bound for bound, count in counts.items() if count >= 0.99 * counts[float("inf")])
            reached.append(report("p99 on the server side, at most", 1_000 * within, "ms", PAGE_MILLISECONDS_MAX))
            report("p50 as clients see it", 1_000 * percentile(durations, 0.5), "ms")
            report("p99 as clients see it", 1_000 * percentile(durations, 0.99), "ms")
            reached.append(report("memory, largest", peak_megabytes(pid), "MB", MEMORY_MEGABYTES_MAX))
    return all(reached)


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench.explorer_load", description=__doc__.partition("\n")[0])
    parser.add_argument("--packages", type=int, default=1_000_000, help="(default: 1000000)")
    parser.add_argument(
        "--graph", choices=["homebrew", "random"], default="homebrew",
        help="copies of the Homebrew list, or five random dependencies each (default: homebrew)",
    )  # fmt: skip
    parser.add_argument("--changes", type=int, default=20_000, help="per second (default: 20000)")
    parser.add_argument("--rate", type=int, default=200, help="pages per second (default: 200)")
    parser.add_argument("--seconds", type=float, default=30.0, help="(default: 30)")
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} at the start")
    with tempfile.TemporaryDirectory(prefix="scoop-explorer-") as directory:
        return 0 if measure(Path(directory), options) else 1


if __name__ == "__main__":
    sys.exit(main())
