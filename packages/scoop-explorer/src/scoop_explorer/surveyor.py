"""The figures of the whole graph, counted on a copy in a thread of its own, so that nothing waits for them."""

import threading
import time
from typing import Final

from scoop_explorer import questions
from scoop_explorer.answers import CyclicGroup, Survey
from scoop_explorer.live_index import LiveIndex

REST: Final = 9.0
"""The pause after a survey, as a multiple of its duration: they take at most a tenth of a processor."""


class Surveyor:
    """Surveys ``index`` after changes, from :meth:`start` to :meth:`stop`."""

    def __init__(self, index: LiveIndex) -> None:
        self.survey: Survey | None = None
        self.cyclic_groups: tuple[CyclicGroup, ...] = ()
        self._index = index
        self._revision = 0
        self._has_changed = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="surveyor", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the survey that is under way."""
        self._stopping.set()
        self._has_changed.set()
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
            self._revision = self._index.revision
            graph, batch = self._index.copy()
            self.survey = questions.survey(graph, batch)
            self.cyclic_groups = questions.cyclic_groups(graph)
            del graph
            self._index.on_change()
            self._stopping.wait(REST * (time.monotonic() - start))
