"""Servers whose disk is slow, or does not respond."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_PROGRAM: Final = """
import os, sys, time
sync, delay = os.fdatasync, sys.argv.pop(1)
def sync_slowly(descriptor):
    {wait}
    sync(descriptor)
os.fdatasync = sync_slowly
from scoop_server.cli.main import main
sys.exit(main())
"""


def slow_disk(seconds: float) -> Sequence[str]:
    """Return the command of a server whose syncs take ``seconds``."""
    return (sys.executable, "-c", _PROGRAM.format(wait="time.sleep(float(delay))"), str(seconds))


def hanging_disk(fifo: Path) -> Sequence[str]:
    """Return the command of a server whose syncs hang while ``fifo`` exists, until it is opened for writing."""
    return (
        sys.executable,
        "-c",
        _PROGRAM.format(wait="os.path.exists(delay) and open(delay, 'rb').close()"),
        str(fifo),
    )
