"""A child process that works until its parent ends."""

import sys
import threading

from scoop_server.telemetry.workers import run_child


def work() -> int:
    """Report the start, and go on for ever."""
    print("working", flush=True)
    threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(run_child(work, lambda: None, int(sys.argv[1])))
