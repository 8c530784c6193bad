"""A server whose disk is slow."""

import sys
from collections.abc import Sequence
from typing import Final

_PROGRAM: Final = """
import os, sys, time
sync, delays = os.fdatasync, [float(delay) for delay in sys.argv.pop(1).split(",")]
def sync_slowly(descriptor):
    time.sleep(delays.pop(0) if len(delays) > 1 else delays[0])
    sync(descriptor)
os.fdatasync = sync_slowly
from scoop_server.cli.main import main
sys.exit(main())
"""


def slow_disk(*delays: float) -> Sequence[str]:
    """Return the command of a server whose syncs take ``delays`` seconds; the last one is repeated."""
    return (sys.executable, "-c", _PROGRAM, ",".join(map(str, delays)))
