"""A real server that will be killed, and its compactions, which may outlive it."""

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.support.process import WAIT_SECONDS, server_environment

_READ_BYTES: Final = 65_536


class Victim:
    """A server on a data directory, from its first instruction on: it may be killed before it listens.

    Its log can be read when ``fileno()`` is readable.
    """

    def __init__(self, command: Sequence[str], *arguments: str, variables: Mapping[str, str] | None = None) -> None:
        self.log = ""
        self.log_has_ended = False
        self._log_file, log_writer = os.pipe()
        os.set_blocking(self._log_file, False)
        try:
            self._process = subprocess.Popen(
                [*command, "--port", "0", *arguments],
                env=server_environment(variables),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log_writer,
            )
        finally:
            os.close(log_writer)
        self.process_file = os.pidfd_open(self._process.pid)
        """A descriptor that is readable when it has ended."""

    @property
    def address(self) -> tuple[str, int] | None:
        """Its address, None before it listens."""
        listening = re.search(r"listening on ([0-9.]+):([0-9]+) with", self.log)
        return None if listening is None else (listening[1], int(listening[2]))

    @property
    def status(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.poll()

    def fileno(self) -> int:
        """Return the descriptor of its log."""
        return self._log_file

    def read_log(self) -> None:
        """Read new log lines."""
        try:
            while data := os.read(self._log_file, _READ_BYTES):
                self.log += data.decode()
            self.log_has_ended = True
        except BlockingIOError:
            pass

    def wait_for_log(self, text: str, seconds_max: float = WAIT_SECONDS) -> None:
        """Wait until ``text`` has been logged."""
        deadline = time.monotonic() + seconds_max
        while text not in self.log:
            if self.log_has_ended or not select.select([self], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"{text!r} was not logged, but:\n{self.log}")
            self.read_log()

    def peak_memory_bytes(self) -> int:
        """Return its peak resident memory."""
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self._process.pid}/status").read_text())
        assert peak is not None
        return int(peak[1]) * 1_024

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def children(self) -> list["Child"]:
        """Return its running compactions."""
        children = []
        for pid in self._child_pids():
            try:
                child = Child(pid)
            except ProcessLookupError:
                continue
            # The id is that of this very child only if it was still there when the descriptor had been opened.
            if pid in self._child_pids():
                children.append(child)
            else:
                child.close()
        return children

    def _child_pids(self) -> list[int]:
        try:
            return [*map(int, Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split())]
        except FileNotFoundError:
            return []

    def kill(self) -> int:
        """Kill it; return its exit status, which differs if it had ended before."""
        self._process.kill()
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; return its exit status."""
        status = self._process.wait(WAIT_SECONDS)
        self.read_log()
        return status

    def close(self) -> None:
        """Release its resources, after its end."""
        os.close(self._log_file)
        os.close(self.process_file)


class Child:
    """A process that is no child of this one. Raises ProcessLookupError if it has ended."""

    def __init__(self, pid: int) -> None:
        self._file = os.pidfd_open(pid)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        try:
            signal.pidfd_send_signal(self._file, signal.SIGKILL)
        except ProcessLookupError:
            return

    def wait(self) -> None:
        """Wait for its end."""
        if not select.select([self._file], [], [], WAIT_SECONDS)[0]:
            raise AssertionError("a compaction that was killed does not end")

    def close(self) -> None:
        """Release its resources."""
        os.close(self._file)
