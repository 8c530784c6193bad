"""A long load of one server by clients of all kinds, and the measurements of the server meanwhile."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from random import Random
from statistics import median
from typing import Final

from scoop_server.cli.directory import DirectorySource

from tests.crash.load_client import NotAsPromisedError, OwnPackages, State
from tests.crash.scene import parse_dump
from tests.soak.connectors import connector
from tests.soak.visits import VISITS, Visit, Visitor, read_lines
from tests.support.admin import get, place_of
from tests.support.certificates import CertificateFiles
from tests.support.process import MODULE_COMMAND, WAIT_SECONDS, ServerProcess

EARLY: Final = (0.2, 0.4)
LATE: Final = (0.8, 1.0)
"""The shares of the samples that are compared. Before the early one, buffers and caches fill. The number of
descriptors varies with the connections, so it is taken at rest, before and after all visits."""

MEMORY_GROWTH_MAX: Final = 0.05
MEMORY_GROWTH_BYTES_MAX: Final = 1_048_576
"""Allowed growth from the early to the late median of memory: a share, and the bytes that the allocator retains."""

THREADS_GROWTH_MAX: Final = 1.0
"""Allowed growth of the number of threads: the admin endpoint answers some requests in threads of their own."""

LATENCY_GROWTH_MAX: Final = 3.0
LATENCY_GROWTH_MS_MAX: Final = 50.0
"""Allowed growth of the lowest median latency of the probe: a factor, and the noise of a busy machine. A slowdown that
grows with the number of served clients exceeds it in minutes."""

_COMPACTIONS: Final = 5

_SAMPLES_MIN: Final = 20
_SAMPLE_SECONDS_MAX: Final = 1.0
"""A sample is taken once a second, and more often in a short run, so that the windows contain enough of them."""

_ALONE: Final = ("scoop_connections 1.0", "scoop_handshakes 0.0")
_ALONE_SAMPLES_MAX: Final = 30
"""Number of samples within which a server must notice that all visitors have disconnected."""

_SETTLED_SAMPLES: Final = 8
"""Number of samples in a row with the same number of descriptors after which the server counts as at rest.
A compaction, which has a descriptor, must have ended."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The server at one moment, and the latency of the probe since the previous sample."""

    second: float
    resident_bytes: int
    descriptors: int
    threads: int
    answers: int
    p50_ms: float
    p99_ms: float


@dataclass(slots=True)
class Record:
    """The measurements of a run."""

    samples: list[Sample] = field(default_factory=list)
    visits: Counter[str] = field(default_factory=Counter)
    descriptors_before: tuple[str, ...] = ()
    descriptors_after: tuple[str, ...] = ()
    """The targets of the open descriptors. Both with only the probe connected, and without a compaction."""

    def window(self, name: str, share: tuple[float, float]) -> float:
        """Return the median of the field ``name`` of a share of the samples, and the minimum of a latency.

        Other load on the machine adds to latency, often for many samples in a row. A busy machine may take less than
        one sample in a share of a short run, so the shares are of the number of samples.
        """
        first, end = (int(limit * len(self.samples)) for limit in share)
        values = [getattr(each, name) for each in self.samples[first : max(end, first + 1)]]
        return float(min(values) if name.endswith("_ms") else median(values))

    def check(self, latency_growth_ms_max: float = LATENCY_GROWTH_MS_MAX) -> None:
        """Raise :exc:`NotAsPromisedError` if the server has changed between the start and the end."""
        early, late = (self.window("threads", share) for share in (EARLY, LATE))
        if late > early + THREADS_GROWTH_MAX:
            raise NotAsPromisedError(f"threads have grown from {early:.0f} to {late:.0f}")
        early, late = (self.window("resident_bytes", share) for share in (EARLY, LATE))
        if late > early * (1 + MEMORY_GROWTH_MAX) + MEMORY_GROWTH_BYTES_MAX:
            raise NotAsPromisedError(f"memory has grown from {early:,.0f} to {late:,.0f} bytes")
        before, after = self.descriptors_before, self.descriptors_after
        if len(after) != len(before):
            raise NotAsPromisedError(
                f"{len(after)} descriptors are open after all visits, {len(before)} before them: {after}; {before}"
            )
        # Last: in a short run on a busy machine, the latency may vary as well.
        early, late = (self.window("p50_ms", share) for share in (EARLY, LATE))
        if late > early * LATENCY_GROWTH_MAX + latency_growth_ms_max:
            raise NotAsPromisedError(f"a response took {early:.1f} ms early, and {late:.1f} ms late")

    def to_json(self) -> str:
        """Return the record as JSON."""
        return json.dumps(asdict(self) | {"visits": dict(self.visits)}, indent=1)

    def __str__(self) -> str:
        lines = [f"{self.visits.total():,} visits ({', '.join(f'{n:,} {name}' for name, n in self.visits.items())})"]
        for name, unit in (("resident_bytes", " bytes"), ("descriptors", ""), ("p50_ms", " ms"), ("p99_ms", " ms")):
            early, late = (self.window(name, share) for share in (EARLY, LATE))
            lines.append(f"{name}: {early:,.10g}{unit} early, {late:,.10g}{unit} late, ratio {late / early:.2f}")
        return "\n".join(lines)


class Soak:
    """One server on the directory ``path``, and the visits to it, planned by ``seed``."""

    def __init__(
        self,
        path: Path,
        seed: int,
        *,
        command: Sequence[str] = MODULE_COMMAND,
        latency_growth_ms_max: float = LATENCY_GROWTH_MS_MAX,
    ) -> None:
        self.record = Record()
        self._data = path / "data"
        self._certificates = CertificateFiles.make(path / "certificates")
        self._arguments = (
            *("--data-dir", str(self._data), "--listen", "tcp:127.0.0.1:0"),
            *("--listen", f"unix:{path / 'socket'}", "--listen", "tls:127.0.0.1:0"),
            *("--admin", "127.0.0.1:0"),
            *self._certificates.server_arguments,
        )
        self._command = command
        self._latency_growth_ms_max = latency_growth_ms_max
        self._random = Random(seed)
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._owners: list[OwnPackages] = []

    def run(self, seconds: float) -> None:
        """Run visits for so long, stop the server and start it again. Raises :exc:`NotAsPromisedError`."""
        with ServerProcess(*self._arguments, command=self._command) as server:
            with _probe(server.addresses[0], min(_SAMPLE_SECONDS_MAX, seconds / _SAMPLES_MIN)) as probe:
                for address in server.addresses:  # so that files that stay open are open before the count
                    with connector(address, self._certificates.authority)() as stream:
                        stream.send(b"QUERY|a|\n")
                        read_lines(stream, 1)
                self.record.descriptors_before = self._descriptors_at_rest(server, probe)
                visitors = self._start_visits(server.addresses)
                try:
                    self._watch(server, probe, seconds)
                finally:
                    self._stop.set()
                    for visitor in visitors:
                        visitor.join(WAIT_SECONDS)
                self._raise_failures()
                self._wait_until_alone(server, probe)
                self.record.descriptors_after = self._descriptors_at_rest(server, probe)
                probed = _end(probe)
            if server.stop() != 0:
                raise NotAsPromisedError("\n".join(["the server failed at its end:", *server.log_lines]))
        self._check_kept(probed)
        self.record.check(self._latency_growth_ms_max)

    # The visits

    def _start_visits(self, addresses: Sequence[str]) -> list[threading.Thread]:
        visitors = []
        for visit, pause in VISITS:
            for address in addresses:
                owner = OwnPackages(len(self._owners), {}, Random(self._random.random()))
                self._owners.append(owner)
                visitor = Visitor(
                    connector(address, self._certificates.authority), owner, Random(self._random.random()), self._stop
                )
                thread = threading.Thread(target=self._visit, args=(visitor, visit, pause), name=visit.__name__)
                thread.start()
                visitors.append(thread)
        return visitors

    def _visit(self, visitor: Visitor, visit: Visit, pause: float) -> None:
        try:
            while not self._stop.is_set():
                visit(visitor)
                self.record.visits[visit.__name__] += 1
                self._stop.wait(pause)
        except BaseException as error:  # the run fails with it
            self._failures.append(error)
            self._stop.set()

    def _raise_failures(self) -> None:
        if self._failures:
            raise NotAsPromisedError(f"a visit failed: {self._failures[0]!r}") from self._failures[0]

    # Measurements

    def _watch(self, server: ServerProcess, probe: "subprocess.Popen[str]", seconds: float) -> None:
        started = time.monotonic()
        compactions = 0
        while (passed := time.monotonic() - started) < seconds and not self._stop.is_set():
            self.record.samples.append(self._sample(server, probe, passed))
            self._scrape(server)
            if passed > (compactions + 1) * seconds / (_COMPACTIONS + 1):
                compactions += 1
                server.send_signal(signal.SIGUSR1)

    @staticmethod
    def _sample(server: ServerProcess, probe: "subprocess.Popen[str]", second: float = 0.0) -> Sample:
        """Request a report of the probe, wait for it and measure the server."""
        assert probe.stdin is not None
        assert probe.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            probe.stdin.write("\n")
            probe.stdin.flush()
        line = probe.stdout.readline()
        if not line:
            raise NotAsPromisedError(f"the probe ended with status {probe.wait(WAIT_SECONDS)}")
        status = Path(f"/proc/{server.pid}/status").read_text()
        resident, threads = (
            int(found[1]) for found in re.finditer(r"^(?:VmRSS|Threads):\s+(\d+)", status, re.MULTILINE)
        )
        return Sample(round(second, 1), resident * 1_024, len(_descriptors(server.pid)), threads, **json.loads(line))

    @staticmethod
    def _scrape(server: ServerProcess, *expected: str) -> None:
        """Scrape the metrics; raise unless the server is ready and they contain ``expected``."""
        status, text = get(place_of(server), "/metrics")
        missing = [sample for sample in ("scoop_ready 1.0", *expected) if f"\n{sample}\n" not in text]
        if missing:
            found = [line for line in text.splitlines() if line.startswith(tuple(each.split()[0] for each in missing))]
            raise NotAsPromisedError(f"expected {missing[0]!r} in the metrics (status {status}), got {found}")

    def _wait_until_alone(self, server: ServerProcess, probe: "subprocess.Popen[str]") -> None:
        """Wait until the metrics count no connection but that of the probe."""
        for _ in range(_ALONE_SAMPLES_MAX):
            with contextlib.suppress(NotAsPromisedError):
                self._scrape(server, *_ALONE)
                return
            self._sample(server, probe)
        self._scrape(server, *_ALONE)

    def _descriptors_at_rest(self, server: ServerProcess, probe: "subprocess.Popen[str]") -> tuple[str, ...]:
        """Wait until no compaction runs and the number of descriptors is stable; return what they refer to."""
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
        seen: list[int] = []
        while len(seen) < _SETTLED_SAMPLES or len(set(seen[-_SETTLED_SAMPLES:])) > 1:
            seen.append(self._sample(server, probe).descriptors)
            if children.read_text():
                seen.clear()
        return _descriptors(server.pid)

    # Data after a restart

    def _check_kept(self, probed: State) -> None:
        """Start the server again; raise unless it has exactly the acknowledged packages."""
        with ServerProcess(*self._arguments) as server:
            out = BytesIO()
            DirectorySource(str(self._data)).dump(out)
            found = parse_dump(out.getvalue())
            if server.package_count != len(found):
                raise NotAsPromisedError(f"the server reports {server.package_count} packages, dump {len(found)}")
        for owner in self._owners:
            owner.check(found)
        expected = [probed, *(owner.acknowledged for owner in self._owners)]
        if found != {name: needed for packages in expected for name, needed in packages.items()}:
            raise NotAsPromisedError("the packages after a restart differ from the acknowledged ones")


def _descriptors(pid: int) -> tuple[str, ...]:
    """Return what the descriptors of a process refer to."""
    targets = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            targets.append(os.readlink(link))
    return tuple(targets)


@contextmanager
def _probe(address: str, report_seconds: float) -> "Iterator[subprocess.Popen[str]]":
    command = [sys.executable, "-m", "tests.soak.probe", address, str(report_seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as probe:
        try:
            yield probe
        finally:
            with contextlib.suppress(OSError):
                probe.kill()


def _end(probe: "subprocess.Popen[str]") -> State:
    """End the probe; return its packages."""
    printed, _ = probe.communicate(timeout=WAIT_SECONDS)
    if probe.returncode:
        raise NotAsPromisedError(f"the probe ended with status {probe.returncode}")
    return {name: frozenset(needed) for name, needed in json.loads(printed.splitlines()[-1]).items()}
