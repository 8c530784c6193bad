"""The index of a simulated server that rejects cycles, observed: requests are answered in parts, over several turns."""

from collections.abc import Iterable, Sequence
from typing import cast

from scoop_core import Changes, DependencyGraph, PartialResponses, Tally

from scoop_server.index.local import LocalIndex, Store
from scoop_server.index.sliced import SlicedIndex
from scoop_server.loop.client import Client
from scoop_server.ports import Request, Response

from tests.simulation.observer import Observer, answer_all_naively


class SlicedObserver(Observer):
    """Checks each part of a request when the graph applies it, since only then its position is known."""

    def __init__(self, graph: DependencyGraph, store: Store, slice_visits: int) -> None:
        super().__init__(LocalIndex(graph, store), graph)
        observed = cast("DependencyGraph", _ObservedGraph(graph, self))
        self._index: SlicedIndex[Client] = SlicedIndex(observed, store, slice_visits=slice_visits)
        self._parked: dict[Client, str] = {}

    def turn(self) -> Iterable[Request[Client]]:
        """Return the requests that are being executed."""
        return self._parked.items()

    def execute(self, requests: Sequence[Request[Client]]) -> Sequence[Response[Client]]:
        """Execute the requests, and check the responses."""
        assert len(dict(requests)) == len(requests), "a client has one request per turn"
        self.check(requests)
        self._parked |= dict(requests)
        return self._check(self._index.execute(requests))

    def completed(self) -> Sequence[Response[Client]]:
        """Do the same with the requests of earlier turns."""
        return self._check(self._index.completed())

    def _check(self, responses: Sequence[Response[Client]]) -> Sequence[Response[Client]]:
        for client, lines, answers in responses:
            assert self._parked.pop(client) == lines, "each request has one response, to the client that sent it"
            if answers is not None:
                assert answers.count("\n") == lines.count("\n")
                self._expect(client, answers)
        self.boundaries.add(len(self.history) - 1)
        return responses


class _ObservedGraph:
    """The methods of a graph that SlicedIndex calls."""

    def __init__(self, graph: DependencyGraph, observer: Observer) -> None:
        self._graph = graph
        self._observer = observer

    def apply_lines_within(
        self, budget: int, text: str, changes: Changes | None = None, tally: Tally | None = None
    ) -> PartialResponses:
        history = self._observer.history
        if not changes:  # all earlier ones are committed
            self._observer.boundaries.add(len(history) - 1)
        part = self._graph.apply_lines_within(budget, text, changes, tally)
        right = answer_all_naively(history, text.removesuffix(part.rest), rejects_cycles=True)
        if part.responses != right:
            raise AssertionError(f"{text!r} is answered {part.responses!r}, expected {right!r}")
        return part

    def undo(self, changes: Changes) -> None:
        self._graph.undo(changes)
        history = self._observer.history
        del history[len(history) - len(changes) :]
