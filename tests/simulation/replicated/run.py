"""Run simulations of several nodes: ``python -m tests.simulation.replicated.run --seeds 10000``.

The exit status is 0 if no seed found a violation; the first that did is printed with the command that repeats it.
"""

import argparse
import logging
import sys
import time
import traceback
from collections import Counter

from tests.simulation.replicated.simulation import Simulation


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.replicated.run", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many seeds to run (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default: 0)")
    parser.add_argument("--seed", type=int, help="run this one alone")
    parser.add_argument("--trace", action="store_true", help="print the faults")
    arguments = parser.parse_args()
    logging.disable()
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    if arguments.seed is not None:
        seeds = range(arguments.seed, arguments.seed + 1)
    started = time.monotonic()
    totals: Counter[str] = Counter()
    for seed in seeds:
        simulation = Simulation(seed, print if arguments.trace else lambda _: None)
        try:
            simulation.run()
        except Exception:
            traceback.print_exc()
            command = f"python -m tests.simulation.replicated.run --seed {seed} --trace"
            print(f"seed {seed} failed at {simulation.schedule.now:.4f}; to repeat it: {command}")
            return 1
        totals.update(simulation.figures)
    figures = ", ".join(f"{count:,} {name}" for name, count in totals.items())
    print(f"{len(seeds)} seeds passed, {time.monotonic() - started:.0f} s: {figures}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
