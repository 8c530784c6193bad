"""The trail of an index in etcd: who made the changes of each entry, and how far back it reaches."""

import io
import select
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoop_core import Changes, LoggedBatch

from scoop_etcd.client.api import EtcdClient, EtcdRequest, KeyValue, Put, Ticket, Txn, Watch
from scoop_etcd.client.connection_settings import ConnectionSettings
from scoop_etcd.connection import open_client
from scoop_etcd.errors import ReplicationError
from scoop_etcd.formats.entries import Keys, encode_entry
from scoop_etcd.formats.records import Config
from scoop_etcd.options import EtcdSettings
from scoop_etcd.replication.compaction import Compaction
from scoop_etcd.replication.replica import Replica
from scoop_etcd.replication.trail import apply_logged
from scoop_etcd.session import EtcdSession
from scoop_server.history import BEGINNING, END, HistoryGoneError, Moment, print_log

from tests.support import strategies
from tests.support.etcd_cluster import EtcdCluster, needs_etcd
from tests.support.settings import read_settings

CONFIG = Config(False, 65_536)


@given(
    st.lists(st.tuples(st.sampled_from(["", "CN=a", "CN=b"]), strategies.lines), max_size=20),
    st.sampled_from([CONFIG, Config(True, 65_536, 2)]),
)
def test_the_author_of_a_change_is_that_of_the_line_that_made_it(sent: list[tuple[str, str]], config: Config) -> None:
    sent = [(author, line.replace("\n", "").encode().decode("latin-1")) for author, line in sent]
    by_line, graph, changes, visits = list[tuple[str, str]](), Replica.empty(config).graph, Changes(), 0
    authors = list[tuple[int, str]]()
    known = ""
    for number, (author, line) in enumerate(sent):
        if author and author != known:
            authors.append((number, known := author))
        if config.reject_cycles:
            part = graph.apply_lines_within(config.search_limit - visits, f"{line}\n", changes)
            visits += part.cost
            if part.rest:
                break
        else:
            graph.apply_lines(f"{line}\n", changes)
        by_line += [(known or "-", change) for change in changes.lines]
        changes.clear()
    text = "".join(f"{line}\n" for _, line in sent)
    keys, replica, whole = Keys("/scoop/"), Replica.empty(config), Replica.empty(config)
    kv = KeyValue(keys.entry("a1", 1), encode_entry("a1", 1, text, 5, authors), 7, 7)
    batch = apply_logged(replica, keys, kv)
    assert [(change.identity or "-", change.line) for change in batch.changes()] == by_line
    whole.apply("a1", 1, 7, [text])
    assert (replica.digest, replica.revision, replica.sequences) == (whole.digest, whole.revision, whole.sequences)
    assert apply_logged(replica, keys, kv).lines == "", "a late duplicate has no changes"


class Reader:
    """A client that does something before its first watch."""

    def __init__(self, client: EtcdClient) -> None:
        self.before_watch: Callable[[], object] = lambda: None
        self._client = client
        self.cancel, self.poll, self.wake = client.cancel, client.poll, client.wake
        self.fileno, self.close = client.fileno, client.close

    def submit(self, request: EtcdRequest, /) -> Ticket:
        if isinstance(request, Watch):
            self.before_watch()
            self.before_watch = lambda: None
        return self._client.submit(request)


class Trail:
    """An index to which entries are appended without a node."""

    def __init__(self, client: EtcdClient, reader: Reader, etcd: EtcdSettings) -> None:
        self._client = client
        self.reader = reader
        self._writing = EtcdSession(client, etcd)
        self.session = EtcdSession(reader, etcd)
        self.sequence = 0
        self.put(Put(self.session.keys.config, CONFIG.encode()))

    def put(self, *puts: Put) -> int:
        return self._writing.txn(Txn((), puts)).revision

    def append(self, *lines: str, time_ms: int = 0, author: str = "CN=a") -> int:
        """Return the revision of the entry."""
        keys = self.session.keys
        self.sequence += 1
        value = encode_entry("a1", self.sequence, "".join(f"{line}\n" for line in lines), time_ms, [(0, author)])
        return self.put(Put(keys.entry("a1", self.sequence), value), Put(keys.head, b""))

    def compact(self) -> None:
        compaction = Compaction(self._client, time.monotonic, self.session.keys, 0, CONFIG)
        while compaction.outcome is None:
            select.select([self._client.fileno()], [], [])
            compaction.advance()

    def printed(self, **arguments: str) -> list[str]:
        out = io.StringIO()
        assert print_log(self.session.batches, arguments, out) == 0
        return out.getvalue().splitlines()

    def followed(self, *steps: Callable[[], object], since: Moment = END) -> Iterator[LoggedBatch]:
        """Follow; each step is run when nothing more is there, and then time passes."""
        left = list(steps)

        def wait() -> None:
            if left:
                left.pop(0)()

        return self.session.batches(since, wait=wait)


@pytest.fixture
def trail(etcd: EtcdCluster, request: pytest.FixtureRequest) -> Iterator[Trail]:
    settings = read_settings(["--etcd", etcd.urls, "--etcd-prefix", f"/{request.node.name}/"]).part(EtcdSettings)
    connection = ConnectionSettings(etcd.endpoints)
    with closing(open_client(connection, 10)) as client, closing(Reader(open_client(connection, 10))) as reader:
        yield Trail(client, reader, settings)


@needs_etcd
def test_changes_are_selected_as_those_of_a_directory_are(trail: Trail) -> None:
    lines = ["INDEX|gmp|", "INDEX|isl|gmp", "REMOVE|isl|"]
    revisions = [trail.append(line, time_ms=1_000 * number) for number, line in enumerate(lines, 1)]
    shown = [
        f"1970-01-01T00:00:0{number}.000Z {revision} CN=a {line}"
        for number, (revision, line) in enumerate(zip(revisions, lines, strict=True), 1)
    ]
    assert trail.printed() == shown
    assert trail.printed(since=str(revisions[0]), until=str(revisions[1])) == shown[1:2]
    assert trail.printed(since="1970-01-01T00:00:02Z", until="1970-01-01T00:00:02Z") == shown[1:2]
    assert trail.printed(package="isl", identity="CN=a") == shown[1:]
    assert trail.printed(since="now") == trail.printed(identity="CN=b") == []
    with pytest.raises(HistoryGoneError, match=f"ends before batch {revisions[2] + 1}; name an earlier one"):
        trail.printed(since=str(revisions[2] + 1))


@needs_etcd
def test_the_trail_reaches_back_to_the_snapshot_once_older_entries_are_deleted(
    trail: Trail, capsys: pytest.CaptureFixture[str]
) -> None:
    first = trail.append("INDEX|gmp|")
    trail.compact()
    second = trail.append("INDEX|isl|gmp")
    assert len(trail.printed(since="0")) == 2, "the entries of the first snapshot are kept"
    assert capsys.readouterr().err == ""
    trail.compact()
    trail.append("INDEX|isl|", "INDEX|gmp|")
    assert [line.split()[-1] for line in trail.printed()] == ["INDEX|isl|"]
    assert capsys.readouterr().err.endswith(f" begins after batch {second}\n"), "what is missing is not hidden"
    assert len(trail.printed(since=str(second))) == 1
    assert capsys.readouterr().err == ""
    for since in ("0", str(first)):
        with pytest.raises(HistoryGoneError, match=f"begins after batch {second}; name a later one"):
            trail.printed(since=since)


@needs_etcd
def test_new_entries_are_followed(trail: Trail) -> None:
    trail.append("INDEX|old|")
    found = trail.followed(lambda: trail.append("INDEX|old|", "INDEX|a|"), lambda: trail.append("INDEX|b|a"))
    assert [next(found).lines for _ in range(2)] == ["INDEX|a|\n", "INDEX|b|a\n"]


@needs_etcd
def test_a_reader_that_is_left_behind_is_told(trail: Trail, etcd: EtcdCluster) -> None:
    """Entries after those that it has read are deleted before its watch begins."""

    def leave_behind() -> None:
        for name in "bc":
            trail.append(f"INDEX|{name}|")
            trail.compact()
        etcd.etcdctl("compaction", str(trail.append("INDEX|d|")))

    first = trail.append("INDEX|a|")
    trail.reader.before_watch = leave_behind
    found = trail.followed(since=BEGINNING)
    assert next(found).lines == "INDEX|a|\n"
    with pytest.raises(HistoryGoneError, match=f"has a gap after batch {first}; begin again"):
        next(found)


@needs_etcd
def test_a_reader_of_an_index_that_was_replaced_is_told(trail: Trail, etcd: EtcdCluster) -> None:
    trail.append("INDEX|a|")
    found = trail.followed(lambda: etcd.etcdctl("del", "--prefix", trail.session.keys.everything.key.decode()))
    with pytest.raises(ReplicationError, match="it was deleted or replaced; begin again"):
        next(found)
