"""Recover a large data directory: ``python -m tests.crash.million [--packages N] [--changes N]``.

Makes a directory with a snapshot of so many packages, has a server change some of them, kills it, and starts
another: recovery has to bring every change back. The same again with the kill in the middle of a compaction, and
after one; the compaction is killed as well. Prints how long each step took.
The exit status is 0 when all was there.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO, StringIO
from pathlib import Path
from random import Random
from typing import Final

from scoop_server.cli.directory import DirectorySource

from tests.crash.scene import parse_dump
from tests.crash.victim import Victim
from tests.support.process import MODULE_COMMAND, BlockingClient

_DEPENDENCIES_EACH: Final = 5
_CHANGES_AT_ONCE: Final = 10_000
_SECONDS_MAX: Final = 600.0
"""The time-out of each step: much longer than it takes, also on a busy machine."""


@contextmanager
def told(what: str) -> Iterator[None]:
    """Print the duration of ``what`` in seconds."""
    started = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - started:.1f} s", flush=True)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.million", description=__doc__)
    parser.add_argument("--packages", type=int, default=1_000_000, help="(default: 1000000)")
    parser.add_argument("--changes", type=int, default=300_000, help="before each kill (default: 300000)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scoop-million-") as path:
        recover_a_large_directory(Path(path), options.packages, options.changes)
    return 0


def recover_a_large_directory(path: Path, packages: int, changes: int) -> None:
    """Run the program. Raises AssertionError if something is missing."""
    random = Random(packages)
    names = [f"package-{number:07}" for number in range(packages)]
    state = {
        name: frozenset(names[int(number * random.random())] for _ in range(_DEPENDENCIES_EACH) if number)
        for number, name in enumerate(names)
    }
    lines = "".join(f"INDEX|{name}|{','.join(needed)}\n" for name, needed in state.items())
    with told(f"restore of {packages:,} packages"):
        DirectorySource(str(path)).restore(BytesIO(lines.encode()))
    with started(path, "the snapshot") as server:
        change(server, state, random, changes)
    with started(path, "snapshot and journal, after a kill") as server:
        change(server, state, random, changes)
        server.send_signal(signal.SIGUSR1)
        server.wait_for_log("has begun", _SECONDS_MAX)
    with started(path, "snapshot and journals, after a kill in a compaction") as server:
        change(server, state, random, changes)
        server.send_signal(signal.SIGUSR1)
        with told("a compaction, from the signal to its end"):
            server.wait_for_log("is complete", _SECONDS_MAX)
    with started(path, "the compacted snapshot, after a kill") as server:
        change(server, state, random, changes)
        with told("a shutdown in order"):
            server.send_signal(signal.SIGTERM)
            server.wait_for_log("saved", _SECONDS_MAX)
            if server.wait() != 0:
                raise AssertionError(f"the server did not end in order:\n{server.log}")
    with told("check"):
        report = StringIO()
        if DirectorySource(str(path)).check(report) != 0:
            raise AssertionError(report.getvalue())
    with told("dump"):
        out = BytesIO()
        DirectorySource(str(path)).dump(out)
    if parse_dump(out.getvalue()) != state:
        raise AssertionError("what was recovered is not what was acknowledged")
    print(f"all {len(state):,} packages are as they were acknowledged")


@contextmanager
def started(path: Path, what: str) -> Iterator[Victim]:
    """Yield a server that has recovered ``what``, and print the duration; kill it at the end, unless it has ended."""
    sizes = {kind: sum(each.stat().st_size for each in path.glob(f"{kind}-*")) for kind in ("snapshot", "journal")}
    started = time.monotonic()
    server = Victim(MODULE_COMMAND, "--data-dir", str(path))
    try:
        server.wait_for_log("listening on", _SECONDS_MAX)
        print(
            f"recovered {what} ({sizes['snapshot'] / 2**20:,.0f} MiB and {sizes['journal'] / 2**20:,.0f} MiB): "
            f"{time.monotonic() - started:.1f} s until it listens, "
            f"{server.peak_memory_bytes() / 2**20:,.0f} MiB of memory at the most",
            flush=True,
        )
        yield server
    finally:
        children = server.children()
        server.kill()
        for child in children:
            child.kill()
            child.wait()
            child.close()
        server.close()


def change(server: Victim, state: dict[str, frozenset[str]], random: Random, count: int) -> None:
    """Let ``server`` acknowledge ``count`` changes of ``state``: new dependencies and new packages."""
    if f" with {len(state)} packages" not in server.log:
        raise AssertionError(f"{len(state)} packages were acknowledged:\n{server.log}")
    assert server.address is not None
    names = list(state)
    started = time.monotonic()
    with BlockingClient(server.address) as client:
        for done in range(0, count, _CHANGES_AT_ONCE):
            lines = []
            for _ in range(min(count - done, _CHANGES_AT_ONCE)):
                name = random.choice(names) if random.random() < 0.8 else f"new-{len(state):07}"
                state[name] = frozenset(random.choices(names, k=_DEPENDENCIES_EACH))
                lines.append(f"INDEX|{name}|{','.join(state[name])}")
            if set(client.ask(*lines)) != {"OK"}:
                raise AssertionError("an INDEX whose dependencies are there was not answered OK")
    print(f"acknowledged {count:,} changes: {time.monotonic() - started:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
