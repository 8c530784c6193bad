"""The commands for an index in etcd, with a real one."""

import json
import re
import socket
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from subprocess import CompletedProcess, run

import pytest

from scoop_etcd.client.api import EtcdClient, EtcdRequest, Range, Ticket, Txn, TxnResult
from scoop_etcd.client.connection_settings import ConnectionSettings
from scoop_etcd.commands import EtcdSource
from scoop_etcd.connection import open_client
from scoop_etcd.errors import ReplicationError
from scoop_etcd.formats.entries import ENTRY_VERSION
from scoop_etcd.formats.records import NodeRecord
from scoop_etcd.options import EtcdSettings
from scoop_etcd.session import EtcdSession
from scoop_server.config.access_file import read_access_file

from tests.support.etcd_cluster import EtcdCluster, needs_etcd
from tests.support.process import MODULE_COMMAND, WAIT_SECONDS, ServerProcess, run_to_end, server_environment
from tests.support.settings import read_settings
from tests.support.waiting import wait_until

pytestmark = [needs_etcd, pytest.mark.any_python]

LINES = "INDEX|gmp|\nINDEX|isl|gmp\nINDEX|gcc|gmp,isl\n"


@pytest.fixture
def place(etcd: EtcdCluster, request: pytest.FixtureRequest) -> tuple[str, ...]:
    return ("--etcd", etcd.urls, "--etcd-prefix", f"/{request.node.name}/")


def restored(lines: str, *place: str) -> CompletedProcess[str]:
    return run(
        [*MODULE_COMMAND, "restore", *place], input=lines, capture_output=True, text=True, check=False,
        timeout=WAIT_SECONDS, env=server_environment(),
    )  # fmt: skip


def test_an_index_moves_from_a_directory_to_etcd_and_back(place: tuple[str, ...], tmp_path: Path) -> None:
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    assert restored(LINES, first).returncode == 0
    dumped = run_to_end("dump", first).stdout
    assert restored(dumped, *place).returncode == 0
    with ServerProcess(*place) as server, server.connect() as client:
        assert server.package_count == 3
        assert client.ask("REMOVE|gmp|", "QUERY|gcc|") == ["FAIL", "OK"]
    assert run_to_end("dump", *place).stdout == dumped
    assert restored(dumped, second).returncode == 0
    assert run_to_end("dump", second).stdout == dumped


def test_a_dump_is_the_index_at_a_moment(place: tuple[str, ...]) -> None:
    dumps: list[tuple[str, str, str]] = []
    with ServerProcess(*place) as server, server.connect() as client:
        for name in "abc":
            assert client.ask(f"INDEX|{name}|") == ["OK"]
            dumped = run_to_end("dump", *place)
            [revision] = re.findall(r"at revision (\d+)", dumped.stderr)
            then = datetime.now(UTC)
            dumps.append((revision, then.isoformat(), dumped.stdout))
            wait_until(lambda: datetime.now(UTC) > then + timedelta(milliseconds=2))  # noqa: B023  # in this round
    for revision, moment, dumped_then in dumps:
        assert run_to_end("dump", *place, "--at", revision).stdout == dumped_then
        assert run_to_end("dump", *place, "--at", moment).stdout == dumped_then
    assert run_to_end("dump", *place, "--at", "1970-01-01").stdout.count("INDEX") == 0
    both = run_to_end("dump", *place, "--at", "1", "--revision", "1")
    assert (both.returncode, "expected --at or --revision, got both" in both.stderr) == (2, True)
    [_, until] = run_to_end("log", *place, "--until", dumps[1][1]).stdout.splitlines()
    assert until.endswith(" anonymous INDEX|b|")
    gone = run_to_end("log", *place, "--since", "999999999")
    assert (gone.returncode, "ends before batch 999999999; name an earlier one" in gone.stderr) == (8, True)
    late = run_to_end("dump", *place, "--at", "999999999")
    assert (late.returncode, late.stdout) == (1, "")
    assert "cannot rebuild the index at batch 999999999: the last revision of " in late.stderr


@pytest.mark.parametrize("at", ["1", "1970-01-01"])
def test_a_moment_before_the_snapshot_is_refused(place: tuple[str, ...], at: str) -> None:
    assert restored(LINES, *place).returncode == 0
    refused = run_to_end("dump", *place, "--at", at)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert run_to_end("dump", *place, "--at", "now").stdout == run_to_end("dump", *place).stdout
    assert re.search(r"that is before the oldest state of .*, at revision \d+; name a later one, or an", refused.stderr)


def test_a_dump_is_the_index_at_a_revision(place: tuple[str, ...], etcd: EtcdCluster) -> None:
    earlier = json.loads(etcd.etcdctl("get", "any", "-w", "json"))["header"]["revision"]
    with ServerProcess(*place) as server, server.connect() as client:
        client.ask_one_by_one("INDEX|gmp|", "INDEX|isl|gmp")
        before = run_to_end("dump", *place)
        client.ask("REMOVE|isl|")
    [revision] = re.findall(r"at revision (\d+)", before.stderr)
    assert "isl" not in run_to_end("dump", *place).stdout
    assert run_to_end("dump", *place, "--revision", revision).stdout == before.stdout
    none = run_to_end("dump", *place, "--revision", str(earlier))
    assert (none.returncode, none.stdout, f"no index at revision {earlier};" in none.stderr) == (1, "", True)
    etcd.etcdctl("compaction", str(int(revision) + 1))
    refused = run_to_end("dump", *place, "--revision", revision).stderr
    assert re.search(rf"at revision {revision}: .* has been compacted; choose a later revision\n$", refused)


class CompactedEtcd:
    """A client whose etcd is compacted once, while an index is read."""

    def __init__(self, client: EtcdClient, etcd: EtcdCluster) -> None:
        self.compactions = 0
        self._client, self._etcd = client, etcd
        self.cancel, self.poll, self.wake = client.cancel, client.poll, client.wake
        self.fileno, self.close = client.fileno, client.close

    def submit(self, request: EtcdRequest, /) -> Ticket:
        if isinstance(request, Range) and request.revision and not self.compactions:
            self.compactions += 1
            self._etcd.etcdctl("put", "/other", "")
            self._etcd.etcdctl("compaction", str(request.revision + 1))
        return self._client.submit(request)


def test_a_compaction_of_etcd_does_not_interrupt_a_command(place: tuple[str, ...], etcd: EtcdCluster) -> None:
    assert restored(LINES, *place).returncode == 0
    with closing(CompactedEtcd(open_client(ConnectionSettings(etcd.endpoints), 10), etcd)) as client:
        index = EtcdSession(client, read_settings(place).part(EtcdSettings)).load()
    assert (len(index.replica.graph), client.compactions) == (3, 1)


def test_check_reads_snapshot_and_log(place: tuple[str, ...]) -> None:
    assert restored(LINES, *place).returncode == 0
    with ServerProcess(*place) as server, server.connect() as client:
        client.ask("INDEX|mpc|gmp")
        checked = run_to_end("check", *place)
    assert checked.returncode == 0
    assert re.search(
        r"4 packages at revision \d+, in the snapshot at revision \d+ and 1 entry after it", checked.stdout
    )


def test_check_compares_the_digests_of_the_nodes(place: tuple[str, ...], etcd: EtcdCluster) -> None:
    with ServerProcess(*place) as server, server.connect() as client:
        client.ask("INDEX|gmp|")
    head = json.loads(etcd.etcdctl("get", f"{place[-1]}head", "-w", "json"))
    revision = head["kvs"][0]["mod_revision"]
    etcd.etcdctl("put", f"{place[-1]}nodes/ff", NodeRecord((), "1", revision, 0xAB).encode().decode())
    checked = run_to_end("check", *place)
    assert checked.returncode == 1
    assert f"DAMAGED: node ff: the digest at revision {revision} is 00000000000000ab, expected " in checked.stdout


def test_check_compares_the_digest_of_the_snapshot_with_the_graph(place: tuple[str, ...], etcd: EtcdCluster) -> None:
    assert restored(LINES, *place).returncode == 0
    pointer = etcd.etcdctl("get", "--print-value-only", f"{place[-1]}snapshot/current")
    wrong = re.sub('"digest": ?"[0-9a-f]+"', '"digest":"00000000000000ab"', pointer.strip())
    etcd.etcdctl("put", f"{place[-1]}snapshot/current", wrong)
    checked = run_to_end("check", *place)
    assert (checked.returncode, "DAMAGED: the digest is 00000000000000ab" in checked.stdout) == (1, True)


def test_check_finds_damage(place: tuple[str, ...], etcd: EtcdCluster) -> None:
    assert restored(LINES, *place).returncode == 0
    keys = etcd.etcdctl("get", "--prefix", "--keys-only", place[-1]).split()
    [chunk] = [key for key in keys if "snapshot/0" in key]
    etcd.etcdctl("put", chunk, "other")
    checked = run_to_end("check", *place)
    assert (checked.returncode, "chunk 0 of the snapshot in etcd: it has no header" in checked.stderr) == (1, True)


@pytest.mark.parametrize(
    ("key", "known"), [("config", 1), ("snapshot/current", 1), ("log/a1/00000000000000000001", ENTRY_VERSION)]
)
def test_an_unknown_format_ends_check_with_status_4_and_a_start_with_one_line(
    place: tuple[str, ...], etcd: EtcdCluster, key: str, known: int
) -> None:
    assert restored(LINES, *place).returncode == 0
    newer = f"#scoop entry {known + 1} of the future\n" if "log" in key else f'{{"format":{known + 1}}}'
    etcd.etcdctl("put", f"{place[-1]}{key}", newer)
    checked, started = run_to_end("check", *place), run_to_end(*place, "--port", "0", "--log-format", "text")
    assert (checked.returncode, started.returncode) == (4, 1)
    problem = f"it has format {known + 1}, this version reads format {known}; upgrade this node"
    assert re.fullmatch(rf"NEWER FORMAT: cannot read .* in etcd: {problem}\n", checked.stdout)
    assert problem in started.stderr.splitlines()[-1]


def test_restore_needs_an_empty_prefix(place: tuple[str, ...]) -> None:
    assert restored(LINES, *place).returncode == 0
    refused = restored(LINES, *place)
    assert refused.returncode == 1
    assert "it is not empty; choose another --etcd-prefix" in refused.stderr


@pytest.mark.parametrize("done", [0, 1, 2])
def test_a_restore_leaves_an_index_intact_that_was_created_meanwhile(
    place: tuple[str, ...], etcd: EtcdCluster, monkeypatch: pytest.MonkeyPatch, done: int
) -> None:
    """A node creates it after ``done`` of the three transactions: the start, one chunk, the end."""
    txn, requests = EtcdSession.txn, list[Txn]()

    def create_an_index(session: EtcdSession, request: Txn) -> TxnResult:
        requests.append(request)
        if len(requests) == done + 1:
            with ServerProcess(*place) as server, server.connect() as client:
                assert client.ask("INDEX|gmp|") == ["OK"]
        return txn(session, request)

    monkeypatch.setattr(EtcdSession, "txn", create_an_index)
    with pytest.raises(ReplicationError, match="another restore or node was faster"):
        EtcdSource(read_settings(place)).restore(BytesIO(b"INDEX|make|\n"))
    assert len(requests) == (4 if done else 1)  # only one that has begun deletes its chunks
    assert "\nINDEX|gmp|\n#end packages 1 " in run_to_end("dump", *place).stdout
    assert etcd.etcdctl("get", "--prefix", f"{place[-1]}snapshot/") == ""


def test_a_restore_that_fails_writes_nothing(place: tuple[str, ...]) -> None:
    assert "cannot restore line 1: cannot index isl: gmp is not indexed" in restored("INDEX|isl|gmp\n", *place).stderr
    for command in ("check", "dump", "log", "nodes"):
        assert "it holds no index; check --etcd-prefix" in run_to_end(command, *place).stderr


def test_nodes_lists_those_that_run(place: tuple[str, ...], tmp_path: Path) -> None:
    access = tmp_path / "access.toml"
    access.write_text('[[role]]\nname = "all"\nidentities = ["anonymous"]\ncommands = ["QUERY"]\n')
    with (
        ServerProcess(*place, "--access", str(access)) as one,
        ServerProcess(*place, "--listen", "tcp:0.0.0.0:0") as two,
    ):
        addresses = (one.addresses[0], f"{socket.gethostname()}:{two.port}")
        while not all(each in (listed := run_to_end("nodes", *place)).stdout for each in addresses):
            assert listed.returncode == 0  # a record follows the start
    assert listed.stdout.startswith("NODE ")
    digests = {line.split()[1]: line.split()[6] for line in listed.stdout.splitlines()[1:]}
    assert [digests[each] for each in addresses] == [read_access_file(access).digest, "-"]


def test_a_command_without_etcd_gives_up(tmp_path: Path) -> None:
    with EtcdCluster(tmp_path) as etcd:
        etcd.members[0].kill()
        given_up = run_to_end("check", "--etcd", etcd.urls)
    assert given_up.returncode == 1
    assert given_up.stderr.startswith("scoop-server: cannot use /scoop/ in etcd at http://")


@pytest.mark.parametrize("command", ["check", "dump", "log", "restore", "nodes"])
def test_a_command_needs_a_place(command: str) -> None:
    refused = run_to_end(command)
    assert refused.returncode == 2
    assert f"--etcd URLS (see scoop-server {command} --help)" in refused.stderr


def test_a_command_has_one_place() -> None:
    refused = run_to_end("check", "data", "--etcd", "http://h:1", command=(sys.executable, "-m", "scoop_server"))
    assert refused.returncode == 2
    assert "expected a data directory or --etcd URLS, got data and other arguments" in refused.stderr
