"""``scoop-server log`` and ``dump --at``: who changed what, and the index as it was."""

import io
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from scoop_core import decode_dump

from scoop_server.cli.directory import EXIT_DAMAGED, EXIT_INTACT, DirectorySource
from scoop_server.cli.main import main
from scoop_server.history import HistoryGoneError, log
from scoop_server.storage.history import Retention

from tests.support.process import MODULE_COMMAND, ServerProcess, server_environment
from tests.support.storage import Bench

LINES = """\
1970-01-01T00:16:41.000Z 1 - INDEX|gmp|
1970-01-01T00:16:42.000Z 2 CN=a INDEX|isl|gmp
1970-01-01T00:16:42.000Z 2 CN=b INDEX|cloog|gmp,isl
1970-01-01T00:16:43.000Z 3 - REMOVE|cloog|
"""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def path(bench: Bench) -> str:
    """A directory whose first two batches are in its history."""
    with bench.open(retention=Retention(seconds=1e6)) as opened:
        bench.now += 1
        opened.commit("INDEX|gmp|")
        bench.now += 1
        opened.commit("INDEX|isl|gmp", "INDEX|cloog|gmp,isl", authors=[(0, "CN=a"), (1, "CN=b")])
        bench.compact_on_request(opened).complete()
        opened.tick()
        bench.now += 1
        opened.commit("REMOVE|cloog|")
    return str(bench.path)


def printed(path: str, **arguments: object) -> str:
    out = io.StringIO()
    assert log(path, arguments, out) == 0
    return out.getvalue()


def test_each_change_is_a_line_with_its_time_batch_and_identity(path: str) -> None:
    assert printed(path) == LINES


@pytest.mark.parametrize(
    ("arguments", "numbers"),
    [
        ({"since": "1"}, [1, 2, 3]),
        ({"until": "1"}, [0]),
        ({"since": "1970-01-01T00:16:42Z", "until": "1970-01-01T00:16:42.5Z"}, [1, 2]),
        ({"package": "cloog"}, [2, 3]),
        ({"package": "gmp"}, [0]),
        ({"identity": "CN=a"}, [1]),
        ({"identity": "-"}, [0, 3]),
        ({"identity": "CN=a", "package": "cloog"}, []),
        ({"since": "3"}, []),
    ],
)
def test_the_changes_can_be_filtered(path: str, arguments: dict[str, str], numbers: list[int]) -> None:
    lines = LINES.splitlines(keepends=True)
    assert printed(path, **arguments) == "".join(lines[number] for number in numbers)


def test_json_has_an_object_per_change(path: str) -> None:
    changes = [json.loads(line) for line in printed(path, json=True).splitlines()]
    assert [each["package"] for each in changes] == ["gmp", "isl", "cloog", "cloog"]
    assert [each["ends_batch"] for each in changes] == [True, False, True, True]


def test_a_wrong_moment_is_one_line(path: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["dump", path, "--at", "9999-01-01"]) == 2
    assert capfd.readouterr().err == "scoop-server: the time 9999-01-01 is in the future\n"


@pytest.mark.parametrize(("at", "packages"), [("0", []), ("1", ["gmp"]), ("2", ["cloog", "gmp", "isl"])])
def test_a_dump_is_the_index_as_it_was(
    path: str, at: str, packages: list[str], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["dump", path, "--at", at]) == 0
    assert sorted(decode_dump(capfdbinary.readouterr().out)) == packages


def test_a_moment_before_the_history_is_one_line(path: str, capfd: pytest.CaptureFixture[str]) -> None:
    os.unlink(f"{path}/history/snapshot-1")
    assert main(["dump", path, "--at", "1"]) == 1
    assert capfd.readouterr().err.startswith("scoop-server: cannot rebuild the index at batch 1: that is before the ")


@pytest.mark.parametrize("arguments", [["log"], ["dump", "--at", "1"]])
def test_a_data_directory_is_needed(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "expected a data directory " in capfd.readouterr().err


def test_check_covers_the_history(path: str) -> None:
    out = io.StringIO()
    assert DirectorySource(path).check(out) == EXIT_INTACT
    assert f"{path}: a history of the batches 1 to 3\n" in out.getvalue()
    data = Path(path, "history", "journal-1")
    data.write_bytes(data.read_bytes().replace(b"isl", b"ils"))
    out = io.StringIO()
    assert DirectorySource(path).check(out) == EXIT_DAMAGED
    assert f"the history in {path} has a gap after batch 1 " in out.getvalue()
    data.unlink()
    out = io.StringIO()
    assert DirectorySource(path).check(out) == EXIT_INTACT, "the oldest journal may be archived elsewhere"
    assert "a history of the batches 3 to 3" in out.getvalue()


def test_check_reads_an_archive_whole(bench: Bench, tmp_path: Path) -> None:
    with bench.open(retention=Retention(seconds=1e6)) as opened:
        for number in range(9):
            opened.commit(f"INDEX|{'package' * 30}-{number}|")
            bench.compact_on_request(opened).complete()
            opened.tick()
    archive = shutil.copytree(bench.path / "history", tmp_path / "archive")
    assert len([*archive.glob("snapshot-*")]) > 1
    out = io.StringIO()
    assert DirectorySource(str(archive)).check(out) == EXIT_INTACT
    assert out.getvalue().endswith(f"{archive}: a history of the batches 1 to 9\n")
    assert "a start would" not in out.getvalue()
    (archive / "journal-3").unlink()
    out = io.StringIO()
    assert DirectorySource(str(archive)).check(out) == EXIT_DAMAGED
    assert f"the history in {archive} has a gap after batch 2 " in out.getvalue()


def test_a_gap_is_reported_after_the_changes_before_it(bench: Bench, path: str) -> None:
    with bench.open(retention=Retention(seconds=1e6)) as opened:
        opened.commit("INDEX|new|")
        opened.save()
    os.unlink(f"{path}/history/journal-2")
    out = io.StringIO()
    with pytest.raises(HistoryGoneError, match="has a gap after batch 2 "):
        log(path, {}, out)
    assert out.getvalue() == "".join(LINES.splitlines(keepends=True)[:3])


def test_new_changes_are_followed_until_an_interrupt(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    with (
        ServerProcess("--data-dir", data, "--history", "1h") as server,
        server.connect() as client,
    ):
        assert client.ask("INDEX|a|") == ["OK"]
        with subprocess.Popen(
            [*MODULE_COMMAND, "log", data, "--follow"], stdout=subprocess.PIPE, env=server_environment(), text=True
        ) as follower:
            assert follower.stdout is not None
            assert follower.stdout.readline().endswith(" INDEX|a|\n")
            assert client.ask("INDEX|b|a") == ["OK"]
            server.send_signal(signal.SIGUSR1)
            assert follower.stdout.readline().endswith(" INDEX|b|a\n")
            assert client.ask("INDEX|c|a") == ["OK"]
            assert follower.stdout.readline().endswith(" INDEX|c|a\n")
            follower.send_signal(signal.SIGINT)
            assert follower.wait() == 130
