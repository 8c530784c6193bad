"""A simulated cluster of etcd, with every fault that a real one and its network have, and its clients.

The consensus itself is not simulated: there is one :class:`~tests.simulation.replicated.store.Store`. A member may
be behind it, may hold proposals that take effect late, and may be cut off from the others and from clients.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from scoop_etcd.client.api import (
    ErrorCode,
    EtcdRequest,
    Failure,
    KeyValue,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseResult,
    Put,
    Range,
    Result,
    Ticket,
    Txn,
    Watch,
    WatchEnded,
    WatchEvents,
)

from tests.simulation.replicated.schedule import Schedule
from tests.simulation.replicated.store import Store

MEMBERS: Final = 3
REQUEST_SECONDS_MAX: Final = 2.0
LATE_SECONDS_MAX: Final = 40.0
UNAVAILABLE: Final = Failure(ErrorCode.UNAVAILABLE, "etcdserver: leader changed")


@dataclass(eq=False)
class Member:
    """A member: how far it has applied the store, and whether the others reach it."""

    number: int
    applied: int = 0
    is_isolated: bool = False
    is_catching_up: bool = False


@dataclass(eq=False)
class OpenWatch:
    """A watch on a member. ``next`` is the first revision that it has not looked at."""

    client: "SimulatedClient"
    ticket: Ticket
    request: Watch
    member: Member
    next: int
    is_scheduled: bool = False
    is_silent: bool = False
    """It delivers nothing more, and nobody is told."""
    arrives_at: float = 0.0
    """The time at which its last message arrives; later ones arrive later."""


class Cluster:
    """The members and their faults."""

    def __init__(self, schedule: Schedule, on_put: Callable[[KeyValue], None]) -> None:
        self.schedule = schedule
        self.store = Store(on_put)
        self.members = [Member(number) for number in range(MEMBERS)]
        self.watches: list[OpenWatch] = []
        self.leases: dict[int, float] = {}
        """Each lease with the time at which it expires."""
        self._lease_count = 0
        self.blocked: set[tuple[str, int]] = set()
        """Hosts and members between which nothing passes."""
        self.has_faults = True
        self.has_leader = True
        self.has_space = True
        self.loss = 0.0
        self.answer_loss = 0.0
        self.lateness = 0.0
        self.is_quiet = False
        """No proposal takes effect late any more."""

    def is_blocked(self, host: str, member: Member) -> bool:
        return (host, member.number) in self.blocked

    # Requests

    def arrive(self, client: "SimulatedClient", ticket: Ticket, request: EtcdRequest, member: Member) -> None:
        """Process a request that has been sent to ``member``."""
        schedule = self.schedule
        if self.is_blocked(client.host, member) or schedule.chance(self.loss):
            return
        if isinstance(request, Watch):
            self._open_watch(client, ticket, request, member)
            return
        has_quorum = self.has_leader and not member.is_isolated
        if not has_quorum or schedule.chance(self.lateness):
            # A proposal waits in the member. Reads and renewals of leases are no proposals: the leader answers them.
            if not isinstance(request, Range | LeaseKeepAlive) and schedule.chance(0.7):
                delay = schedule.between(0.01, LATE_SECONDS_MAX) if schedule.chance(0.5) else schedule.between(0.01, 3)
                schedule.after(delay, partial(self._execute_late, request))
            if schedule.chance(0.5):
                self._answer(client, ticket, UNAVAILABLE, member)
            return
        self._answer(client, ticket, self.execute(request), member)

    def _answer(self, client: "SimulatedClient", ticket: Ticket, result: Result, member: Member) -> None:
        if self.schedule.chance(self.answer_loss):
            return

        def deliver() -> None:
            if not self.is_blocked(client.host, member):
                client.complete(ticket, result)

        self.schedule.after(self.delay(), deliver)

    def delay(self) -> float:
        schedule = self.schedule
        return schedule.between(0.0005, 0.005) if schedule.chance(0.9) else schedule.between(0.005, 0.2)

    def _execute_late(self, request: EtcdRequest) -> None:
        if not self.is_quiet:
            self.execute(request)

    def execute(self, request: EtcdRequest) -> Result:
        before = self.store.revision
        result = self._execute_now(request)
        if self.store.revision != before:
            self.wake_members()
        return result

    def _execute_now(self, request: EtcdRequest) -> Result:
        match request:
            case Range():
                return self.store.range(request, self.schedule.random.choice((0, 1, 5)))
            case Txn():
                puts = [each for each in (*request.success, *request.failure) if isinstance(each, Put)]
                if puts and not self.has_space:
                    return Failure(ErrorCode.NO_SPACE, "etcdserver: mvcc: database space exceeded")
                if any(put.lease and put.lease not in self.leases for put in puts):
                    return Failure(ErrorCode.LEASE_NOT_FOUND, "etcdserver: requested lease not found")
                return self.store.txn(request)
            case LeaseGrant(ttl):
                self._lease_count += 1
                return self._renew(self._lease_count, ttl)
            case LeaseKeepAlive(lease):
                if lease not in self.leases:
                    return Failure(ErrorCode.LEASE_NOT_FOUND, "etcdserver: requested lease not found")
                return self._renew(lease, 10)
            case _:
                raise AssertionError(request)

    # Leases

    def _renew(self, lease: int, ttl: int) -> LeaseResult:
        self.leases[lease] = self.schedule.now + ttl
        self.schedule.after(ttl + 0.001, partial(self._check_lease, lease))
        return LeaseResult(lease)

    def _check_lease(self, lease: int) -> None:
        if self.leases.get(lease, self.schedule.now) < self.schedule.now:
            if self.has_leader:
                self.expire(lease)
            else:
                self.schedule.after(1.0, partial(self._check_lease, lease))

    def expire(self, lease: int) -> None:
        if self.leases.pop(lease, None) is not None:
            self.store.delete_lease(lease)

    # Watches

    def _open_watch(self, client: "SimulatedClient", ticket: Ticket, request: Watch, member: Member) -> None:
        if not client.has_open(ticket):
            return
        watch = OpenWatch(client, ticket, request, member, request.start_revision)
        self.watches.append(watch)
        self._schedule_delivery(watch)

    def wake_members(self) -> None:
        for member in self.members:
            if not member.is_catching_up:
                member.is_catching_up = True
                self.schedule.after(self.delay(), partial(self._catch_up, member))

    def _catch_up(self, member: Member) -> None:
        member.is_catching_up = False
        if member.is_isolated:
            return
        member.applied = self.store.revision
        for watch in self.watches:
            if watch.member is member:
                self._schedule_delivery(watch)

    def _schedule_delivery(self, watch: OpenWatch) -> None:
        if not watch.is_scheduled:
            watch.is_scheduled = True
            delay = self.delay() if self.schedule.chance(0.95) else self.schedule.between(0.1, 1.5)
            self.schedule.after(delay, partial(self._deliver, watch))

    def _deliver(self, watch: OpenWatch) -> None:
        """Send what a watch has not sent yet, in fragments."""
        watch.is_scheduled = False
        if watch not in self.watches or watch.is_silent:
            return
        if watch.next < self.store.compacted:
            self.watches.remove(watch)
            ended = WatchEnded(ErrorCode.COMPACTED, "required revision has been compacted")
            self._send(watch, ended)
            return
        member, request = watch.member, watch.request
        if watch.next > member.applied:
            return
        puts = self.store.puts_between(watch.next, member.applied)
        events = [kv for kv in puts if request.key <= kv.key < request.range_end]
        watch.next = member.applied + 1
        random = self.schedule.random
        while events:
            count = random.randint(1, len(events))
            self._send(watch, WatchEvents(tuple(events[:count])))
            del events[:count]
        if random.random() < 0.05:
            self._send(watch, WatchEvents(()))  # progress

    def _send(self, watch: OpenWatch, result: WatchEvents | WatchEnded) -> None:
        """Send a message of a watch, after those before it."""
        watch.arrives_at = max(watch.arrives_at, self.schedule.now + self.delay()) + 1e-6

        def arrive() -> None:
            if watch.is_silent:
                return
            if self.is_blocked(watch.client.host, watch.member):
                self.break_watch(watch)
            else:
                watch.client.deliver(watch.ticket, result)

        self.schedule.after(watch.arrives_at - self.schedule.now, arrive)

    def break_watch(self, watch: OpenWatch) -> None:
        """Lose the connection of a watch and all that is on its way; the client may notice late, or never."""
        watch.is_silent = True
        if watch in self.watches:
            self.watches.remove(watch)
        if self.schedule.chance(0.6):
            ended = WatchEnded(ErrorCode.UNAVAILABLE, "connection reset")
            self.schedule.after(self.schedule.between(0.001, 3), partial(watch.client.deliver, watch.ticket, ended))

    # Faults

    def compact(self, keep: int | None = None) -> None:
        """Compact up to a random revision, or all but the newest ``keep``."""
        if keep is None:
            keep = self.schedule.random.randint(0, self.store.revision - self.store.compacted)
        self.store.compacted = max(self.store.compacted, self.store.revision - keep)

    def heal(self) -> None:
        """End all faults."""
        self.has_faults = False
        self.blocked.clear()
        self.loss = self.answer_loss = self.lateness = 0.0
        self.has_leader = self.has_space = True
        for member in self.members:
            member.is_isolated = False
        self.wake_members()


class SimulatedClient:
    """A client on ``host``; satisfies ``scoop_etcd.client.api.EtcdClient``."""

    def __init__(self, cluster: Cluster, host: str, readable: Callable[[], None]) -> None:
        self._cluster = cluster
        self.host = host
        self._readable = readable
        self._open: dict[Ticket, EtcdRequest] = {}
        self._completed: list[tuple[Ticket, Result]] = []
        self._count = 0
        self._is_closed = False
        self._member = cluster.schedule.random.choice(cluster.members)
        self._watch_member = self._member

    def submit(self, request: EtcdRequest, /) -> Ticket:
        cluster = self._cluster
        self._count += 1
        ticket = self._count
        self._open[ticket] = request
        member = self._member
        if isinstance(request, Watch):
            if request.elsewhere:
                self._watch_member = self._other(self._watch_member)
            member = self._watch_member
        else:
            cluster.schedule.after(REQUEST_SECONDS_MAX, partial(self._time_out, ticket))
        cluster.schedule.after(cluster.delay(), partial(cluster.arrive, self, ticket, request, member))
        return ticket

    def _other(self, member: Member) -> Member:
        return self._cluster.schedule.random.choice([each for each in self._cluster.members if each is not member])

    def _time_out(self, ticket: Ticket) -> None:
        if ticket in self._open:
            self._member = self._other(self._member)
            self.complete(ticket, Failure(ErrorCode.TIMED_OUT, "no response"))

    def has_open(self, ticket: Ticket) -> bool:
        return ticket in self._open

    def complete(self, ticket: Ticket, result: Result) -> None:
        """Take the result of a request."""
        if self._open.pop(ticket, None) is not None:
            if result is UNAVAILABLE:
                self._member = self._other(self._member)
            self._take(ticket, result)

    def deliver(self, ticket: Ticket, result: WatchEvents | WatchEnded) -> None:
        """Take a message of a watch."""
        if ticket in self._open:
            if isinstance(result, WatchEnded):
                del self._open[ticket]
            self._take(ticket, result)

    def _take(self, ticket: Ticket, result: Result) -> None:
        if not self._is_closed:
            self._completed.append((ticket, result))
            self._readable()

    def cancel(self, ticket: Ticket, /) -> None:
        request = self._open.pop(ticket, None)
        self._completed = [each for each in self._completed if each[0] != ticket]
        if isinstance(request, Watch):
            self._cluster.watches = [
                watch for watch in self._cluster.watches if watch.client is not self or watch.ticket != ticket
            ]

    def poll(self) -> Sequence[tuple[Ticket, Result]]:
        completed, self._completed = self._completed, []
        return completed

    def wake(self) -> None:
        self._readable()

    def fileno(self) -> int:
        raise AssertionError("there is no selector in a simulation")

    def close(self) -> None:
        self._is_closed = True
        self._open.clear()
        self._completed = []
        self._cluster.watches = [watch for watch in self._cluster.watches if watch.client is not self]
