"""Run real nodes over a real etcd under faults, and check every response: ``python -m tests.replication.run``.

The exit status is 0 if all that clients observed is linearizable, with the log in etcd as the witness. As root, each
member of etcd runs in a network namespace of its own, and is also cut off from the others.
"""

import argparse
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tests.replication.scene import Scene
from tests.support.etcd_cluster import IS_MISSING
from tests.support.network import Host, Network, in_namespace, reason_without_namespaces

_SHOWN_MAX = 10
_SHOWN_GAPS = 3
_ROOT = Path(__file__).parents[2]


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.replication.run", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="the duration (default: 300)")
    parser.add_argument("--seed", type=int, help="the seed of faults and requests (default: any)")
    parser.add_argument("--other", default="", metavar="PYTHON", help="upgrade from the version of PYTHON, and back")
    parser.add_argument("--only", default="", metavar="WORDS", help="only the faults that have WORDS in their names")
    parser.add_argument("--with-namespaces", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if IS_MISSING:
        print("skipped: etcd or etcdctl is not installed (etcd-server, etcd-client)")
        return 0
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    if not options.with_namespaces:
        reason = reason_without_namespaces()
        if not reason:
            this = (sys.executable, "-m", "tests.replication.run", "--with-namespaces", f"--other={options.other}")
            words = (*this, f"--only={options.only}", "--seconds", str(options.seconds), "--seed", str(seed))
            return subprocess.run(in_namespace(words), cwd=_ROOT, check=False).returncode
        print(f"without partitions: {reason}")
        return _run(seed, options, ())
    with Network(3) as network:
        return _run(seed, options, network.hosts)


def _run(seed: int, options: argparse.Namespace, hosts: Sequence[Host]) -> int:
    """Run one scene, report on it, and return the exit status."""
    with tempfile.TemporaryDirectory(prefix="scoop-replication-") as directory:
        with closing(Scene(seed, Path(directory), hosts, options.other, options.only)) as scene:
            found = scene.run(options.seconds)
            print(scene.state)
            print(*scene.longest_gaps(_SHOWN_GAPS), sep="\n")
        answered = [each for each in scene.operations if each.answer is not None]
        changes = sum(not each.is_query for each in answered)
        faults = ", ".join(f"{number} {name}" for name, number in sorted(scene.faults.items()))
        print(
            f"{changes} changes and {len(answered) - changes} queries answered, "
            f"{len(scene.operations) - len(answered)} without a response; {faults}; "
            f"longest time without an answered change {scene.timeline.longest_gap:.1f} s"
        )
    for line in found[:_SHOWN_MAX]:
        print(f"VIOLATION (--seed {seed}): {line}")
    print(f"{len(found)} violations")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
