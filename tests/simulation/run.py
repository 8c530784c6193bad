"""Run simulations: ``python -m tests.simulation.run --seeds 10000``; ``--seed 17 --trace`` prints one step by step.

The exit status is 0 when every seed lived as it must; the first that did not is printed with the command that
repeats it.
"""

import argparse
import logging
import sys
import time
import traceback

from tests.simulation.simulation import Simulation


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.run", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many seeds to run (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default: 0)")
    parser.add_argument("--seed", type=int, help="run this one alone, and print the digest of its trace")
    parser.add_argument("--trace", action="store_true", help="print what happens")
    arguments = parser.parse_args()
    logging.disable()
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    if arguments.seed is not None:
        seeds = range(arguments.seed, arguments.seed + 1)
    started = time.monotonic()
    steps = 0
    for seed in seeds:
        simulation = Simulation(seed, print if arguments.trace else lambda _: None)
        try:
            simulation.run()
        except Exception:
            traceback.print_exc()
            print(f"seed {seed} failed; to repeat it: python -m tests.simulation.run --seed {seed} --trace")
            return 1
        steps += simulation.trace_lines
        if arguments.seed is not None:
            print(f"seed {seed}: {simulation.trace_lines} steps, digest {simulation.digest}")
    print(f"{len(seeds)} seeds passed, {steps:,} steps, {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
