"""The presence of a server: it holds the lock of its data directory, which this module reads and never takes.

The kernel lists the locks in /proc/locks. It hides those of processes in other containers, so only a lock that was
seen, or the process id in the lock file of a machine without containers, shows that a server has stopped.
"""

import os
import time
from pathlib import Path
from typing import Final

INTERVAL_SECONDS: Final = 1.0
"""The interval of the checks: a person does not notice the difference."""

_LOCKS: Final = Path("/proc/locks")

_PROCESSES: Final = "pid:[4026531836]"
"""The name that Linux gives to the processes of the whole machine."""


class ServerPresence:
    """A repeated check of whether a server has the data directory at ``path`` open."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._has_been_seen = False
        self._looked_at = -INTERVAL_SECONDS
        self._is_served: bool | None = None

    def __call__(self) -> bool | None:
        """Return whether a server has the directory open; None if that is unknown."""
        now = time.monotonic()
        if now - self._looked_at >= INTERVAL_SECONDS:
            self._looked_at, self._is_served = now, self._look()
        return self._is_served

    def _look(self) -> bool | None:
        try:
            inodes = {os.stat(self._path).st_ino, os.stat(self._path / "lock").st_ino}
            locks = [line.split() for line in _LOCKS.read_text("ascii").splitlines()]
        except (OSError, ValueError):  # no directory, no server has ever used it, or not Linux
            return None
        # 1: FLOCK  ADVISORY  WRITE 1183 08:01:2621495 0 EOF; one that waits has an arrow before its kind.
        held = {int(fields[5].rpartition(":")[2]) for fields in locks if fields[1:4] == ["FLOCK", "ADVISORY", "WRITE"]}
        if inodes & held:
            self._has_been_seen = True
            return True
        return False if self._has_been_seen or self._has_ended() else None

    def _has_ended(self) -> bool:
        """Return whether no process has the id in the lock file, if that is one of this machine."""
        try:
            if os.readlink("/proc/self/ns/pid") != _PROCESSES:
                return False
            return not Path(f"/proc/{int((self._path / 'lock').read_text('ascii'))}").exists()
        except (OSError, ValueError):
            return False
