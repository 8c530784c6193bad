"""``scoop log`` and ``scoop watch``: the history of a directory, beside a server that changes it."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from scoop_client.cli.status import ExitStatus

from tests.support.command import Scoop
from tests.support.process import WAIT_SECONDS, ServerProcess, run_to_end, server_environment
from tests.support.waiting import wait_until

pytestmark = pytest.mark.any_python

COMMAND: Final = (sys.executable, "-m", "scoop_client.cli.main")


@pytest.fixture
def data(tmp_path: Path) -> str:
    return str(tmp_path / "data")


class Watch:
    """A running ``scoop watch``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.send_signal = process.send_signal

    def read(self, count: int) -> list[str]:
        """Wait for so many changes; return their requests."""
        assert self._process.stdout is not None
        return [self._process.stdout.readline().rstrip("\n").split(" ", 3)[-1] for _ in range(count)]

    def end(self) -> tuple[int, str, str]:
        """Wait until it has ended; return its status, and what it has printed since."""
        out, err = self._process.communicate(timeout=WAIT_SECONDS)
        return self._process.returncode, out, err


@contextmanager
def watching(*arguments: str) -> Iterator[Watch]:
    with subprocess.Popen(
        [*COMMAND, "watch", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=server_environment(), text=True,
    ) as process:  # fmt: skip
        try:
            yield Watch(process)
        finally:
            process.kill()


def change(server: ServerProcess, *lines: str) -> None:
    with server.connect() as client:
        assert client.ask_one_by_one(*lines) == ["OK"] * len(lines)


def compact(server: ServerProcess, data: str) -> None:
    """Let the server replace its newest snapshot, and wait until that has superseded the one before."""
    before = set(Path(data).glob("snapshot-*"))
    server.send_signal(signal.SIGUSR1)
    wait_until(lambda: not before & set(Path(data).glob("snapshot-*")))


def test_the_log_is_that_of_the_server(scoop: Scoop, data: str, tmp_path: Path) -> None:
    with ServerProcess("--data-dir", data, "--history", "1h") as server:
        change(server, "INDEX|a|", "INDEX|b|a")
        compact(server, data)
        change(server, "REMOVE|b|")
        for arguments in ([], ["--package", "b"], ["--since", "1"], ["--until", "2"], ["--since", "1h"], ["--json"]):
            printed = scoop("log", "--from", data, *arguments)
            assert printed == (0, run_to_end("log", data, *arguments).stdout, "")
            assert " 1 anonymous INDEX|a|\n" in printed.out or arguments
        assert len(scoop("log", "--from", data, "--identity", "anonymous").out.splitlines()) == 3
    shutil.copytree(f"{data}/history", tmp_path / "archive")
    assert scoop("log", "--from", str(tmp_path / "archive")).out.endswith(" 3 anonymous REMOVE|b|\n")


def test_the_watch_goes_on_through_kills_restarts_and_compactions(data: str) -> None:
    names = [f"p{number}" for number in range(8)]
    lines = [f"INDEX|{name}|" for name in names]
    with ServerProcess("--data-dir", data) as server:
        change(server, lines[0])
        with watching("--from", data, "--since", "1") as watch:
            change(server, lines[1])
            assert watch.read(1) == lines[1:2]
            compact(server, data)
            change(server, lines[2])
            assert watch.read(1) == lines[2:3]
            server.kill()
            with ServerProcess("--data-dir", data, "--history", "1h") as second:
                change(second, lines[3])
                compact(second, data)
                change(second, lines[4])
                assert second.stop() == 0
            assert watch.read(2) == lines[3:5]
            with ServerProcess("--data-dir", data, "--history", "1h") as third:
                for line in lines[5:]:
                    change(third, line)
                    compact(third, data)
                assert watch.read(3) == lines[5:]
            watch.send_signal(signal.SIGINT)
            assert watch.end() == (ExitStatus.INTERRUPTED, "", "")


def test_a_watch_that_was_left_behind_says_what_is_gone(data: str) -> None:
    with ServerProcess("--data-dir", data) as server:
        change(server, "INDEX|a|")
        with watching("--from", data, "--since", "0") as watch:
            assert watch.read(1) == ["INDEX|a|"]
            watch.send_signal(signal.SIGSTOP)
            change(server, "INDEX|b|")
            compact(server, data)
            change(server, "INDEX|c|")
            watch.send_signal(signal.SIGCONT)
            status, out, err = watch.end()
        assert (status, out) == (ExitStatus.HISTORY_GONE, "")
        assert err.startswith(f"scoop: the history in {data} has a gap after batch 1 (")
        with watching("--from", data, "--since", "1", "--json") as watch:
            status, out, err = watch.end()
        assert (status, out) == (ExitStatus.HISTORY_GONE, "")
        assert json.loads(err)["error"].startswith(f"the history in {data} begins after batch 2 (")


def test_the_watch_prints_new_changes_as_json(data: str) -> None:
    with ServerProcess("--data-dir", data) as server:
        change(server, "INDEX|a|")
        with watching("--from", data, "--json", "--since", "1", "--package", "c") as watch:
            change(server, "INDEX|b|", "INDEX|c|a")
            [line] = watch.read(1)
            watch.send_signal(signal.SIGINT)
            assert watch.end()[0] == ExitStatus.INTERRUPTED
    assert line.endswith('"command": "INDEX", "package": "c", "dependencies": ["a"], "ends_batch": true}')


def test_a_moment_a_directory_or_an_extra_that_is_missing_is_one_line(
    scoop: Scoop, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert scoop("log", "--since", "yesterday").err.startswith("scoop: expected a batch, a time such as ")
    status, _, err = scoop("watch", "--from", data)
    assert status == ExitStatus.ERROR
    assert err.startswith(f"scoop: cannot read {data}: No such file or directory; name a data directory, or one ")
    monkeypatch.setitem(sys.modules, "scoop_server.history", None)
    assert scoop("log") == (2, "", "scoop: log needs an extra: pip install 'scoop-client[history]'\n")
