"""An OK is on disk: the real process, killed, without space, and on a disk that fails."""

import errno
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from scoop_core import DependencyGraph

from tests.support.data_directory import create_directory, index_in
from tests.support.faulty_files import contents_of, names_in
from tests.support.full_disk import LESS_THAN_THEIR_SNAPSHOT, LONG_PREFIX, index_chain, set_file_size_limit
from tests.support.process import WAIT_SECONDS, ServerProcess, connected, run_to_end

pytestmark = pytest.mark.any_python

SYNC_WATCH: Final = """
import errno, os, sys
from scoop_server.cli.main import main
from scoop_server.storage.files import OperatingSystem

calls = 0
fails_at = int(sys.argv.pop(1))

def fdatasync(descriptor, real=os.fdatasync):
    global calls
    calls += 1
    os.write(2, b"fdatasync %d\\n" % calls)  # in one call, because the log has a thread of its own
    if calls == fails_at:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    real(descriptor)

OperatingSystem.fdatasync = staticmethod(fdatasync)
sys.exit(main())
"""
"""A server that tells of each fdatasync; the one with the number of the first argument fails."""


def watched(fails_at: int = 0) -> Sequence[str]:
    return (sys.executable, "-c", SYNC_WATCH, str(fails_at))


def sync_count(server: ServerProcess) -> int:
    return sum(line.startswith("fdatasync ") for line in server.log_lines)


def until_logged(server: ServerProcess, text: str) -> Iterator[int]:
    """Count up until the server has logged ``text``, and no longer than a test may wait."""
    deadline = time.monotonic() + WAIT_SECONDS
    for number in count():
        if any(text in line for line in server.log_lines):
            return
        if time.monotonic() > deadline:
            raise AssertionError("\n".join([f"no log line holds {text!r}:", *server.log_lines]))
        yield number


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data"


# Killed


@pytest.mark.parametrize("fsync", ["always", "everysec", "never"])
def test_acknowledged_changes_survive_a_kill(path: Path, fsync: str) -> None:
    arguments = ("--data-dir", str(path), "--fsync", fsync)
    with ServerProcess(*arguments) as server, connected(server, 5) as clients:
        for number, client in enumerate(clients):
            index_chain(client, f"c{number}-", 20)
        assert clients[0].ask("REMOVE|c0-19|", "INDEX|c0-0|c0-0,c1-0") == ["OK", "OK"]
        assert f", fsync {fsync})" in server.log_lines[-1]
        server.kill()
    with ServerProcess(*arguments) as server, server.connect() as client:
        assert server.package_count == 99
        expected = ["OK"] * 19 + ["FAIL"]
        for number in range(5):
            assert client.ask(*(f"QUERY|c{number}-{package}|" for package in range(20))) == (
                expected if number == 0 else ["OK"] * 20
            )
        assert client.ask("REMOVE|c1-19|", "REMOVE|c1-0|", "INDEX|new|") == ["OK", "FAIL", "OK"]
        server.kill()
    graph = index_in(path)
    assert len(graph) == 99
    assert graph.dependencies("c0-0") == ("c0-0", "c1-0")


def test_always_syncs_before_each_answer(path: Path) -> None:
    with ServerProcess("--data-dir", str(path), command=watched()) as server, server.connect() as client:
        for number in range(1, 6):
            assert client.ask(f"INDEX|{number}|") == ["OK"]
            server.wait_for_log(rf"^fdatasync {number}$")
            assert client.ask(f"QUERY|{number}|", f"INDEX|{number}|", "broken") == ["OK", "OK", "ERROR"]
        assert sync_count(server) == 5
        server.kill()


def test_damage_is_a_refusal_to_start_before_anyone_can_connect(path: Path) -> None:
    with ServerProcess("--data-dir", str(path)) as server, server.connect() as client:
        assert client.ask("INDEX|a|") == ["OK"]
        assert client.ask("INDEX|b|") == ["OK"]
        server.kill()
    journal = path / "journal-1"
    journal.write_bytes(journal.read_bytes().replace(b"INDEX|a|", b"INDEX|x|"))
    before = contents_of(path)
    ended = run_to_end("--data-dir", str(path), "--port", "0")
    assert ended.returncode == 1
    assert re.fullmatch(
        rf"scoop-server: cannot read {journal}: byte \d+: batch 1 is damaged: the seal of batch 2 proves that it "
        rf"was on disk; restore the directory from a backup, or inspect it with: scoop-server check {path}\n",
        ended.stderr,
    )
    del before["lock"]
    assert {name: held for name, held in contents_of(path).items() if name != "lock"} == before


# A disk that fails


@pytest.mark.parametrize("fails_at", [1, 3])
def test_a_sync_that_fails_ends_the_process_with_one_line_and_without_an_answer(path: Path, fails_at: int) -> None:
    with ServerProcess("--data-dir", str(path), command=watched(fails_at)) as server, connected(server, 3) as clients:
        for number in range(1, fails_at):
            assert clients[0].ask(f"INDEX|{number}|") == ["OK"]
        assert clients[1].ask("QUERY|1|") == ["OK" if fails_at > 1 else "FAIL"]
        clients[0].send(b"QUERY|1|\nINDEX|last|\nQUERY|last|\n")
        for client in clients:
            client.wait_until_closed()
        assert server.wait() == 1
        assert sync_count(server) == fails_at
        errors = [line for line in server.log_lines if not re.match(r"fdatasync |20\d\d-.* INFO ", line)]
        assert errors == [
            (
                f"scoop-server: cannot sync {path}/journal-1: Input/output error; the changes of this turn were not "
                "acknowledged, so check the disk and start again"
            )
        ]
    # The unanswered change may be recovered or not; the answered ones must be.
    packages = set(index_in(path))
    assert packages - {"last"} == {str(number) for number in range(1, fails_at)}
    with ServerProcess("--data-dir", str(path)) as server:
        assert server.package_count == len(packages)


def test_a_late_sync_that_fails_ends_the_process_too(path: Path) -> None:
    with (
        ServerProcess("--data-dir", str(path), "--fsync", "everysec", command=watched(1)) as server,
        server.connect() as client,
    ):
        assert client.ask("INDEX|a|") == ["OK"]
        client.wait_until_closed()
        assert server.wait() == 1
        assert server.log_lines[-1].startswith(f"scoop-server: cannot sync {path}/journal-1: Input/output error; ")


# No space left


def test_no_space_left(path: Path) -> None:
    with ServerProcess("--data-dir", str(path)) as server, server.connect() as reader:
        assert reader.ask("INDEX|base|", "INDEX|top|base") == ["OK", "OK"]
        journal = path / "journal-1"
        before = journal.read_bytes().rstrip(b"\0")  # preallocated space follows it
        set_file_size_limit(server, len(before) + 50)
        for requests in (b"INDEX|new|\n", b"REMOVE|top|\n", b"QUERY|base|\nINDEX|top|\nQUERY|base|\n"):
            with server.connect() as changer:
                changer.send(requests)
                changer.wait_until_closed()
            assert reader.ask("QUERY|base|", "QUERY|top|", "QUERY|new|") == ["OK", "OK", "FAIL"]
            assert reader.ask("INDEX|top|base", "INDEX|x|new", "REMOVE|base|", "?") == ["OK", "FAIL", "FAIL", "ERROR"]
            assert journal.read_bytes() == before
        set_file_size_limit(server, resource.RLIM_INFINITY)
        assert reader.ask("INDEX|new|base", "QUERY|new|") == ["OK", "OK"]
        server.wait_for_log(f"INFO changes to {path} are accepted again")
        reason = f"cannot write to {journal}: {os.strerror(errno.EFBIG)}"
        server.wait_for_log(f"ERROR {reason}; changes are refused until that is resolved, queries continue")
        server.kill()
    assert sorted(index_in(path)) == ["base", "new", "top"]


def test_many_clients_and_no_space_left(path: Path) -> None:
    """Queries are answered; a client that requests a change is disconnected, and never gets a wrong response."""
    with ServerProcess("--data-dir", str(path)) as server, connected(server, 20) as readers:
        assert readers[0].ask("INDEX|base|") == ["OK"]
        set_file_size_limit(server, len((path / "journal-1").read_bytes().rstrip(b"\0")) + 10)
        with connected(server, 20) as changers:
            for number, (changer, reader) in enumerate(zip(changers, readers, strict=True)):
                changer.send(b"INDEX|%d|base\n" % number)
                reader.send(b"QUERY|base|\nQUERY|%d|\nINDEX|x|%d\nREMOVE|%d|\n" % (number, number, number))
            for changer in changers:
                changer.wait_until_closed()
            assert [reader.read_answers(4) for reader in readers] == [["OK", "FAIL", "FAIL", "OK"]] * 20
        set_file_size_limit(server, resource.RLIM_INFINITY)
        assert readers[0].ask("REMOVE|base|") == ["OK"]


def test_no_space_for_the_snapshot_of_a_shutdown_loses_nothing(path: Path) -> None:
    with ServerProcess("--data-dir", str(path)) as server, server.connect() as client:
        index_chain(client, LONG_PREFIX, 2_000)
        set_file_size_limit(server, LESS_THAN_THEIR_SNAPSHOT)
        assert server.stop() == 1
        assert [line for line in server.log_lines if line.startswith("scoop-server: ")] == [
            (
                f"scoop-server: cannot save a snapshot in {path}: {os.strerror(errno.EFBIG)}; its journals hold "
                "every acknowledged change; check the disk and the path of the directory, and then the files with: "
                "scoop-server check"
            )
        ]
    with ServerProcess("--data-dir", str(path)) as server:
        assert server.package_count == 2_000


def test_without_a_descriptor_for_a_journal_changes_are_refused(path: Path) -> None:
    """A process that has resumed a directory opens a file at its first change; clients may hold all descriptors."""
    create_directory(path, DependencyGraph())
    with ServerProcess("--data-dir", str(path), descriptors_max=20) as server:
        with connected(server, 30) as clients:
            server.wait_for_log("cannot accept connections")
            assert clients[0].ask("QUERY|a|") == ["FAIL"]
            clients[0].send(b"INDEX|a|\n")
            clients[0].wait_until_closed()
            server.wait_for_log("cannot create a journal in .*: Too many open files; changes are refused")
            assert clients[1].ask("QUERY|a|") == ["FAIL"]
        with server.connect() as client:
            assert client.ask("QUERY|a|", "INDEX|a|") == ["FAIL", "OK"]
        assert server.stop() == 0
    assert sorted(index_in(path)) == ["a"]


# Compaction


def test_clients_are_served_while_a_compaction_runs(path: Path) -> None:
    with ServerProcess("--data-dir", str(path)) as server, server.connect() as client:
        index_chain(client, "old-", 300)
        server.send_signal(signal.SIGUSR1)
        server.wait_for_log("received SIGUSR1")
        indexed = 0
        for number in until_logged(server, "is complete"):
            assert client.ask_one_by_one(f"INDEX|new-{number}|old-299", f"QUERY|old-{number % 300}|") == ["OK", "OK"]
            indexed = number + 1
        server.wait_for_log(f"compaction into {path}/snapshot-2 has begun")
        server.wait_for_log(f"compaction into {path}/snapshot-2 is complete")
        assert names_in(path) == {"snapshot-2", "journal-2"}
        assert client.ask("REMOVE|old-299|") == ["FAIL" if indexed else "OK"]
        server.kill()
    with ServerProcess("--data-dir", str(path)) as server:
        assert server.package_count == 300 + indexed
