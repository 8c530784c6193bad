"""Several nodes, their clients and a cluster of etcd, with faults at random moments, then a time without any."""

from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Final

from scoop_etcd.formats.entries import Keys
from scoop_etcd.formats.records import Config

from tests.simulation.replicated.etcd import Cluster, Member
from tests.simulation.replicated.nodes import Client, Node
from tests.simulation.replicated.oracle import Batch, Oracle
from tests.simulation.replicated.schedule import Schedule

FAULT_SECONDS: Final = 25.0
HEAL_SECONDS: Final = 14.0
"""Without faults: longer than a lease, all pauses, and a request that was sent in the last moment of the faults."""

QUIET_SECONDS: Final = 6.0
"""Without requests, at the end."""

NAMES: Final = tuple("abcdefg")
MALFORMED: Final = ("", "INDEX|a", "QUERY|a b|", "INDEX|a|b,,c", "query|a|", "QUERY|a|b c", "REMOVE||")


class Simulation:
    """One seed. :meth:`run` raises AssertionError, or what a node raises, if a rule is broken."""

    def __init__(self, seed: int, trace: Callable[[str], object] = lambda _: None) -> None:
        schedule = self.schedule = Schedule(seed)
        random = self._random = schedule.random
        self._trace = trace
        # Low limits, so that the searches of a few small packages reach them.
        config = Config(random.random() < 0.5, 65_536, random.choice((2, 4, 8, 32_768)))
        self.has_local_reads = random.random() < 0.25
        self.oracle = Oracle(Keys("/scoop/"), config)
        self.cluster = Cluster(schedule, self.oracle.put)
        answer_seconds_max = random.choice((4.0, 12.0))
        self.nodes = [
            Node(
                self.cluster,
                self.oracle,
                f"host{number}",
                config=config,
                has_local_reads=self.has_local_reads,
                answer_seconds_max=answer_seconds_max,
            )
            for number in range(random.choice((2, 3, 3)))
        ]
        self._batches = 0
        self._is_sending = True
        self._think_seconds = random.choice((0.05, 0.2, 0.6))
        self._is_compacted_often = random.random() < 0.5
        # Long ones reach the limit of an entry, some with several parts.
        self._batch_sizes = (1, 2, 3, 12) if config.reject_cycles else (1, 2, 3)
        self.unknown = 0
        """Connections that ended before the response."""

    def run(self) -> None:
        schedule = self.schedule
        for node in self.nodes:
            schedule.after(schedule.between(0, 2), partial(self._start, node))
        for _ in range(self._random.randint(2, 6)):
            self._connect()
        for _ in range(self._random.randint(3, 14)):
            schedule.after(schedule.between(0.5, FAULT_SECONDS), self._fault)
        if self._is_compacted_often:
            self._compact_often()
        schedule.run_until(FAULT_SECONDS)
        self._heal()
        schedule.run_until(FAULT_SECONDS + HEAL_SECONDS)
        self._is_sending = False
        self.cluster.is_quiet = True
        schedule.run_until(FAULT_SECONDS + HEAL_SECONDS + QUIET_SECONDS)
        for node in self.nodes:
            node.check_at_the_end()
        compactors = [node.name for node in self.nodes if node.index is not None and node.index.status.is_compactor]
        assert len(compactors) == 1, f"compactors: {compactors}"

    def _note(self, text: str) -> None:
        self._trace(f"{self.schedule.now:9.4f} {text}")

    # Clients

    def _connect(self) -> None:
        """Connect a client to a node that serves, as a load balancer does."""
        serving = [node for node in self.nodes if node.is_serving]
        if not serving:
            self.schedule.after(0.3, self._connect)
            return
        client = self._random.choice(serving).connect()
        client.answered = partial(self._think, client)
        client.disconnect = self._reconnect
        self._think(client)

    def _reconnect(self) -> None:
        self.unknown += 1
        self.schedule.after(self.schedule.between(0.01, 0.5), self._connect)

    def _think(self, client: Client) -> None:
        self.schedule.after(self._random.expovariate(1 / self._think_seconds), partial(self._send, client))

    def _send(self, client: Client) -> None:
        if not client.is_connected or not self._is_sending:
            return
        self._batches += 1
        is_change = self._random.random() < 0.6
        count = self._random.choice(self._batch_sizes)
        lines = [self._line(is_change=is_change) for _ in range(count)]
        if is_change:
            name = f"#{self._batches}"
            lines = [name, *chain.from_iterable((line, name) for line in lines)]
        batch = Batch(self._batches, tuple(lines), is_change)
        batch.is_after_faults = self.schedule.now > FAULT_SECONDS + HEAL_SECONDS / 2
        self.oracle.sent(batch)
        client.connected_to.send(client, batch)

    def _line(self, *, is_change: bool) -> str:
        random = self._random
        kind = random.random()
        if not is_change or kind < 0.2:
            return f"QUERY|{random.choice(NAMES)}|"
        if kind < 0.27:
            return random.choice(MALFORMED)
        if kind < 0.55:
            return f"REMOVE|{random.choice(NAMES)}|{random.choice(('', '', 'a'))}"
        names = random.sample(NAMES, random.choice((0, 0, 1, 1, 2, 3)))
        return f"INDEX|{random.choice(NAMES)}|{','.join(names)}"

    # Faults

    def _fault(self) -> None:
        if not self.cluster.has_faults:
            return
        fault = self._random.choice(
            (
                *(self._crash, self._crash, self._pause, self._cut_off, self._cut_off_from_member),
                *(self._isolate_member, self._isolate_member, self._lose_leader, self._lose, self._be_late),
                *(self.cluster.compact, self.cluster.compact, self._expire_lease, self._break_watches),
                *(self._exhaust_space, self._kill_compactions, self._restart_all),
                *(self._starve, self._starve, self._freeze),
            )
        )
        self._note(fault.__name__.strip("_"))
        fault()

    def _node(self) -> Node:
        return self._random.choice(self.nodes)

    def _member(self) -> Member:
        return self._random.choice(self.cluster.members)

    def _seconds(self) -> float:
        return self._random.choice((0.5, 2.0, 8.0)) * self.schedule.between(0.5, 1.0)

    def _later(self, action: Callable[[], object]) -> None:
        self.schedule.after(self._seconds(), action)

    def _crash(self) -> None:
        node = self._node()
        node.crash()
        self._later(partial(self._start, node))

    def _start(self, node: Node) -> None:
        if not node.is_up:
            self._note(f"start {node.name}")
            node.start()

    def _restart_all(self) -> None:
        for node in self.nodes:
            node.crash()
            self._later(partial(self._start, node))

    def _pause(self) -> None:
        node = self._node()
        if node.is_serving:
            node.pause(self._seconds())

    def _cut_off(self) -> None:
        """Separate a host from all members."""
        links = {(self._node().name, member.number) for member in self.cluster.members}
        self.cluster.blocked |= links
        self._later(lambda: self.cluster.blocked.difference_update(links))

    def _cut_off_from_member(self) -> None:
        link = (self._node().name, self._member().number)
        self.cluster.blocked.add(link)
        self._later(lambda: self.cluster.blocked.discard(link))

    def _isolate_member(self) -> None:
        member = self._member()
        member.is_isolated = True

        def rejoin() -> None:
            member.is_isolated = False
            self.cluster.wake_members()

        self._later(rejoin)

    def _lose_leader(self) -> None:
        self.cluster.has_leader = False
        self._later(lambda: setattr(self.cluster, "has_leader", True))

    def _lose(self) -> None:
        """Lose requests before, or answers after they have taken effect."""
        self.cluster.loss, self.cluster.answer_loss = self._random.choice(((0.3, 0.0), (0.0, 0.4), (0.2, 0.2)))
        self._later(self._lose_nothing)

    def _lose_nothing(self) -> None:
        self.cluster.loss = self.cluster.answer_loss = 0.0

    def _be_late(self) -> None:
        """Let members keep proposals, and make them take effect later."""
        self.cluster.lateness = 0.4
        self._later(lambda: setattr(self.cluster, "lateness", 0.0))

    def _expire_lease(self) -> None:
        for lease in list(self.cluster.leases):
            if self.schedule.chance(0.6):
                self.cluster.expire(lease)

    def _break_watches(self) -> None:
        for watch in list(self.cluster.watches):
            self.cluster.break_watch(watch)

    def _starve(self) -> None:
        """Separate a host for so long that the log is truncated and compacted beyond its position."""
        links = {(self._node().name, member.number) for member in self.cluster.members}
        self.cluster.blocked |= links

        def end() -> None:
            self.cluster.compact()
            self.cluster.blocked -= links

        self.schedule.after(self.schedule.between(8, 14), end)

    def _freeze(self) -> None:
        """Pause a node for as long, while its requests are under way."""
        node = self._node()
        if node.is_serving:
            node.pause(self.schedule.between(6, 14))

    def _compact_often(self) -> None:
        """Compact etcd up to the newest revisions, again and again."""
        self.cluster.compact(keep=self._random.choice((0, 3, 20)))
        if self.cluster.has_faults:
            self.schedule.after(self.schedule.between(0.2, 2), self._compact_often)

    def _exhaust_space(self) -> None:
        self.cluster.has_space = False
        self._later(lambda: setattr(self.cluster, "has_space", True))

    def _kill_compactions(self) -> None:
        for node in self.nodes:
            for compaction in node.compactions:
                compaction.kill()

    def _heal(self) -> None:
        """End all faults, and start what is down. Proposals that are late still take effect."""
        self.cluster.heal()
        self._note("all faults end")
        for node in self.nodes:
            self._start(node)

    @property
    def figures(self) -> dict[str, int]:
        """Counts of what has happened, to see that a campaign reaches what it should."""
        return {
            "steps": self.schedule.steps,
            "requests": self._batches,
            "answers": self.oracle.answered,
            "unknown outcomes": self.unknown,
            "entries": len(self.oracle.states) - 1,
            "late duplicates": self.oracle.late_duplicates,
            "entries applied in part": self.oracle.partly_applied,
            "snapshots": self.oracle.compactions,
            "starts": sum(node.starts for node in self.nodes),
        }
