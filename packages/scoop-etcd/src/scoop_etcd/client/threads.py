"""Threads for requests that block."""

import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue

from scoop_server.telemetry.workers import start_thread

_Function = Callable[[], None]


class Threads:
    """As many threads as functions run at the same time. A thread whose function has ended runs the next."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._functions: SimpleQueue[_Function | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._count = 0
        self._idle = 0
        """The threads that wait for a function, less the functions that wait for a thread."""

    def run(self, function: _Function) -> None:
        """Run ``function`` in a thread that is idle, or in a new one. Raises OSError if there can be no more."""
        with self._lock:
            if self._idle:
                self._idle -= 1
                self._functions.put(function)
                return
            self._count += 1
        start_thread(partial(self._run, function), self._name)

    def close(self) -> None:
        """Let each thread end when its function has ended. Called last, and once."""
        for _ in range(self._count):
            self._functions.put(None)

    def _run(self, first: _Function) -> None:
        function: _Function | None = first
        while function is not None:
            function()
            with self._lock:
                self._idle += 1
            function = self._functions.get()
