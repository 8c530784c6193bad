"""Measure the explorer beside a loaded server: ``python -m bench.explorer_load [--packages N] [--seconds S]``.

Makes a data directory of so many packages, starts a server on it and the explorer beside it. First it requests pages of
each kind one after the other, while nothing changes. Then a client changes the index at a steady rate while others
request pages, also at a steady rate: a request that is late counts from the time at which it was due. Prints the time
until the explorer is ready, the lag of changes, the durations of pages as the explorer and as its clients see them, the
memory, and what each process used of the processors.

At last it measures what the server loses to the explorer: with the explorer stopped and continued in turn, the changes
that the server makes at full speed, and its processor time for each. If there are two processors, the explorer has one,
server and client share the other. For comparison, a process that never touches the server's files takes the explorer's
place. The exit status is 0 if every goal is reached.
"""

import argparse
import http.client
import os
import queue
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, Self

from bench.explorer_pages import sample, time_pages, urls_by_kind
from bench.servers import Processors, Server, cpu_seconds
from bench.workloads import HOMEBREW, read_packages

READY_SECONDS_MAX: Final = 10.0
MEMORY_MEGABYTES_MAX: Final = 1_024.0
LAG_SECONDS_MAX: Final = 1.0
PAGE_MILLISECONDS_MAX: Final = 50.0
LOSS_PERCENT_MAX: Final = 3.0

_TICKS_PER_SECOND: Final = 20
"""Batches of changes per second."""

_CLIENTS: Final = 24
"""Connections that request pages: enough for the rate while single pages take a tenth of a second."""

_LAG_LOOK_SECONDS: Final = 0.02

_CHANGES_AT_FULL_SPEED: Final = 20_000
"""Without a rate, batches as large as at this rate follow each other immediately."""

_TURN_SECONDS: Final = 1.0
"""The time for which the explorer is stopped or follows, while the server's loss is measured."""

_COMPUTE: Final = "while True: dict.fromkeys(map(str, range(100_000)))"
"""A program beside which the server loses what it loses to any busy processor that shares caches with its own."""

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


class _Background(ABC):
    """A thread that calls :meth:`_work` from the start of a ``with`` block until its end."""

    def __init__(self) -> None:
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        try:
            self._thread.start()
        except SystemExit:  # SIGTERM while the thread starts: the block does not begin, and the servers end
            self._ending.set()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._work()
        except (OSError, http.client.HTTPException, AssertionError):
            if not self._ending.is_set():
                raise

    @abstractmethod
    def _work(self) -> None:
        """Work until ``_ending`` is set."""


class Changes(_Background):
    """A client that changes the index ``rate`` times per second, or as fast as the server makes the changes."""

    def __init__(self, server: tuple[str, int], rate: int | None) -> None:
        super().__init__()
        self.progress = (0, 0.0)
        """The number of changes until now, and the time of the last one."""
        self.marks: queue.SimpleQueue[tuple[str, float]] = queue.SimpleQueue()
        """A new package of each second, and the time at which the server acknowledged it."""
        self._server = server
        self._lines = (rate or _CHANGES_AT_FULL_SPEED) // _TICKS_PER_SECOND
        self._pause = 0.0 if rate is None else 1 / _TICKS_PER_SECOND

    def _work(self) -> None:
        commands = ("INDEX", "REMOVE")
        texts = ["".join(f"{each}|changing-{number}|\n" for number in range(self._lines)) for each in commands]
        started = time.perf_counter()
        with socket.create_connection(self._server) as connection:
            turn = 0
            while not self._ending.is_set():
                mark = f"INDEX|mark-{turn}|\n" if turn % _TICKS_PER_SECOND == 0 else ""
                count = self._lines + bool(mark)
                connection.sendall(f"{texts[turn % 2]}{mark}".encode())
                answers = bytearray()
                while len(answers) < 3 * count:
                    answers += connection.recv(65_536) or b"end"
                if answers != b"OK\n" * count:
                    raise AssertionError("a change was not answered OK")
                now = time.perf_counter()
                if mark:
                    self.marks.put((f"mark-{turn}", now))
                self.progress = (self.progress[0] + count, now)
                turn += 1
                self._ending.wait(max(0.0, started + turn * self._pause - now))


class Lags(_Background):
    """A client that notes how late the explorer shows the marks of ``changes``."""

    def __init__(self, changes: Changes, explorer: int) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._changes, self._explorer = changes, explorer

    def _work(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._explorer)
        while not (self._ending.is_set() and self.seconds):
            name, acknowledged_at = self._changes.marks.get()
            while b'"name"' not in get(connection, f"/api/v1/packages/{name}"):
                time.sleep(_LAG_LOOK_SECONDS)
            self.seconds.append(time.perf_counter() - acknowledged_at)
        connection.close()


def get(connection: http.client.HTTPConnection, path: str) -> bytes:
    """Return the body of a response."""
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    except (http.client.HTTPException, OSError):  # an idle connection that was closed meanwhile
        connection.close()
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
            get(connection, path)
            durations.append(time.perf_counter() - at)
        connection.close()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    try:
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
    finally:  # the explorer must not end before its clients
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


def children_seconds(process: int) -> float:
    """Return the processor time of the children of a process that have ended."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


class Uses:
    """The processor time of all processes, from its creation on."""

    def __init__(self, server: int, explorer: int) -> None:
        self._server, self._explorer = server, explorer
        self._before = self._used()
        self._started = time.perf_counter()

    def report(self) -> None:
        """Print the time of each as a share of one processor."""
        seconds = time.perf_counter() - self._started
        for name, used in self._used().items():
            report(f"processor of {name}", 100 * (used - self._before[name]) / seconds, "%")

    def _used(self) -> dict[str, float]:
        return {
            "the server": cpu_seconds(self._server),
            "the explorer": cpu_seconds(self._explorer),
            "its counting processes": children_seconds(self._explorer),
            "the clients": time.process_time(),
        }


def pin(process: int, processor: int) -> None:
    """Move all threads of a process to a processor."""
    for thread in Path(f"/proc/{process}/task").iterdir():
        with suppress(ProcessLookupError):  # it has just ended
            os.sched_setaffinity(int(thread.name), {processor})


class Cost(NamedTuple):
    """The work of the server in a period, and its cost."""

    rate: float
    """Changes per second."""
    seconds: float
    """Processor time of a change."""


class Losses:
    """The share that a server under full load loses to other processes, each of which runs in turn, and then none."""

    def __init__(self, server: Server, others: Mapping[str, int]) -> None:
        self._server = server
        self._others = others
        self._costs: dict[str, list[Cost]] = {name: [] for name in ("nothing", *others)}

    def measure(self, turns: int) -> None:
        """Measure so many turns. The other processes run afterwards."""
        processors = Processors.choose()
        if processors.server is not None and processors.generator is not None:
            for process in (self._server.pid, os.getpid()):
                pin(process, processors.server)
            for process in self._others.values():
                pin(process, processors.generator)
        with Changes(self._server.address, None) as changes:
            time.sleep(_TURN_SECONDS)
            try:
                for _ in range(turns):
                    for running, costs in self._costs.items():
                        for name, process in self._others.items():
                            os.kill(process, signal.SIGCONT if name == running else signal.SIGSTOP)
                        costs.append(self._cost(changes))
            finally:
                for process in self._others.values():
                    os.kill(process, signal.SIGCONT)

    def _cost(self, changes: Changes) -> Cost:
        (before, start), used = changes.progress, self._server.cpu_seconds()
        time.sleep(_TURN_SECONDS)
        while changes.progress[0] == before:  # a stalled disk
            time.sleep(_TURN_SECONDS)
        (after, end), used = changes.progress, self._server.cpu_seconds() - used
        return Cost((after - before) / (end - start), used / (after - before))

    def report(self, name: str, limit: float | None = None) -> bool:
        """Print the medians of the losses to a process; return whether they are within the limit."""
        pairs = list(zip(self._costs["nothing"], self._costs[name], strict=True))
        more = statistics.median(100 * (cost.seconds / alone.seconds - 1) for alone, cost in pairs)
        report(f"processor time of a change beside {name}, more by", more, "%")
        less = statistics.median(100 * (1 - cost.rate / alone.rate) for alone, cost in pairs)
        return report(f"changes per second beside {name}, less by", less, "%", limit)


def report(name: str, value: float, unit: str, limit: float | None = None) -> bool:
    """Print a figure and its goal; return whether it is reached."""
    is_reached = limit is None or value <= limit
    goal = "" if limit is None else f" (goal: {limit:g} {unit}{'' if is_reached else ': MISSED'})"
    print(f"{name}: {value:.3g} {unit}{goal}", flush=True)
    return is_reached


def report_pages(port: int, explorer: int, urls_by_kind: Mapping[str, Sequence[str]]) -> list[bool]:
    """Request the pages of each kind, and print their durations; return whether each kind reaches its goal."""
    reached = []
    incomplete = total = 0
    for kind, urls in urls_by_kind.items():
        before = cpu_seconds(explorer)
        pages = time_pages(port, urls)
        report(f"processor time of {kind}", 1_000 * (cpu_seconds(explorer) - before) / len(pages), "ms")
        durations = [1_000 * page.seconds for page in pages]
        incomplete += sum(not page.is_complete for page in pages)
        total += len(pages)
        report(f"p50 of {kind}", percentile(durations, 0.5), "ms")
        reached.append(report(f"p99 of {kind}", percentile(durations, 0.99), "ms", PAGE_MILLISECONDS_MAX))
    report("pages that appeared before their whole answer", 100 * incomplete / total, "%")
    return reached


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
        names, hubs = sample(file, 10_000)
    dump.unlink()
    serve = [*server_command, "--port", "0", "--data-dir", str(path)]
    with Server(serve, directory / "log", Processors(None, None)) as server:
        server.wait_until_listening()
        with exploring(path) as (port, pid, ready_seconds):
            reached = [report("ready", ready_seconds, "s", READY_SECONDS_MAX)]
            report("processor time until then", cpu_seconds(pid), "s")
            reached += report_pages(port, pid, urls_by_kind(names, hubs, options.pages))
            with Changes(server.address, options.changes) as changes, Lags(changes, port) as lags:
                print(f"requesting pages: {options.seconds:g} s", flush=True)
                before, made, started = buckets(port), changes.progress[0], time.perf_counter()
                uses = Uses(server.pid, pid)
                durations = request_pages(port, names, options.rate, options.seconds)
                seconds = time.perf_counter() - started
                report("changes", (changes.progress[0] - made) / seconds, "per second")
                report("requests", len(durations) / seconds, "per second")
                uses.report()
                after = buckets(port)
            reached.append(report("lag, median", percentile(lags.seconds, 0.5), "s"))
            reached.append(report("lag, largest", max(lags.seconds), "s", LAG_SECONDS_MAX))
            counts = {bound: count - before.get(bound, 0) for bound, count in after.items()}
            within = min(bound for bound, count in counts.items() if count >= 0.99 * counts[float("inf")])
            reached.append(report("p99 on the server side, at most", 1_000 * within, "ms", PAGE_MILLISECONDS_MAX))
            report("p50 as clients see it", 1_000 * percentile(durations, 0.5), "ms")
            report("p99 as clients see it", 1_000 * percentile(durations, 0.99), "ms")
            reached.append(report("memory, largest", peak_megabytes(pid), "MB", MEMORY_MEGABYTES_MAX))
            with subprocess.Popen([sys.executable, "-c", _COMPUTE]) as computing:
                try:
                    losses = Losses(server, {"the explorer": pid, "a process that only computes": computing.pid})
                    losses.measure(options.turns)
                finally:
                    computing.kill()
            reached.append(losses.report("the explorer", LOSS_PERCENT_MAX))
            losses.report("a process that only computes")
    return all(reached)


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench.explorer_load", description=__doc__.partition("\n")[0])
    parser.add_argument("--packages", type=int, default=1_000_000, help="(default: 1000000)")
    parser.add_argument(
        "--graph", choices=["homebrew", "random"], default="homebrew",
        help="copies of the Homebrew list, or five random dependencies each (default: homebrew)",
    )  # fmt: skip
    parser.add_argument(
        "--pages", type=int, default=200, help="of each kind, alone and without changes (default: 200)"
    )  # fmt: skip
    parser.add_argument("--changes", type=int, default=20_000, help="per second (default: 20000)")
    parser.add_argument("--rate", type=int, default=200, help="pages per second (default: 200)")
    parser.add_argument("--seconds", type=float, default=30.0, help="(default: 30)")
    parser.add_argument("--turns", type=int, default=20, help="of 3 s, for the loss of the server (default: 20)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the server is stopped
    print(f"load average {os.getloadavg()[0]:.1f} at the start")
    with tempfile.TemporaryDirectory(prefix="scoop-explorer-") as directory:
        return 0 if measure(Path(directory), options) else 1


if __name__ == "__main__":
    sys.exit(main())
