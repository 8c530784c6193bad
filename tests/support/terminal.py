"""A command in a pseudo-terminal."""

import os
import pty
import re
import select
import signal
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from tests.support.process import WAIT_SECONDS

_CONTROL: Final = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[()][A-Z0-9]|[=>])|[\r\x07\x08]")
"""Movements of the cursor, colours and the like."""


class Terminal:
    """A command whose input and output is a terminal, until the end of the ``with`` block."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._pid, self._descriptor = pty.fork()
        if self._pid == 0:
            os.execve(command[0], list(command), dict(environment) | {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"})
        self._raw = ""

    @property
    def shown(self) -> str:
        """The text that has been shown since the last match."""
        return _CONTROL.sub("", self._raw)

    def send_keys(self, text: str) -> None:
        """Send keys."""
        os.write(self._descriptor, text.encode())

    def wait_for(self, pattern: str) -> str:
        """Wait until the shown text contains ``pattern``; return the text up to there, and forget it."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not (match := re.search(pattern, self.shown)):
            ready, _, _ = select.select([self._descriptor], [], [], deadline - time.monotonic())
            assert ready, f"{pattern!r} was not shown: {self.shown}"
            try:
                data = os.read(self._descriptor, 65_536).decode("utf-8", "replace")
            except OSError:
                data = ""  # Linux reports the end of a terminal as an error
            assert data, f"{pattern!r} was not shown: {self.shown}"
            # prompt_toolkit asks where the cursor is.
            if "\x1b[6n" in data:
                self.send_keys("\x1b[1;1R")
            self._raw += data
        shown, self._raw = self.shown[: match.end()], self.shown[match.end() :]
        return shown

    def wait(self) -> int:
        """Wait for the end of the command; return its exit status."""
        while True:
            ready, _, _ = select.select([self._descriptor], [], [], WAIT_SECONDS)
            assert ready, f"the command does not end: {self.shown}"
            try:
                if not os.read(self._descriptor, 65_536):
                    break
            except OSError:
                break
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return os.waitstatus_to_exitcode(status)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            self.wait()
        os.close(self._descriptor)
