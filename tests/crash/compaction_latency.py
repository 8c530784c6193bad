"""The effect of a compaction on latency: ``python -m tests.crash.compaction_latency [--packages N] [--rate N]``.

Steady clients change packages of a large index, at fixed times whether or not the server has answered, and
the time from when a request was due to its response is printed in percentiles, with and without a running compaction.
So is what the calls of the server's own thread take, from the moment a compaction is asked for to its end.
"""

import argparse
import selectors
import signal
import socket
import sys
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from io import BytesIO
from random import Random
from selectors import EVENT_READ
from typing import Final

from scoop_server.cli.directory import DirectorySource

from tests.crash import timed_server
from tests.crash.victim import Victim
from tests.support.process import WAIT_SECONDS

_CLIENTS: Final = 10
_DEPENDENCIES_EACH: Final = 5
_PERCENTILES: Final = (50.0, 99.0, 99.9, 100.0)
_SECONDS_MAX: Final = 600.0


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.compaction_latency", description=__doc__)
    parser.add_argument("--packages", type=int, default=200_000, help="(default: 200000)")
    parser.add_argument("--rate", type=int, default=200, help="requests a second (default: 200)")
    parser.add_argument("--rounds", type=int, default=5, help="compactions (default: 5)")
    parser.add_argument("--fsync", default="always", help="(default: always)")
    parser.add_argument("--parent", help="where to make the data directory (default: the system's choice)")
    options = parser.parse_args()
    random = Random(options.packages)
    names = [f"package-{number:07}" for number in range(options.packages)]
    needed = (
        {names[int(number * random.random())] for _ in range(_DEPENDENCIES_EACH) if number}
        for number in range(options.packages)
    )
    lines = (f"INDEX|{name}|{','.join(names_of_one)}\n" for name, names_of_one in zip(names, needed, strict=True))
    with tempfile.TemporaryDirectory(prefix="scoop-latency-", dir=options.parent) as path:
        DirectorySource(path).restore(BytesIO("".join(lines).encode()))
        command = [sys.executable, str(timed_server.__file__)]
        server = Victim(command, "--data-dir", path, "--fsync", options.fsync)
        try:
            server.wait_for_log("listening on", _SECONDS_MAX)
            measurement = Measurement(server, names, options.rate)
            measurement.run(options.rounds)
            measurement.close()
            server.send_signal(signal.SIGTERM)
            server.wait_for_log("saved", _SECONDS_MAX)
        finally:
            server.kill()
            server.close()
    measurement.print()
    return 0


class Measurement:
    """The latencies of ``rate`` requests per second, in seconds, with and without compactions."""

    def __init__(self, server: Victim, names: Sequence[str], rate: int) -> None:
        self._server = server
        self._names = names
        self._interval = 1 / rate
        self._random = Random(rate)
        self._selector = selectors.DefaultSelector()
        self._selector.register(server, EVENT_READ, None)
        self._latencies: dict[bool, list[float]] = defaultdict(list)
        self._calls: dict[bool, dict[str, list[float]]] = {True: defaultdict(list), False: defaultdict(list)}
        self._log_read = len(server.log)
        self._is_compacting = False
        self._due: dict[socket.socket, deque[float]] = {}
        assert server.address is not None
        for _ in range(_CLIENTS):
            client = socket.create_connection(server.address, WAIT_SECONDS)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._due[client] = deque()
            self._selector.register(client, EVENT_READ, None)
        self._next_due = time.perf_counter()

    def run(self, rounds: int) -> None:
        """Measure; each compaction is followed by a time as long without one."""
        self._serve_until(self._next_due + 1.0)  # the first change begins a journal, and is none of this
        self._latencies.clear()
        for _ in range(rounds):
            started = time.perf_counter()
            self._is_compacting = True
            self._server.send_signal(signal.SIGUSR1)
            completed = self._server.log.count("is complete")
            while self._server.log.count("is complete") == completed:
                self._serve_until(time.perf_counter() + 0.1)
                if time.perf_counter() - started > _SECONDS_MAX:
                    raise AssertionError(f"the compaction does not end:\n{self._server.log}")
            self._is_compacting = False
            self._serve_until(2 * time.perf_counter() - started)

    def _serve_until(self, end: float) -> None:
        while (now := time.perf_counter()) < end:
            while self._next_due <= now:
                self._ask()
            for key, _ in self._selector.select(max(0.0, min(self._next_due, end) - time.perf_counter())):
                if key.fileobj is self._server:
                    self._server.read_log()
                    self._take_calls()
                elif isinstance(key.fileobj, socket.socket):
                    self._hear(key.fileobj)

    def _ask(self) -> None:
        client = self._random.choice(list(self._due))
        needed = ",".join(set(self._random.choices(self._names, k=_DEPENDENCIES_EACH)))
        self._due[client].append(self._next_due)
        client.sendall(f"INDEX|{self._random.choice(self._names)}|{needed}\n".encode())
        self._next_due += self._interval

    def _hear(self, client: socket.socket) -> None:
        answers = client.recv(65_536)
        now = time.perf_counter()
        if answers != b"OK\n" * (len(answers) // 3) or not answers:
            raise AssertionError(f"unexpected answers: {answers!r}")
        for _ in range(len(answers) // 3):
            self._latencies[self._is_compacting].append(now - self._due[client].popleft())

    def _take_calls(self) -> None:
        *lines, rest = self._server.log[self._log_read :].split("\n")
        self._log_read = len(self._server.log) - len(rest)
        for line in lines:
            if line.startswith("timed "):
                _, call, seconds = line.split()
                self._calls[self._is_compacting][call].append(float(seconds))

    def close(self) -> None:
        """Close the connections."""
        for client in self._due:
            client.close()
        self._selector.close()

    def print(self) -> None:
        """Print the results in milliseconds."""
        heads = [f"p{percentile:g}" if percentile < 100 else "max" for percentile in _PERCENTILES]
        print(f"{'':24} {'count':>8}", *(f"{head:>9}" for head in heads))
        for is_compacting, when in ((False, "without a compaction"), (True, "with a compaction")):
            print_row(when, self._latencies[is_compacting])
        for is_compacting, when in ((False, "without"), (True, "with")):
            for call, seconds in sorted(self._calls[is_compacting].items()):
                print_row(f"  {call}, {when}", seconds)


def print_row(name: str, seconds: list[float]) -> None:
    """Print percentiles in milliseconds."""
    ordered = sorted(seconds)
    values = [ordered[min(len(ordered) - 1, int(len(ordered) * each / 100))] * 1e3 for each in _PERCENTILES]
    print(f"{name:24} {len(ordered):8,}", *(f"{value:9.2f}" for value in values))


if __name__ == "__main__":
    sys.exit(main())
