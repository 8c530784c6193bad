"""The latency of a healthy client beside each kind of hostile clients: ``python -m tests.latency.run --seconds 10``.

For each row a real server starts, and one process of hostile clients, with a lower priority, attacks it while a healthy
client sends one request at a time. A row is marked where the client waited more than 50 ms (p99) or 250 ms (at most).
The share of one processor that the server used shows where the attack, which shares the machine, was the bottleneck.
The exit status is 0 if the healthy client was served in every row: the latencies depend on the machine.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from scoop_server.cli.directory import DirectorySource

from tests.latency.attacks import CHAIN, LISTED, name_of
from tests.support.certificates import CertificateFiles
from tests.support.process import ServerProcess

P99_MS_MAX: Final = 50.0
LONGEST_MS_MAX: Final = 250.0

_WARM_UP_SECONDS: Final = 0.5
"""For which an attack runs before the first request, so that its queues are full."""


@dataclass(frozen=True)
class Row:
    """One kind of hostile clients. ``target`` is the number of the listener that they attack, or "admin"."""

    name: str
    clients: int = 0
    attack: str = ""
    arguments: tuple[str, ...] = ()
    target: int | str = 0
    handshake_pause: float | None = None
    """The round trip of healthy TLS clients at the last listener; None: a healthy client without TLS at the first."""


_REJECT_CYCLES: Final = ("--reject-cycles",)
_TLS: Final = ("--listen", "tcp:127.0.0.1:0", "--listen", "tls:127.0.0.1:0")
_NAMED: Final = (
    *("--listen", "tcp:127.0.0.1:0", "--listen", "tls:127.0.0.1:0?read-only&anonymous"),
    *("--listen", "tls:127.0.0.1:0?subject=builder@scoop.test", "--max-clients", "50", "--max-clients-per-peer", "0"),
)
_ADMIN: Final = ("--admin", "127.0.0.1:0")

ROWS: Final = (
    Row("no other client"),
    Row("idle", 5_000, "idle"),
    Row("a byte a second", 500, "slow"),
    Row("`QUERY` without pause", 500, "query"),
    Row("the same, with `--access-log`", 20, "query", ("--access-log",)),
    Row("newlines without pause", 500, "newlines"),
    Row("`\\|\\|\\|` without pause", 500, "bars"),
    Row("`INDEX\\|a\\|,` without pause", 500, "malformed"),
    Row("64 KiB of newlines per write, repeatedly", 500, "burst-newlines"),
    Row("64 KiB of `INDEX\\|a\\|,` per write, repeatedly", 500, "burst-malformed"),
    Row("`INDEX` and `REMOVE` of one package", 500, "changes"),
    Row(f"lists of {LISTED:,} names, each different from the last", 500, "lists"),
    Row("a line without an end", 500, "long-line"),
    Row("`QUERY` without reading responses", 500, "unread"),
    Row("connecting, and resetting the connection", 100, "flood-reset"),
    Row("connecting, and ending the connection", 100, "flood-end"),
    Row(f"closing a chain of {CHAIN:,}, with `--reject-cycles`", 20, "cycle", _REJECT_CYCLES),
    Row("closing it by one list of 12,000 names", 500, "cycle-lists", _REJECT_CYCLES),
    Row("2,500 silent TLS connections a second", 3_000, "tls-silent", _TLS, 1),
    Row("2,500 TLS hellos a second, and nothing else", 3_000, "tls-hello", _TLS, 1),
    Row("10,000 half handshakes a second, from one address", 3_000, "tls-half", _TLS, 1, 0.15),
    Row("anonymous clients on all places, at another listener", 100, "tls-places", _NAMED, 1, 0.0),
    Row("`/metrics` without pause, at the admin endpoint", 40, "metrics", _ADMIN, "admin"),
)


@dataclass(frozen=True)
class Figures:
    """The result of one row, in milliseconds."""

    row: Row
    requests: int
    p50: float
    p99: float
    longest: float
    longest_connecting: float
    server_share: float
    """The processor time of the server, as a share of the time."""

    @property
    def is_over(self) -> bool:
        """True if the healthy client waited longer than it should."""
        round_trips = 3_000 * (self.row.handshake_pause or 0)
        longest = max(self.longest, self.longest_connecting)
        return self.p99 > P99_MS_MAX + round_trips or longest > LONGEST_MS_MAX + round_trips

    def __str__(self) -> str:
        connecting = f"{self.longest_connecting:.1f}" if self.longest_connecting else ""
        times = f"{self.p50:.1f} | {self.p99:.1f} | {self.longest:.1f} | {connecting}"
        mark = ": **over**" if self.is_over else ""
        return f"| {self.row.name}{mark} | {self.row.clients:,} | {times} | {self.server_share:.0%} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for, and print a table; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.latency.run", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each row (default: 10)")
    parser.add_argument("--rows", help="the attacks to run, such as lists,cycle (default: all)")
    options = parser.parse_args(arguments)
    chosen = options.rows.split(",") if options.rows else [row.attack for row in ROWS]
    over = []
    print("| beside | clients | p50 | p99 | longest | longest, connecting | server |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="scoop-latency-") as path:
        for number, row in enumerate(ROWS):
            if row.attack in chosen:
                figures = measure(row, Path(path) / str(number), options.seconds)
                print(figures, flush=True)
                over += [row.name] * figures.is_over
    print(f"\n{len(over)} rows over {P99_MS_MAX:.0f} ms (p99) or {LONGEST_MS_MAX:.0f} ms: {', '.join(over) or 'none'}")
    return 0


def measure(row: Row, path: Path, seconds: float) -> Figures:
    """Measure one row with the new directory ``path``."""
    path.mkdir()
    arguments = ["--max-clients-per-peer", "10000", *row.arguments]  # the attack and the probe have one address
    if "--listen" in arguments:
        files = CertificateFiles.make(path / "tls")
        arguments += files.mutual_arguments if row.arguments is _NAMED else files.server_arguments
    DirectorySource(str(path / "data")).restore(BytesIO(_packages(row).encode()))
    with ServerProcess("--data-dir", str(path / "data"), *arguments) as server, _attacking(row, server):
        time.sleep(_WARM_UP_SECONDS)
        cpu, started = server.cpu_seconds(), time.perf_counter()
        command = [sys.executable, "-m", "tests.latency.probe", server.host, str(server.port), str(seconds)]
        if row.handshake_pause is not None:
            host, _, port = server.addresses[-1].partition("?")[0].removeprefix("tls:").rpartition(":")
            more = [str(seconds), str(path / "tls"), str(row.handshake_pause)]
            command = [sys.executable, "-m", "tests.latency.handshakes", host, port, *more]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 240)
        share = (server.cpu_seconds() - cpu) / (time.perf_counter() - started)
    times = json.loads(done.stdout)
    latencies = sorted(times["established"])
    return Figures(
        row,
        len(latencies),
        latencies[len(latencies) // 2],
        latencies[len(latencies) * 99 // 100],
        latencies[-1],
        max(times["connecting"], default=0.0),
        share,
    )


def _packages(row: Row) -> str:
    """Return the requests that index what the row needs."""
    names = [name_of(number) for number in range(CHAIN if row.attack.startswith("cycle") else LISTED)]
    is_chain = row.attack.startswith("cycle")
    lines = (f"INDEX|{name}|{below if is_chain else ''}\n" for name, below in zip(names, ["", *names], strict=False))
    return "INDEX|base|\n" + "".join(lines)


@contextmanager
def _attacking(row: Row, server: ServerProcess) -> Iterator[None]:
    """Run the attack of ``row`` meanwhile."""
    if not row.attack:
        yield
        return
    if isinstance(row.target, int):
        address = server.addresses[row.target].removeprefix("tls:").partition("?")[0]
    else:
        address = server.wait_for_log(r"http://([0-9.:]+)")[1]
    command = [sys.executable, "-m", "tests.latency.attacks", row.attack, *address.split(":"), str(row.clients)]
    attack = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert attack.stdout is not None
        if not attack.stdout.readline():
            raise AssertionError(f"the attack {row.attack} has failed")
        yield
    finally:
        attack.kill()
        attack.wait()
        if attack.stdout is not None:
            attack.stdout.close()


if __name__ == "__main__":
    sys.exit(main())
