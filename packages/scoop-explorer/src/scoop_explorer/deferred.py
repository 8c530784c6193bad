"""Expensive questions: a few threads answer them, so that they starve neither the cheap ones nor each other.

A page waits a moment for an answer. If it takes longer, the page appears without it and asks again; the question goes
on, and its answer is kept. After a change an older answer is shown, and the page asks again, until the new one is
there. While changes never end, a question that took long is asked again after a pause, which leaves time for others.
"""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, NamedTuple, TypeVar

from scoop_core import DependencyGraph, UnknownPackage

from scoop_explorer.live_index import LiveIndex

T = TypeVar("T")

WAIT_SECONDS: Final = 0.03
"""The wait for an answer: most take less, and a page stays below 50 ms."""

THREADS: Final = 3
"""Questions at a time: two that take long, of the packages that nearly all others need, leave room for a third."""

ANSWERS_MAX: Final = 512
"""Answers that are kept, each of at most some hundred names."""

QUEUE_MAX: Final = 32
"""Questions that wait or are being answered; more do not begin, and their pages ask again."""

REST: Final = 4.0
"""The pause of a question after its answer, as a multiple of the time that it took, while an older answer can be shown:
one question takes at most a fifth of a processor."""


class Found(NamedTuple, Generic[T]):
    """The last answer to a question; None before the first one."""

    answer: T | None
    is_outdated: bool = False
    """True if the graph has changed since."""


@dataclass
class _Entry(Generic[T]):
    """The last answer to a question and its revision, and the answer that is being found."""

    answer: T | None = None
    revision: int = -1
    due: float = 0.0
    """The time from which it may be asked again."""
    future: "Future[T] | None" = field(default=None, repr=False)


class Deferred:
    """Answers expensive questions about ``index``. Its methods belong to the event loop."""

    def __init__(self, index: LiveIndex) -> None:
        self._index = index
        self._threads = _Threads()
        self._entries: OrderedDict[Hashable, _Entry[Any]] = OrderedDict()
        self.waiting = 0
        """The number of questions that wait or are being answered."""

    def close(self) -> None:
        """Answer no further questions, and do not wait for the others."""
        self._threads.close()

    async def ask(self, key: Hashable, question: Callable[[DependencyGraph, int], T]) -> Found[T]:
        """Return the answer to the question with this key, or an older one or none if it is not there in time.

        Raises :exc:`~scoop_core.UnknownPackage` as the question does.
        """
        key = (self._index.epoch, key)  # an answer about an earlier index does not count
        entry: _Entry[T] = self._entries.setdefault(key, _Entry())
        self._entries.move_to_end(key)
        if len(self._entries) > ANSWERS_MAX:
            self._entries.popitem(last=False)
        if entry.answer is not None and entry.revision == self._index.revision:
            return Found(entry.answer)
        if entry.future is None and (time.monotonic() < entry.due or self.waiting >= QUEUE_MAX):
            return Found(entry.answer, entry.answer is not None)
        waiting = asyncio.wrap_future(entry.future or self._begin(key, entry, question))
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return Found(await asyncio.shield(waiting))
        except TimeoutError:
            waiting.add_done_callback(lambda each: each.cancelled() or each.exception())  # nobody waits for it now
            return Found(entry.answer, entry.answer is not None and entry.revision != self._index.revision)

    def _begin(self, key: Hashable, entry: _Entry[T], question: Callable[[DependencyGraph, int], T]) -> "Future[T]":
        self.waiting += 1
        revision, start = self._index.revision, time.monotonic()
        loop = asyncio.get_running_loop()
        future = entry.future = self._threads.submit(lambda: self._index.ask_at_length(question))

        def keep(future: "Future[T]") -> None:
            self.waiting -= 1
            entry.future = None
            error = None if future.cancelled() else future.exception()
            if isinstance(error, UnknownPackage):
                self._entries.pop(key, None)
            elif error is None and not future.cancelled():
                entry.answer, entry.revision = future.result(), revision
                now = time.monotonic()
                entry.due = now + REST * (now - start) if now - start > WAIT_SECONDS else 0.0

        def keep_soon(future: "Future[T]") -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(keep, future)

        future.add_done_callback(keep_soon)
        return future


class _Threads:
    """A pool of threads that the end of the process does not wait for, unlike those of concurrent.futures."""

    def __init__(self) -> None:
        self._tasks: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._has_begun = False

    def submit(self, function: Callable[[], T]) -> "Future[T]":
        """Call ``function`` in one of the threads."""
        if not self._has_begun:
            self._has_begun = True
            for number in range(THREADS):
                threading.Thread(target=self._work, name=f"questions-{number}", daemon=True).start()
        future = Future[T]()
        self._tasks.put((future, function))
        return future

    def close(self) -> None:
        """Cancel the calls that have not begun, and end the threads after the others."""
        with suppress(Empty):
            while task := self._tasks.get_nowait():
                task[0].cancel()
        for _ in range(THREADS):
            self._tasks.put(None)

    def _work(self) -> None:
        while task := self._tasks.get():
            future, function = task
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:  # the caller gets it
                    future.set_exception(error)
