"""The oracle of a simulation: what was applied, what was told, and what may be found after a crash.

It stands between the event loop and the graph, holds every answer against a naive index, and remembers the
state after each change, so that a recovered graph can be found among them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from scoop_core import Changes, DependencyGraph, Tally

from tests.simulation.network import SimulatedSocket

State = Mapping[str, frozenset[str]]


def state_of(graph: DependencyGraph) -> State:
    """Return what ``graph`` holds, as plain values."""
    return {package: frozenset(graph.dependencies(package)) for package in graph}


def answer_naively(state: State, line: str) -> tuple[str, State]:
    """Answer one line by the rules of the protocol, in the simplest way; return the state after it as well."""
    fields = line.split("|")
    if len(fields) != 3 or fields[0] not in {"INDEX", "REMOVE", "QUERY"} or not fields[1].isalnum():
        return "ERROR\n", state
    command, package, listed = fields
    names = frozenset(listed.split(",")) if listed else frozenset()
    if not all(name.isalnum() for name in names):
        return "ERROR\n", state
    if command == "QUERY":
        return ("OK\n" if package in state else "FAIL\n"), state
    if command == "INDEX":
        return ("OK\n", {**state, package: names}) if names <= state.keys() else ("FAIL\n", state)
    if any(package in needed for name, needed in state.items() if name != package):
        return "FAIL\n", state
    return "OK\n", {name: needed for name, needed in state.items() if name != package}


@dataclass
class Answered:
    """The lines of one client in one turn, and their answers."""

    client: SimulatedSocket
    text: str
    answers: str


class Observer(DependencyGraph):
    """The graph of a running server, watched. It shares what ``graph`` holds, which the store goes on using."""

    __slots__ = (
        "_answered",
        "_is_taking_back",
        "_pending",
        "_receiver",
        "_told",
        "boundaries",
        "floor",
        "history",
        "synced",
    )

    def __init__(self, graph: DependencyGraph) -> None:
        super().__init__(reject_cycles=graph.reject_cycles)
        self._dependencies = graph._dependencies
        self._dependent_counts = graph._dependent_counts
        self.history: list[State] = [state_of(graph)]
        """The state after each change: ``history[n]`` is after n changes of this life of the server."""
        self.boundaries = {0}
        """After how many changes a turn has ended: a batch is kept whole or not at all."""
        self.floor = 0
        """How many changes had been made when an answer last left: none of them may be lost."""
        self.synced = 0
        """How many changes had been made when the journal was last on disk."""
        self._receiver: SimulatedSocket | None = None
        self._answered: list[Answered] = []
        self._pending: list[Answered] = []
        self._is_taking_back = False
        self._told: dict[SimulatedSocket, tuple[bytearray, bytearray]] = {}

    # What the simulation tells

    def on_turn(self) -> None:
        """A turn has ended."""
        self._flush_answered()
        self.boundaries.add(len(self.history) - 1)
        self._is_taking_back = False
        self._receiver = None

    def on_receive(self, client: SimulatedSocket) -> None:
        """The server has read from ``client``: the next lines that are applied are its lines."""
        self._receiver = client

    def on_send(self, client: SimulatedSocket, data: bytes) -> None:
        """Some bytes have left for ``client``: they must be the next bytes of its answers."""
        self._flush_answered()
        self.floor = len(self.history) - 1
        expected, sent = self._told.setdefault(client, (bytearray(), bytearray()))
        sent += data
        if not expected.startswith(sent):
            raise AssertionError(f"client {client.number} is told {bytes(sent)!r}, where {bytes(expected)!r} is true")

    def on_sync(self) -> None:
        """What was written to the journal is on disk."""
        self.synced = len(self.history) - 1

    def _flush_answered(self) -> None:
        """The turn's commit has been decided: its answers are what clients may be told."""
        for each in self._answered:
            expected, _ = self._told.setdefault(each.client, (bytearray(), bytearray()))
            expected += each.answers.encode()
        self._answered.clear()

    # What the server calls

    def apply_lines(self, text: str, changes: Changes | None = None, tally: Tally | None = None) -> str:
        """Apply the lines, and hold the answers against the naive index."""
        assert changes is not None, "a server must learn what to write down"
        before = len(changes)
        answers = super().apply_lines(text, changes, tally)
        if not text:
            return answers
        state = self.history[-1]
        expected = ""
        for line in text.split("\n")[:-1]:
            answer, next_state = answer_naively(state, line)
            expected += answer
            if next_state != state:
                state = next_state
                self.history.append(state)
        if answers != expected:
            raise AssertionError(f"{text!r} is answered {answers!r}, where {expected!r} is true")
        if len(changes) - before != len(self.history) - 1 - (self._base(changes) + before):
            raise AssertionError(f"{text!r} is said to have made {len(changes) - before} changes")
        if self._is_taking_back:
            again = self._pending.pop(0)
            if again.text != text:
                raise AssertionError(f"{text!r} is answered again, where it is the turn of {again.text!r}")
            self._answered.append(Answered(again.client, text, answers))
        else:
            if self._receiver is None:
                raise AssertionError(f"{text!r} came from nowhere")
            self._answered.append(Answered(self._receiver, text, answers))
        return answers

    def _base(self, changes: Changes) -> int:
        """Return how many changes had been made before ``changes`` began; a batch begins where a turn has ended."""
        return max(boundary for boundary in self.boundaries if boundary <= len(self.history) - 1 - len(changes))

    def undo(self, changes: Changes) -> None:
        """Take back a turn, or what one client would change."""
        super().undo(changes)
        del self.history[len(self.history) - len(changes) :]
        if state_of(self) != self.history[-1]:
            raise AssertionError("undone is not what it was")
        if self._is_taking_back:
            self._answered.pop()  # that client is refused, and must not be told anything
        else:
            self._is_taking_back = True
            self._pending = self._answered
            self._answered = []
