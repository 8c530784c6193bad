"""Let each system call fail with each error in each phase of a real server: ``python -m tests.faults.run``.

Two outcomes are allowed, that the server continues and that it ends with one line and status 1; and whatever was
acknowledged is there after the next start. Needs strace; without it, nothing is tried, and the exit status is 0.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tests.faults.calls import CALLS, Fault, NotAsPromisedError, count_calls, reason_to_skip, try_fault

PHASES = 6
"""The number of moments of a life at which each call and error is tried, from its first call to its last."""


def all_faults(counts: Counter[str]) -> list[Fault]:
    """Return the faults to try, given how often each call is made."""
    faults = []
    for call, errors in CALLS.items():
        last = counts[call]
        moments = sorted({1 + round((last - 1) * phase / (PHASES - 1)) for phase in range(PHASES)}) if last else []
        faults += [Fault(call, error, when) for error in errors for when in moments]
    return faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the faults that the command line selects; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.run", description=__doc__)
    parser.add_argument("--share", type=int, help="try as many faults, chosen at random")
    parser.add_argument("--seed", type=int, default=0, help="of the choice (default: 0)")
    parser.add_argument("--only", help="one fault, as CALL:ERROR:NUMBER")
    options = parser.parse_args(arguments)
    if reason := reason_to_skip():
        print(f"skipped: {reason}")
        return 0
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="scoop-faults-") as parent:
        if options.only:
            call, error, when = options.only.split(":")
            faults = [Fault(call, error, int(when))]
        else:
            faults = all_faults(count_calls(Path(parent)))
            if options.share:
                faults = Random(options.seed).sample(faults, min(options.share, len(faults)))
        for fault in faults:
            try:
                outcomes[try_fault(fault, Path(parent))] += 1
            except NotAsPromisedError as error:
                outcomes["FAILED"] += 1
                print(f"{fault}: {error}")
                print(f"to repeat it: python -m tests.faults.run --only {fault.call}:{fault.error}:{fault.when}")
    print(f"{len(faults)} faults: " + ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())))
    return 1 if outcomes["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
