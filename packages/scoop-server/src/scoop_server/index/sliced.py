"""The index of a server that rejects cycles: a long search for a cycle is done in slices, one in each turn."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from scoop_core import DependencyGraph, PartialResponses, QueuedText, SearchQueue

from scoop_server.index.local import LocalIndex, Store
from scoop_server.ports import ClientT, Request, Response
from scoop_server.telemetry.statistics import Meter

SLICE_VISITS: Final = 4_096
"""Packages and dependencies that one slice visits: about 5 ms. A turn has two slices at most: one for the requests that
arrive in it, and one of the pending work."""

_UNLIMITED_VISITS: Final = 2**62


class SlicedIndex(LocalIndex[ClientT]):
    """A :class:`LocalIndex` whose graph rejects cycles: a client whose request needs a long search is parked.

    A :class:`~scoop_core.SearchQueue` divides the searches fairly between clients.
    """

    def __init__(
        self, graph: DependencyGraph, store: Store, meter: Meter | None = None, *, slice_visits: int = SLICE_VISITS
    ) -> None:
        super().__init__(graph, store, meter)
        self._queue: SearchQueue[ClientT] = SearchQueue(slice_visits)
        graph.apply_lines_within(0, "")  # makes the order, which takes long, before the first client waits for it

    def execute(self, requests: Sequence[Request[ClientT]]) -> list[Response[ClientT]]:
        """Apply and commit the requests of one turn; return the responses of those that need no long search."""
        return self._run(self._queue.add(requests))

    def completed(self) -> list[Response[ClientT]]:
        """Do the next slice; return the responses of the requests that are complete with it."""
        return self._run(self._queue.advance())

    def _run(self, texts: Sequence[QueuedText[ClientT]]) -> list[Response[ClientT]]:
        """Apply and commit the rest of each text, within a slice; return the responses, and park what needs more."""
        visits, changes, tally = self._queue.slice_visits // (len(texts) or 1), self._changes, self._meter.tally
        parts: list[PartialResponses | None] = []
        budgets: list[int] = []
        for text in texts:
            before = len(changes)
            parts.append(self._graph.apply_lines_within(visits, text.rest, changes, tally))
            self._note_author(text.client, before)
            # A text that has changed the graph had its searches done. They are repeated to the end, because their
            # results are undone as well: in slices, they would be repeated for as long as nothing can be stored.
            budgets.append(_UNLIMITED_VISITS if len(changes) > before else visits)
        if changes.lines and not self._commit():
            apply = self._graph.apply_lines_within
            parts = [
                self._answer_unchanged(partial(apply, budget, text.rest))
                for text, budget in zip(texts, budgets, strict=True)
            ]
        responses = self._queue.settle(texts, parts)
        self.is_pending = self._queue.is_pending
        return responses
