"""Run real nodes over a real etcd under faults, and check every answer: ``python -m tests.replication.run``.

The exit status is 0 if all that clients observed is linearizable, with the log in etcd as the witness.
"""

import argparse
import secrets
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from tests.replication.scene import Scene
from tests.support.etcd_cluster import IS_MISSING

_SHOWN_MAX = 10


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.replication.run", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="the duration (default: 300)")
    parser.add_argument("--seed", type=int, help="the seed of faults and requests (default: any)")
    options = parser.parse_args(arguments)
    if IS_MISSING:
        print("skipped: etcd or etcdctl is not installed (etcd-server, etcd-client)")
        return 0
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    with tempfile.TemporaryDirectory(prefix="scoop-replication-") as directory:
        with closing(Scene(seed, Path(directory))) as scene:
            found = scene.run(options.seconds)
            print(scene.state)
        answered = [each for each in scene.operations if each.answer is not None]
        changes = sum(not each.is_query for each in answered)
        faults = ", ".join(f"{number} {name}" for name, number in sorted(scene.faults.items()))
        print(
            f"{changes} changes and {len(answered) - changes} queries answered, "
            f"{len(scene.operations) - len(answered)} without an answer; {faults}; "
            f"longest time without an answered change {scene.longest_gap:.1f} s"
        )
    for line in found[:_SHOWN_MAX]:
        print(f"VIOLATION (--seed {seed}): {line}")
    print(f"{len(found)} violations")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
