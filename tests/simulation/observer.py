"""The oracle of a simulation: it knows every state that was reached, every response, and what a crash may leave."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from scoop_core import DependencyGraph

from scoop_server.index.local import LocalIndex
from scoop_server.loop.client import Client
from scoop_server.ports import Request, Response

from tests.simulation.network import SimulatedSocket

State = Mapping[str, frozenset[str]]


def state_of(graph: DependencyGraph) -> State:
    """Return the content of ``graph`` as plain values."""
    return {package: frozenset(graph.dependencies(package)) for package in graph}


def answer_naively(state: State, line: str, *, rejects_cycles: bool = False) -> tuple[str, State]:
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
        fails = not names <= state.keys() or (rejects_cycles and closes_cycle(state, package, names))
        return ("FAIL\n", state) if fails else ("OK\n", {**state, package: names})
    if any(package in needed for name, needed in state.items() if name != package):
        return "FAIL\n", state
    return "OK\n", {name: needed for name, needed in state.items() if name != package}


def closes_cycle(state: State, package: str, names: frozenset[str]) -> bool:
    """Return whether one of the new dependencies ``names`` depends on ``package``."""
    needed: frozenset[str] = frozenset()
    more = names - state.get(package, frozenset())
    while more != needed:
        needed, more = more, more.union(*(state[name] for name in more))
    return package in needed


def answer_all_naively(states: list[State], lines: str, *, rejects_cycles: bool = False) -> str:
    """Answer ``lines`` from the last of ``states``; append the state after each change."""
    answers = ""
    for line in lines.split("\n")[:-1]:
        answer, state = answer_naively(states[-1], line, rejects_cycles=rejects_cycles)
        answers += answer
        if state != states[-1]:
            states.append(state)
    return answers


class Observer:
    """The index of a simulated server, observed: it checks each response of ``index`` against a naive index."""

    def __init__(self, index: LocalIndex[Client], graph: DependencyGraph) -> None:
        self._index = index
        self.history: list[State] = [state_of(graph)]
        """The state after each change: ``history[n]`` is after n changes of this life of the server."""
        self.boundaries = {0}
        """The numbers of changes after which a turn ended: a batch survives as a whole or not at all."""
        self.floor = 0
        """The number of changes made before the last response was sent: none of them may be lost."""
        self.synced = 0
        """The number of changes made before the last sync of the journal."""
        self.check: Callable[[Sequence[Request[Client]]], None] = lambda _: None
        """Called with the requests of each turn."""
        self._expected: dict[SimulatedSocket, bytes] = {}
        self._sent: dict[SimulatedSocket, bytes] = {}
        self._turn: Sequence[Request[Client]] = ()

    def identify(self, identity_of: Callable[[Client], str]) -> None:
        """Let the index store the identity of each client with its changes."""
        self._index.identify = identity_of

    def turn(self) -> Iterable[Request[Client]]:
        """Return the requests that are being executed."""
        return self._turn

    # The Index port

    def execute(self, requests: Sequence[Request[Client]]) -> Sequence[Response[Client]]:
        """Execute the requests, and check the responses."""
        assert len(dict(requests)) == len(requests), "a client has one request per turn"
        self.check(requests)
        self._turn = requests
        before = len(self.history)
        expected = [answer_all_naively(self.history, lines) for _, lines in requests]
        responses = self._index.execute(requests)
        assert [response[:2] for response in responses] == list(requests), "each request has one response, in order"
        if any(answers is None for _, _, answers in responses):
            del self.history[before:]  # the turn was rolled back: each client sees the state before it
            expected = [self._answer_alone(lines, answers) for _, lines, answers in responses]
        self.boundaries.add(len(self.history) - 1)
        for (client, lines, answers), right in zip(responses, expected, strict=True):
            if answers is None:
                continue
            if answers != right:
                raise AssertionError(f"{lines!r} is answered {answers!r}, expected {right!r}")
            self._expect(client, answers)
        return responses

    def _expect(self, client: Client, answers: str) -> None:
        socket = self._socket_of(client)
        self._expected[socket] = self._expected.get(socket, b"") + answers.encode()

    def _answer_alone(self, lines: str, answers: str | None) -> str:
        states = [self.history[-1]]
        right = answer_all_naively(states, lines)
        if (len(states) > 1) is not (answers is None):
            raise AssertionError(f"{lines!r} is answered {answers!r} after a roll-back, expected {right!r}")
        return right

    def completed(self) -> Sequence[Response[Client]]:
        """See :class:`scoop_server.ports.Index`."""
        return self._index.completed()

    @property
    def is_pending(self) -> bool:
        """See :class:`scoop_server.ports.Index`."""
        return self._index.is_pending

    @property
    def write_delay(self) -> float:
        """See :class:`scoop_server.ports.Index`."""
        return self._index.write_delay

    def fileno(self) -> int | None:
        """See :class:`scoop_server.ports.Index`."""
        return self._index.fileno()

    # What the simulated network and disk report

    def on_send(self, client: SimulatedSocket, data: bytes) -> None:
        """Check that the bytes sent to ``client`` are the next ones of its responses."""
        self.floor = len(self.history) - 1
        sent = self._sent[client] = self._sent.get(client, b"") + data
        expected = self._expected.get(client, b"")
        if not expected.startswith(sent):
            raise AssertionError(f"client {client.number} is sent {sent!r}, expected {expected!r}")

    def on_sync(self) -> None:
        """Note that everything written to the journal is on disk."""
        self.synced = len(self.history) - 1

    @staticmethod
    def _socket_of(client: Client) -> SimulatedSocket:
        assert isinstance(client.stream, SimulatedSocket)
        return client.stream
