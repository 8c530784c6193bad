"""Soak a real server: ``python -m tests.soak.run --seconds 600 [--seed N]``.

Clients of all kinds connect and disconnect while a probe sends requests and the metrics are scraped. The exit status
is 0 if every correct client got the right responses, memory, descriptors, threads and latency were the same at the end
as at the start, and a restart had every acknowledged change. The record is written to the output directory, as JSON
and charts.
"""

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from bench.plot import Series, line_chart

from tests.crash.load_client import NotAsPromisedError
from tests.soak.soak import LATENCY_GROWTH_MS_MAX, Record, Soak


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.run", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="length of the run (default: 600)")
    parser.add_argument("--seed", type=int, help="seed of the requests (default: random)")
    parser.add_argument("--out", type=Path, default=Path("build/soak"), help="directory of the record")
    parser.add_argument(
        "--latency-growth-ms",
        type=float,
        default=LATENCY_GROWTH_MS_MAX,
        help="growth of the latency that other load on the machine may cause (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    with tempfile.TemporaryDirectory(prefix="scoop-soak-") as path:
        soak = Soak(Path(path), seed, latency_growth_ms_max=options.latency_growth_ms)
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
    """Write the record of a run, if it has enough samples, to ``directory``."""
    if len(record.samples) < 2:
        return
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "record.json").write_text(record.to_json())
    samples = [each for each in record.samples if each.second]  # the axes are logarithmic
    series = [
        Series("resident memory, MiB", [(each.second, each.resident_bytes / 2**20) for each in samples]),
        Series("open descriptors", [(each.second, each.descriptors) for each in samples]),
        Series("latency p50, ms", [(each.second, each.p50_ms) for each in samples]),
        Series("latency p99, ms", [(each.second, each.p99_ms) for each in samples]),
    ]
    visits = f"{record.visits.total():,} visits"
    (directory / "record.svg").write_text(line_chart("Soak", visits, "seconds", "", series))


if __name__ == "__main__":
    sys.exit(main())
