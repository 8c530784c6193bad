"""Server-sent events: each open page learns that something has changed, at most a few times per second."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from typing import Final

from scoop_explorer.answers import Status

STREAMS_MAX: Final = 100
"""Event streams at a time: a connection and a task each."""

INTERVAL_SECONDS: Final = 0.25
"""The least time between two events of a stream: a person cannot read faster."""

HEARTBEAT_SECONDS: Final = 2.0
"""The longest time between two events: a page that hears nothing for twice as long says that it is not connected."""


class Events:
    """Event streams with the state of ``status``. Its methods belong to the event loop, except :meth:`notify`."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self.count = 0
        """The number of open streams."""
        self._status = status
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._is_closed = False

    def start(self) -> None:
        """Begin to deliver notifications, in the running event loop."""
        self._loop = asyncio.get_running_loop()

    def notify(self) -> None:
        """Tell every stream that something has changed. May be called in any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def close(self) -> None:
        """End all streams."""
        self._is_closed = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the events of one stream."""
        self.count += 1
        try:
            while not self._is_closed:
                changed = self._changed
                yield f"retry: 2000\nevent: status\ndata: {json.dumps(asdict(self._status()))}\n\n".encode()
                await asyncio.sleep(INTERVAL_SECONDS)
                try:
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        await changed.wait()
                except TimeoutError:
                    pass
        finally:
            self.count -= 1
