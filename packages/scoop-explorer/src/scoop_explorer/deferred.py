"""Expensive questions: a few threads answer them, so that they starve neither the cheap ones nor each other.

A page waits a moment for an answer. If it takes longer, the page appears without it and asks again; the question goes
on, and its answer is kept whole, for all parts of a list. After a change an older answer is shown, as of its batch, and
the page asks again, until the new one is there. While changes never end, a question that took long is asked again after
a pause, which leaves time for others.
"""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sized
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, NamedTuple, TypeVar

from scoop_core import DependencyGraph, UnknownPackage

from scoop_explorer.live_index import LiveIndex

T = TypeVar("T")

WAIT_SECONDS: Final = 0.02
"""The wait for an answer: most take less, and a page stays below 50 ms, beside questions that compete with it."""

THREADS: Final = 3
"""Questions at a time: two that take long, of the packages that nearly all others need, leave room for a third."""

ANSWERS_MAX: Final = 512
"""Answers that are kept: those of the pages that are looked at."""

NAMES_MAX: Final = 4_000_000
"""Names in all answers that are kept, which take eight bytes each: four orders of a million packages."""

QUEUE_MAX: Final = 32
"""Questions that wait or are being answered; more do not begin, and their pages ask again."""

REST: Final = 4.0
"""The pause of a question after its answer, as a multiple of the time that it took, while an older answer can be shown:
one question takes at most a fifth of a processor."""


class Answer(NamedTuple, Generic[T]):
    """The last answer to a question; None before the first one."""

    answer: T | None
    batch: int
    """The batch as of which it is true."""


@dataclass
class _Entry(Generic[T]):
    """The last answer to a question, and the answer that is being found."""

    found: Answer[T] = field(default_factory=lambda: Answer(None, 0))
    due: float = 0.0
    """The time from which it may be asked again."""
    future: "Future[Answer[T]] | None" = field(default=None, repr=False)


class Deferred:
    """Answers expensive questions about ``index``. Its methods belong to the event loop."""

    def __init__(self, index: LiveIndex) -> None:
        self._index = index
        self._threads = _Threads()
        self._entries: OrderedDict[Hashable, _Entry[Any]] = OrderedDict()
        self._names = 0
        """Those in all answers."""
        self.waiting = 0
        """The number of questions that wait or are being answered."""

    def close(self) -> None:
        """Answer no further questions, and do not wait for the others."""
        self._threads.close()

    async def ask(
        self,
        key: Hashable,
        question: Callable[[DependencyGraph, int], T],
        seconds: float = WAIT_SECONDS,
        *,
        is_beside_changes: bool = False,
    ) -> Answer[T]:
        """Return the answer to the question with this key, or an older one or none if it is not there in time.

        With ``is_beside_changes``, the question may meet changes, and is not asked again because of them.
        Raises :exc:`~scoop_core.UnknownPackage` as the question does.
        """
        key = (self._index.epoch, key)  # an answer about an earlier index does not count
        entry: _Entry[T] = self._entries.setdefault(key, _Entry())
        self._entries.move_to_end(key)
        self._forget_the_oldest()
        if entry.found.answer is not None and entry.found.batch == self._index.batch:
            return entry.found
        if entry.future is None and (time.monotonic() < entry.due or self.waiting >= QUEUE_MAX):
            return entry.found
        ask = self._index.ask_beside_changes if is_beside_changes else self._index.ask_at_length
        waiting = asyncio.wrap_future(entry.future or self._begin(key, entry, question, ask))
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(waiting)
        except TimeoutError:
            waiting.add_done_callback(lambda each: each.cancelled() or each.exception())  # nobody waits for it now
            return entry.found

    def _forget_the_oldest(self) -> None:
        """Drop the answers that were not asked for the longest time, but not the newest one."""
        while len(self._entries) > 1 and (len(self._entries) > ANSWERS_MAX or self._names > NAMES_MAX):
            _, entry = self._entries.popitem(last=False)
            self._names -= _names_in(entry.found.answer)

    def _begin(
        self,
        key: Hashable,
        entry: _Entry[T],
        question: Callable[[DependencyGraph, int], T],
        ask: Callable[[Callable[[DependencyGraph, int], Answer[T]]], Answer[T]],
    ) -> "Future[Answer[T]]":
        self.waiting += 1
        start = time.monotonic()
        loop = asyncio.get_running_loop()

        def answer() -> Answer[T]:
            return ask(lambda graph, batch: Answer(question(graph, batch), batch))

        future = entry.future = self._threads.submit(answer)

        def keep(future: "Future[Answer[T]]") -> None:
            self.waiting -= 1
            entry.future = None
            error = None if future.cancelled() else future.exception()
            if isinstance(error, UnknownPackage):
                if self._entries.get(key) is entry:
                    del self._entries[key]
                    self._names -= _names_in(entry.found.answer)
            elif error is None and not future.cancelled():
                if self._entries.get(key) is entry:
                    self._names += _names_in(future.result().answer) - _names_in(entry.found.answer)
                entry.found = future.result()
                now = time.monotonic()
                entry.due = now + REST * (now - start) if now - start > WAIT_SECONDS else 0.0

        def keep_soon(future: "Future[Answer[T]]") -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(keep, future)

        future.add_done_callback(keep_soon)
        return future


def _names_in(answer: object) -> int:
    return len(answer) if isinstance(answer, Sized) else 1


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
