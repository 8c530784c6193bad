"""Fuzz a real server: ``python -m tests.fuzz.run --seconds 300 [--seed N] [--rounds R]``.

The exit status is 0 if every response was right, the healthy client was not disturbed, and the server stopped cleanly.
Otherwise the seed and the number of the round are printed; the same seed plans the same rounds.
"""

import argparse
import itertools
import secrets
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.fuzz.fuzz import Fuzz


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="length of the run (default: 300)")
    parser.add_argument("--rounds", type=int, help="number of hostile connections, instead of a length")
    parser.add_argument("--seed", type=int, help="seed of the plan (default: random)")
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    rounds = itertools.count() if options.rounds is None else range(options.rounds)
    started = time.monotonic()
    number = 0
    with tempfile.TemporaryDirectory(prefix="scoop-fuzz-") as path:
        fuzz = Fuzz(Path(path), seed)
        try:
            for number in rounds:
                if options.rounds is None and time.monotonic() - started >= options.seconds:
                    break
                fuzz.round(number)
            fuzz.finish()
        except Exception:
            traceback.print_exc()
            print(f"round {number} failed; to repeat it: python -m tests.fuzz.run --seed {seed} --rounds {number + 1}")
            return 1
        finally:
            fuzz.close()
    print(f"seed {seed}: {fuzz}; {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
