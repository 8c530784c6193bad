"""Soak a real server: ``python -m tests.soak.run --seconds 600 [--seed N] [--out build/soak]``.

Clients of all kinds come and go while a probe asks beside them and the metrics are scraped. The exit status is 0 when
every good client got the right answers, memory, descriptors, threads and latency were at the end what they were at the
start, and a restart had all that was acknowledged. What was seen is left in the output directory, as JSON and as a
picture.
"""

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from tests.crash.load_client import NotAsPromisedError
from tests.soak.chart import Panel, panels
from tests.soak.soak import Record, Soak


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.run", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="for how long clients come (default: 600)")
    parser.add_argument("--seed", type=int, help="the seed of what they ask (default: any)")
    parser.add_argument("--out", type=Path, default=Path("build/soak"), help="where to leave the record")
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    with tempfile.TemporaryDirectory(prefix="scoop-soak-") as path:
        soak = Soak(Path(path), seed)
        try:
            soak.run(options.seconds)
        except NotAsPromisedError as error:
            print(f"seed {seed}: {error}")
            return 1
        finally:
            write(soak.record, options.out)
    print(soak.record)
    print(f"memory, descriptors, threads and latency are flat; the record is in {options.out}")
    return 0


def write(record: Record, directory: Path) -> None:
    """Leave the record of a run that has been begun in ``directory``."""
    if not record.samples:
        return
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "record.json").write_text(record.to_json())
    samples = record.samples
    measurements: list[Panel] = [
        ("resident memory, MiB", [(each.second, each.resident_bytes / 2**20) for each in samples]),
        ("open descriptors", [(each.second, each.descriptors) for each in samples]),
        ("latency of the probe, p50, ms", [(each.second, each.p50_ms) for each in samples]),
        ("latency of the probe, p99, ms", [(each.second, each.p99_ms) for each in samples]),
    ]
    title = f"{record.visits.total():,} visits in {samples[-1].second:,.0f} s"
    (directory / "record.svg").write_text(panels(title, measurements))


if __name__ == "__main__":
    sys.exit(main())
