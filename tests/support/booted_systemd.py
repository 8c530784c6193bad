"""A real systemd, booted in namespaces of its own over a temporary overlay of this machine's file system.

Nothing that happens in there reaches this machine: the overlay's upper layer is in memory, the network has only a
loopback interface, and processes, cgroups and mounts are its own. It needs root and systemd-nspawn.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from tests.support.process import WAIT_SECONDS

_BOOT: Final = """
set -e
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/tree
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/tree
tr -d - < /proc/sys/kernel/random/uuid > /mnt/tree/etc/machine-id
exec systemd-nspawn --quiet --machine="scoop-test-$$" --directory=/mnt/tree --register=no --keep-unit --console=pipe \
    --private-network --link-journal=no "$@" --boot systemd.unit=basic.target
"""

_ENVIRONMENT: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}

IS_AVAILABLE: Final = os.geteuid() == 0 and None not in (shutil.which("systemd-nspawn"), shutil.which("nsenter"))


class BootedSystemd:
    """A machine that runs from construction to the end of the ``with`` block.

    ``shared`` are directories of this machine and their paths in that one, where they are read-only. Every script
    gets ``variables``.
    """

    def __init__(self, shared: Mapping[Path, str], **variables: str) -> None:
        self._environment = _ENVIRONMENT | variables
        self._nspawn = subprocess.Popen(
            ["unshare", "--mount", "--propagation=private", "bash", "-c", _BOOT, "bash"]
            + [f"--bind-ro={path}:{place}" for path, place in shared.items()],
            env=_ENVIRONMENT | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._leader = 0
        try:
            self._leader = self._wait_for_leader()
            self._wait_until_booted()
        except BaseException:
            self.close()
            raise

    def _wait_for_leader(self) -> int:
        """Return the process id of systemd, once nspawn has started it."""
        deadline = time.monotonic() + WAIT_SECONDS
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        while time.monotonic() < deadline and self._nspawn.poll() is None:
            for child in children.read_text().split():
                if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                    return int(child)
            time.sleep(0.05)  # nspawn reports readiness only to its own service manager
        raise AssertionError("systemd-nspawn did not start systemd")

    def _wait_until_booted(self) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            if self.run("systemctl is-active --quiet basic.target", check=False).returncode == 0:
                return
            time.sleep(0.05)  # systemctl cannot wait for systemd's own socket
        raise AssertionError("systemd did not reach basic.target")

    def run(self, script: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a script of bash as root in the machine; with ``check`` its status must be 0."""
        done = subprocess.run(
            ["nsenter", f"--target={self._leader}", "--all", "--", "bash", "-c", script],
            env=self._environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"status {done.returncode} of {script}\n{done.stdout}{done.stderr}{self.journal()}")
        return done

    def journal(self) -> str:
        """Return the journal of the server's units."""
        return self.run("journalctl --no-pager --output=cat -u 'scoop*' | tail -60", check=False).stdout

    def close(self) -> None:
        """End everything that runs in the machine."""
        if self._leader:
            os.kill(self._leader, 9)  # ends its whole process namespace
        else:
            self._nspawn.kill()
        self._nspawn.wait(WAIT_SECONDS)
        assert self._nspawn.stderr is not None
        self._nspawn.stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
