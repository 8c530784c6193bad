"""A server process that is held at one point until the test releases it."""

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.crash.victim import Victim
from tests.support import held_server
from tests.support.process import BlockingClient


class HeldServer:
    """A server that is paused at ``place``, from its start to the end of the ``with`` block."""

    def __init__(self, place: str, path: Path, *arguments: str, **variables: str) -> None:
        self._fifo = path / "fifo"
        os.mkfifo(self._fifo)
        self._resources = ExitStack()
        command = (sys.executable, held_server.__file__, place, str(self._fifo))
        self.process = Victim(command, *arguments, variables=variables)

    def connect(self) -> BlockingClient:
        """Return a client of it, when it listens."""
        self.process.wait_for_log("listening on")
        assert self.process.address is not None
        return BlockingClient(self.process.address)

    def wait_until_held(self) -> None:
        """Return when it has come to that place."""
        self.process.wait_for_log("held\n")

    def let_go(self) -> None:
        """Let the server continue, also if a signal has continued it already."""
        self.wait_until_held()
        # Open for both directions, it does not wait for the server, which may be anywhere before or after the FIFO.
        self._resources.callback(os.close, os.open(self._fifo, os.O_RDWR))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.close()
        self._resources.close()
