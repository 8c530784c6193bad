"""Can the simulation of several nodes fail? Each mutant breaks one rule of the replication, and must be found.

``python -m tests.simulation.replicated.mutants`` runs every mutant until a seed finds it, and prints which one did.
The exit status is 0 if all were found.
"""

import argparse
import contextlib
import logging
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final
from unittest.mock import patch

from scoop_etcd.client.api import KeyValue, Put, Range, RangeResult, Txn, TxnResult, Watch
from scoop_etcd.client.calls import Calls
from scoop_etcd.formats.records import Config, Pointer
from scoop_etcd.replication import entry_feed, entry_reader
from scoop_etcd.replication.appender import Appender, Entry, LoggedRequests
from scoop_etcd.replication.applier import Applier
from scoop_etcd.replication.barrier import Barrier, Queries
from scoop_etcd.replication.compaction import Compaction
from scoop_etcd.replication.entry_feed import EntryFeed
from scoop_etcd.replication.entry_reader import EntryReader
from scoop_etcd.replication.gathering import Gathering
from scoop_etcd.replication.index import ReplicatedIndex
from scoop_etcd.replication.parts import Parted, response_to
from scoop_etcd.replication.replica import Applied, Replica
from scoop_server.ports import Response

from tests.simulation.replicated.simulation import Simulation

SEEDS_MAX: Final = 2_000
"""The number of seeds that a mutant may survive before it counts as not found."""

Mutation = Callable[[], contextlib.AbstractContextManager[object]]


def _no_condition_on_the_transaction() -> Any:
    """An entry is put again when its outcome was unknown, although it may be in the log."""

    def txn(self: Calls, request: Txn, done: Any, final: Any = ()) -> Any:
        is_entry = len(request.success) == 2 and not request.failure and request.compare[0].expected == 0
        return original(self, replace(request, compare=()) if is_entry else request, done, final)

    original = Calls.txn
    return patch.object(Calls, "txn", txn)


def _no_barrier() -> Any:
    """Queries are answered from the applied state immediately."""

    def add(self: Barrier[Any], queries: Queries[Any]) -> None:
        self._held.append(queries)
        self._calls._client.wake()

    return patch.object(Barrier, "add", add)


def _barrier_serves_later_queries() -> Any:
    """A read that is on its way serves queries that arrive meanwhile."""

    def add(self: Barrier[Any], queries: Queries[Any]) -> None:
        (self._asked if self._is_asking else self._arrived).append(queries)

    return patch.object(Barrier, "add", add)


def _pointer_before_chunks() -> Any:
    """The pointer to a snapshot is put before its chunks."""

    def plan(self: Compaction, replica: Replica, covered: dict[str, int]) -> Iterator[Txn]:
        transactions = list(original(self, replica, covered))
        place = next(index for index, each in enumerate(transactions) if each.failure)
        transactions.insert(0, transactions.pop(place))
        return iter(transactions)

    original = Compaction._plan
    return patch.object(Compaction, "_plan", plan)


def _early_truncation() -> Any:
    """Entries that only the newest snapshot holds are deleted, and the pointer does not tell."""

    def plan(self: Compaction, replica: Replica, _covered: dict[str, int]) -> Iterator[Txn]:
        return original(self, replica, dict(replica.sequences))

    original = Compaction._plan
    return patch.object(Compaction, "_plan", plan)


def _truncation_before_the_pointer() -> Any:
    """Entries are deleted before there is a pointer to the snapshot that holds them."""

    def plan(self: Compaction, replica: Replica, _covered: dict[str, int]) -> Iterator[Txn]:
        transactions = list(original(self, replica, dict(replica.sequences)))
        place = next(index for index, each in enumerate(transactions) if each.failure)
        return iter(transactions[place + 1 :] + transactions[: place + 1])

    original = Compaction._plan
    return patch.object(Compaction, "_plan", plan)


def _watch_from_the_current_revision() -> Any:
    """A watch begins at the newest revision instead of the one after the position."""

    def watch(self: Calls, request: Watch, done: Any) -> Any:
        newest: int = self._client._cluster.store.revision  # type: ignore[attr-defined]  # the simulated client
        return original(self, replace(request, start_revision=newest + 1), done)

    original = Calls.watch
    return patch.object(Calls, "watch", watch)


def _watch_skips_a_revision() -> Any:
    """A watch begins one revision too late."""

    def watch(self: Calls, request: Watch, done: Any) -> Any:
        return original(self, replace(request, start_revision=request.start_revision + 1), done)

    original = Calls.watch
    return patch.object(Calls, "watch", watch)


def _answers_to_foreign_entries() -> Any:
    """An entry of another node answers the oldest batch of this one."""

    def apply(self: Applier[Any], kv: KeyValue, responses: list[Response[Any]]) -> int:
        count, sent = len(responses), self._appender._sent
        visits = original(self, kv, responses)
        if len(responses) == count and sent is not None and sent.requests and sent is self._appender._sent:
            [(client, lines)], sent.requests = sent.requests[:1], sent.requests[1:]
            responses.append(response_to((client, lines), self.replica.graph.copy().apply_lines(lines)))
        return visits

    original = Applier._apply
    return patch.object(Applier, "_apply", apply)


def _late_duplicate_is_applied() -> Any:
    """An entry of another node that was truncated and committed again is applied again."""

    def apply(self: Applier[Any], kv: KeyValue, responses: list[Response[Any]]) -> int:
        if self._settings.keys.parse_entry(kv.key)[0] == self._settings.node:
            return original(self, kv, responses)
        with patch.object(Replica, "is_next", lambda _self, _node, _seq: True):
            return original(self, kv, responses)

    original = Applier._apply
    return patch.object(Applier, "_apply", apply)


def _sequences_are_not_in_the_snapshot() -> Any:
    """A node that loads a snapshot knows no earlier entries."""

    def is_next(self: Replica, node: str, seq: int) -> bool:
        return node not in self.sequences or original(self, node, seq)

    original = Replica.is_next

    def load(pointer: Pointer, data: bytes, config: Config) -> Replica:
        replica = original_load(pointer, data, config)
        replica.sequences = defaultdict(int)
        return replica

    original_load = Replica.load
    return _all_of(patch.object(Replica, "load", load), patch.object(Replica, "is_next", is_next))


def _answer_before_delivery() -> Any:
    """A change is answered when its append is acknowledged, from the state applied so far."""

    def take(self: Appender[Any], entry: Entry[Any], result: TxnResult) -> None:
        original(self, entry, result)
        if entry.requests:
            index: ReplicatedIndex[Any] = self._calls.index  # type: ignore[attr-defined]  # set below
            answers = index.graph.copy().apply_batches([lines for _, lines in entry.requests])
            index._responses += index._with_answers(entry.requests, answers)
            entry.requests = ()

    def join(self: ReplicatedIndex[Any]) -> None:
        self.calls.index = self  # type: ignore[attr-defined]  # for take
        original_join(self)

    original, original_join = Appender._take, ReplicatedIndex._join
    return _all_of(patch.object(Appender, "_take", take), patch.object(ReplicatedIndex, "_join", join))


def _given_up_entries_are_forgotten() -> Any:
    """The number of an entry whose clients were disconnected is used again, for other lines."""

    def expired(self: Appender[Any], now: float) -> Iterator[Any]:
        given_up = list(original(self, now))
        entry = self._sent
        if entry is not None and not entry.requests:
            if entry.call is not None:
                self._calls.cancel(entry.call)
            self._sent = None
            self._last_seq -= 1
        return iter(given_up)

    original = Appender.expired
    return patch.object(Appender, "expired", expired)


def _pages_of_several_revisions() -> Any:
    """The pages of the log are read as they are now, not at one revision."""

    def read_entries(self: EntryReader, first: bytes) -> None:
        self._calls.range(
            Range(first, self._keys.entries.range_end, 0, entry_reader.ENTRIES_PER_READ), self._take_entries
        )

    return patch.object(EntryReader, "_read_entries", read_entries)


def _truncation_is_ignored() -> Any:
    """A node whose position was truncated reads the entries that are left, and loads no snapshot."""

    def take_pointer(self: EntryReader, result: RangeResult) -> None:
        if self._position is None or not result.kvs:
            original(self, result)
        else:
            kv = result.kvs[0]
            pointer = replace(Pointer.decode(kv.value), truncated=0)
            original(self, replace(result, kvs=(replace(kv, value=pointer.encode()),)))

    original = EntryReader._take_pointer
    return patch.object(EntryReader, "_take_pointer", take_pointer)


def _no_fence() -> Any:
    """A compaction continues to write after another node has become the compactor."""

    def guarded(_self: Compaction, *operations: Any) -> Txn:
        return Txn((), operations)

    def put_pointer(self: Compaction, pointer: Pointer) -> Txn:
        return Txn((), (Put(self._keys.pointer, pointer.encode()),))

    return _all_of(patch.object(Compaction, "_guarded", guarded), patch.object(Compaction, "_put_pointer", put_pointer))


def _stalled_watch_is_awaited() -> Any:
    """A watch that delivers nothing is not opened again while the head of the log moves."""
    return patch.object(entry_feed, "STALL_SECONDS", 1_000_000.0)


def _compacted_watch_goes_on() -> Any:
    """A watch that was compacted is opened at the oldest revision that can be watched."""

    def read(self: EntryFeed) -> None:
        if self.position is None:
            original(self)
        else:
            self.position = self._calls._client._cluster.store.compacted  # type: ignore[attr-defined]  # simulated
            self._open()

    original = EntryFeed._read
    return patch.object(EntryFeed, "_read", read)


def _requests_wait_for_ever() -> Any:
    """A request without a response is never given up."""
    return patch.object(Appender, "expired", lambda _self, _now: iter(()))


def _gathering_has_no_end() -> Any:
    """A request to etcd is held back until as many clients have sent as before, however long that takes."""
    return patch.object(Gathering, "_time_out", lambda _self, _number: None)


def _malformed_lines_are_not_logged() -> Any:
    """Only well-formed changes are logged, although another version may call other lines malformed."""

    def add(self: Appender[Any], batch: LoggedRequests[Any]) -> None:
        lines = batch.logged.splitlines(keepends=True)
        batch.logged = "".join(line for line in lines if line.startswith(("INDEX|", "REMOVE|", "#")))
        original(self, batch)

    original = Appender.add
    return patch.object(Appender, "add", add)


def _reordered_lists_are_not_in_the_digest() -> Any:
    """The digest of a node that was there when a list was reordered is not the one of the graph."""
    original = Replica.update_digest
    return patch.object(Replica, "update_digest", lambda self, changes, _: original(self, changes, ()))


def _snapshot_loses_the_limit() -> Any:
    """A node that loads a snapshot searches without a limit."""

    def load(pointer: Pointer, data: bytes, config: Config) -> Replica:
        return original(pointer, data, replace(config, search_limit=1_000_000))

    original = Replica.load
    return patch.object(Replica, "load", load)


def _no_limit_for_several_requests() -> Any:
    """A node that applies the requests of several clients searches without a limit."""

    def apply(self: Replica, node: str, seq: int, revision: int, texts: Any, tally: Any = None) -> Applied:
        if len(texts) == 1:
            return original(self, node, seq, revision, texts)
        limit, self.graph.search_limit = self.graph.search_limit, None
        try:
            return original(self, node, seq, revision, texts, tally)
        finally:
            self.graph.search_limit = limit

    original = Replica.apply
    return patch.object(Replica, "apply", apply)


def _rest_of_a_request_is_forgotten() -> Any:
    """What the limit of an entry has left of a request is not appended again."""
    return patch.object(Parted, "take", lambda _self, _answered, _unanswered: None)


@contextlib.contextmanager
def _all_of(*contexts: contextlib.AbstractContextManager[object]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        yield


MUTANTS: Final[tuple[Mutation, ...]] = (
    _no_condition_on_the_transaction,
    _no_barrier,
    _barrier_serves_later_queries,
    _pointer_before_chunks,
    _early_truncation,
    _truncation_before_the_pointer,
    _watch_from_the_current_revision,
    _watch_skips_a_revision,
    _answers_to_foreign_entries,
    _late_duplicate_is_applied,
    _sequences_are_not_in_the_snapshot,
    _answer_before_delivery,
    _given_up_entries_are_forgotten,
    _pages_of_several_revisions,
    _truncation_is_ignored,
    _no_fence,
    _stalled_watch_is_awaited,
    _compacted_watch_goes_on,
    _requests_wait_for_ever,
    _gathering_has_no_end,
    _malformed_lines_are_not_logged,
    _reordered_lists_are_not_in_the_digest,
    _snapshot_loses_the_limit,
    _no_limit_for_several_requests,
    _rest_of_a_request_is_forgotten,
)


def first_failure(mutant: Mutation, seeds: range) -> tuple[int, Exception] | None:
    """Return the first of ``seeds`` that finds ``mutant``, and how; None if none does."""
    for seed in seeds:
        with mutant():  # which may fail itself, because what it patches is gone
            try:
                Simulation(seed).run()
            except Exception as error:
                return seed, error
    return None


def main() -> int:
    """Hunt all mutants."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.replicated.mutants", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS_MAX, help=f"how many for each (default: {SEEDS_MAX})")
    parser.add_argument("--only", default="", help="the mutants whose name contains this")
    arguments = parser.parse_args()
    seeds = range(arguments.seeds)
    logging.disable()
    chosen = [mutant for mutant in MUTANTS if arguments.only in mutant.__name__]
    survivors = 0
    for mutant in chosen:
        name = mutant.__name__.strip("_").replace("_", " ")
        found = first_failure(mutant, seeds)
        if found is None:
            survivors += 1
            print(f"{name}: SURVIVED {len(seeds)} seeds", flush=True)
        else:
            seed, error = found
            print(f"{name}: found by seed {seed}: {type(error).__name__}: {str(error)[:100]}", flush=True)
    print(f"{len(chosen) - survivors} passed, {survivors} failed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
