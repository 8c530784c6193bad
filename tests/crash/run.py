"""Kill real servers, and check what they leave: ``python -m tests.crash.run --kills 100 [--seed N]``.

The exit status is 0 if every server kept its promise. The first that did not is reported with its seed, its log and
its directory, which is kept.
"""

import argparse
import secrets
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Final

from tests.crash.scene import Scene, Tally

_KILLS_PER_DIRECTORY: Final = 5


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.run", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="how many servers to kill (default: 100)")
    parser.add_argument("--seed", type=int, help="the seed of the first directory's plan (default: any)")
    parser.add_argument("--parent", type=Path, help="where to make the directories (default: the system's choice)")
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    tally = Tally()
    started = time.monotonic()
    while (left := options.kills - tally.kills.total()) > 0:
        kills = min(left, _KILLS_PER_DIRECTORY)
        path = Path(tempfile.mkdtemp(prefix="scoop-crash-", dir=options.parent))
        scene = Scene(seed, path, tally)
        try:
            scene.run(kills)
        except Exception:
            traceback.print_exc()
            print(f"the log of the last server:\n{scene.last_log}")
            print(
                f"the directory is {path}; for the same plan: python -m tests.crash.run --seed {seed} --kills {kills}"
            )
            return 1
        finally:
            scene.close()
        shutil.rmtree(path)
        seed += 1
    print(f"{tally}; {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
