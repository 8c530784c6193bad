"""The figures of the whole graph, counted beside the pages, so that nothing waits for them.

A small graph is copied and counted in a thread. A large one is counted by a process of its own, which reads the source
itself: at a million packages, single steps of the algorithms would hold the interpreter, and every page, for 0.3 s.
"""

import logging
import pickle
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from scoop_core import DependencyGraph

from scoop_explorer import questions
from scoop_explorer.answers import CyclicGroup, Survey
from scoop_explorer.live_index import LiveIndex

_log = logging.getLogger("scoop_explorer")


class Figures(NamedTuple):
    """The findings of a survey."""

    survey: Survey
    cyclic_groups: tuple[CyclicGroup, ...]
    popular: tuple[str, ...]
    """The packages that most others need, which a search looks at first."""


IN_THREAD_MAX: Final = 50_000
"""Packages of a graph that is counted in a thread: no step takes more than 15 ms."""

REST: Final = 9.0
"""The pause after a survey, as a multiple of its duration: they take at most a tenth of a processor."""


class Surveyor:
    """Surveys ``index`` after changes, from :meth:`start` to :meth:`stop`.

    ``command`` starts :mod:`~scoop_explorer.survey_process` on the source. Without it, the thread counts all graphs.
    """

    def __init__(self, index: LiveIndex, command: Sequence[str] = ()) -> None:
        self._figures: Figures | None = None
        self._epoch = 0
        """That of the index that was counted."""
        self._index = index
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        """Guards the process against an end between its start and its note."""
        self._revision = 0
        self._has_changed = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="surveyor", daemon=True)

    @property
    def survey(self) -> Survey | None:
        """The figures of the last survey; None before the first one of the index that is shown."""
        figures = self._current()
        return None if figures is None else figures.survey

    @property
    def cyclic_groups(self) -> tuple[CyclicGroup, ...]:
        """The cyclic groups of the last survey."""
        figures = self._current()
        return () if figures is None else figures.cyclic_groups

    @property
    def popular(self) -> tuple[str, ...]:
        """The packages that most others needed at the last survey."""
        figures = self._current()
        return () if figures is None else figures.popular

    def _current(self) -> Figures | None:
        return self._figures if self._epoch == self._index.epoch else None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the survey that is under way; end its process."""
        self._stopping.set()
        self._has_changed.set()
        with self._lock:
            if self._process is not None:
                self._process.kill()
        self._thread.join()

    def index_has_changed(self) -> None:
        """Note that a survey is due."""
        self._has_changed.set()

    def _run(self) -> None:
        while self._has_changed.wait() and not self._stopping.is_set():
            self._has_changed.clear()
            if not self._index.is_loaded or self._revision == self._index.revision:
                continue
            start = time.monotonic()
            self._revision, epoch = self._index.revision, self._index.epoch
            is_large = len(self._index) > IN_THREAD_MAX and self._command
            try:
                figures = self._count_apart() if is_large else count(*self._index.copy())
            except OSError as error:  # no process or descriptor is left
                figures = None
                _log.warning("cannot count the packages: %s; the next change tries again", error.strerror)
            if figures is not None:
                self._figures, self._epoch = figures, epoch
                self._index.on_change()
            self._stopping.wait(REST * (time.monotonic() - start))

    def _count_apart(self) -> Figures | None:
        """Return the figures that another process counts; None if it fails, or if the surveyor is stopped."""
        with self._lock:
            if self._stopping.is_set():
                return None
            self._process = subprocess.Popen(  # noqa: S603  # this program itself
                self._command,
                stdin=subprocess.PIPE,  # closed when this process ends, in whatever way
                stdout=subprocess.PIPE,
                process_group=0,  # not for Ctrl-C
            )
        with self._process as process:
            assert process.stdout is not None  # noqa: S101  # it is a pipe
            data = process.stdout.read()
        self._process = None
        if process.returncode == 0:
            figures: Figures = pickle.loads(data)  # noqa: S301  # from our own child
            return figures
        if not self._stopping.is_set():
            _log.warning(
                "cannot count the packages: the process ended with status %d; the next change tries again",
                process.returncode,
            )
        return None


def count(graph: DependencyGraph, batch: int) -> Figures:
    """Return the figures of a graph, and its cyclic groups."""
    return Figures(questions.survey(graph, batch), questions.cyclic_groups(graph), questions.popular(graph))
