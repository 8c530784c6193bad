"""The command beside real servers that compact, stop, start again and are killed, and beside files that break."""

import os
import re
import signal
import socket
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from scoop_core import DependencyGraph

from scoop_explorer import cli

from tests.support.data_directory import create_directory
from tests.support.explorer import Explored, ExplorerProcess, exploring
from tests.support.process import WAIT_SECONDS, ServerProcess, run_to_end
from tests.support.waiting import wait_until


def is_indexed(explored: Explored, name: str) -> bool:
    return explored.client.get(f"/packages/{name}").status_code == 200


def change(server: ServerProcess, *lines: str) -> None:
    client = server.connect()
    assert set(client.ask(*lines)) == {"OK"}
    client.close()


@pytest.mark.any_python
def test_pages_follow_a_server_through_compactions_restarts_and_kills(tmp_path: Path) -> None:
    path = tmp_path / "data"
    create_directory(path, DependencyGraph.from_mapping({"gmp": []}))
    with exploring(path) as explored:
        for number in range(2):
            with ServerProcess("--data-dir", str(path)) as server:
                change(server, f"INDEX|a{number}|gmp")
                wait_until(lambda: is_indexed(explored, f"a{number}"))  # noqa: B023  # awaited in this round
                server.send_signal(signal.SIGUSR1)
                server.wait_for_log(r"compaction into .* is complete")
                change(server, f"INDEX|b{number}|gmp")
                wait_until(lambda: is_indexed(explored, f"b{number}"))  # noqa: B023  # awaited in this round
            with ServerProcess("--data-dir", str(path)) as server:
                change(server, f"INDEX|c{number}|gmp")
                server.kill()
            wait_until(lambda: is_indexed(explored, f"c{number}"))  # noqa: B023  # awaited in this round
        assert explored.client.get("/readyz").status_code == 200
        assert "7 packages" in explored.client.get("/").text


@pytest.mark.any_python
def test_pages_say_who_changed_what_and_when(tmp_path: Path) -> None:
    path, uid = tmp_path / "data", f"uid={os.getuid()}"
    listen = ("--listen", "tcp:127.0.0.1:0", "--listen", f"unix:{tmp_path}/socket")
    with ServerProcess("--data-dir", str(path), "--history", "1h", *listen) as server, exploring(path) as explored:
        change(server, "INDEX|gmp|", "INDEX|isl|gmp", "INDEX|isl|", "REMOVE|gmp|")
        server.send_signal(signal.SIGUSR1)
        server.wait_for_log(r"compaction into .* is complete")
        with server.connect(1) as local:
            assert local.ask("INDEX|gmp|") == ["OK"]
        change(server, "INDEX|isl|gmp")
        wait_until(lambda: explored.application.index.changes[0].added == ("gmp",))
        latest = [
            (each.identity, each.kind, each.package, each.is_older) for each in explored.application.index.changes
        ]
        assert latest[:2] == [("anonymous", "changed", "isl", False), (uid, "indexed", "gmp", False)]
        words = re.sub(r"<[^>]+>", " ", explored.page("/changes")).split()
        assert uid in words
        assert "anonymous" in words
        assert f',"{uid}"\n' in explored.client.get("/changes?format=csv").text
        for name, expected in {
            "gmp": [(uid, "indexed"), ("anonymous", "removed"), ("anonymous", "indexed")],
            "isl": [("anonymous", "changed"), ("anonymous", "changed"), ("anonymous", "indexed")],
            "never": [],
        }.items():
            history = cast("dict[str, Any]", explored.json(f"/history/{name}"))
            assert [(each["identity"], each["kind"]) for each in history["changes"]] == expected
            assert (history["total"], history["first_batch"], history["problem"]) == (len(expected), 1, "")
            page = " ".join(re.sub(r"<[^>]+>", " ", explored.page(f"/history/{name}")).split())
            assert f"History of {name} {len(expected)} changes since batch 1, " in page
        assert 'href="/history/gmp"' in explored.page("/packages/gmp")
        assert 'href="/history/never"' in explored.client.get("/packages/never").text
        server.stop()
        (path / "history" / "journal-1").unlink()
        wait_until(lambda: "What happened before is not kept." in explored.page("/history/other"))


@pytest.mark.any_python
def test_a_source_without_history_says_so(tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    dump.write_text("INDEX|gmp|\n")
    with exploring(dump) as explored:
        assert "a dump has no history." in explored.page("/history/gmp")


@pytest.mark.any_python
def test_pages_say_that_the_server_of_a_directory_has_stopped(tmp_path: Path) -> None:
    with ServerProcess("--data-dir", str(tmp_path / "data")) as server:
        change(server, "INDEX|gmp|")
        with exploring(tmp_path / "data") as explored:
            wait_until(lambda: explored.application.index.status().is_served)
            assert "server has stopped" not in explored.page("/")
            server.kill()
            wait_until(lambda: "Its server has stopped." in explored.page("/"))
            with ServerProcess("--data-dir", str(tmp_path / "data")):
                wait_until(lambda: "server has stopped" not in explored.page("/"))


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_that_cannot_be_printed_is_one_line(flag: str) -> None:
    command = ("/bin/sh", "-c", f"exec {sys.executable} -m scoop_explorer.cli {flag} > /dev/full")
    ended = run_to_end(command=command)
    assert (ended.returncode, ended.stderr) == (
        1,
        "cannot print: No space left on device; check where standard output leads\n",
    )


@pytest.mark.any_python
def test_a_corrupt_journal_is_reported_and_the_last_good_state_stays(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with ServerProcess("--data-dir", str(path)) as server:
        change(server, "INDEX|gmp|")
        change(server, "INDEX|isl|gmp")
        with exploring(path) as explored:
            wait_until(lambda: is_indexed(explored, "isl"))
            [journal] = path.glob("journal-*")
            data = journal.read_bytes()
            change(server, "INDEX|cloog|isl")
            journal.write_bytes(data[: len(data.rstrip(b"\0")) - 5])
            wait_until(lambda: "The source cannot be read." in explored.client.get("/packages/gmp").text)
            page = explored.page("/packages/gmp")
            assert "its last good state" in page
            assert f"cannot follow {journal}" in page
            assert "1 package needs" in page
            assert explored.client.get("/api/v1/packages/gmp").json()["status"]["problem"] != ""
            assert explored.client.get("/livez").status_code == 200
        server.kill()


def test_the_command_serves_and_ends_at_sigterm_also_with_an_open_stream(tmp_path: Path) -> None:
    create_directory(tmp_path / "data", DependencyGraph.from_mapping({"gmp": []}))
    with ExplorerProcess(tmp_path / "data") as explorer:
        wait_until(explorer.is_ready)
        assert "gmp" in explorer.get("/packages/gmp")[1]
        with socket.create_connection(("127.0.0.1", explorer.port), WAIT_SECONDS) as stream:
            stream.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            received = b""
            while b"event: status" not in received:
                received += stream.recv(4_096)
            assert b"content-type: text/event-stream" in received
            assert explorer.stop() == (0, "")
            while stream.recv(4_096):
                pass


def test_an_index_that_is_not_there_yet_is_awaited(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with ExplorerProcess(path) as explorer:
        wait_until(lambda: "No such file" in explorer.get("/readyz")[1])
        assert explorer.get("/livez")[0] == 200
        status, page = explorer.get("/")
        assert (status, "Loading the index" in page) == (503, True)
        assert explorer.get("/api/v1/overview")[0] == 503
        create_directory(tmp_path / "complete", DependencyGraph.from_mapping({"gmp": []}))
        (tmp_path / "complete").rename(path)  # the explorer would also log what it finds in an incomplete one
        wait_until(explorer.is_ready)
        assert "1 package" in explorer.get("/")[1]
        status, log = explorer.stop()
    assert status == 0
    times, lines = zip(*(line.split(" ", 1) for line in log.splitlines()), strict=True)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", each) for each in times)
    assert list(lines) == [
        f"cannot follow {path}: No such file or directory; waiting for it; start its server, or name another directory",
        f"following {path} again, at batch 0",
    ]


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"x" * 20_000,
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000,
        b"\0\0\0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
    ],
    ids=["long line", "long head", "no HTTP", "body"],
)
def test_broken_requests_are_rejected(tmp_path: Path, request_bytes: bytes) -> None:
    create_directory(tmp_path / "data", DependencyGraph())
    with ExplorerProcess(tmp_path / "data") as explorer:
        with socket.create_connection(("127.0.0.1", explorer.port), WAIT_SECONDS) as sock:
            sock.sendall(request_bytes)
            response = sock.recv(4_096)
        assert response.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413"))
        wait_until(explorer.is_ready)


def test_an_address_of_all_interfaces_is_printed_as_one_that_answers(tmp_path: Path) -> None:
    create_directory(tmp_path / "data", DependencyGraph())
    with ExplorerProcess(tmp_path / "data", "--listen", "0.0.0.0:0") as explorer:
        wait_until(explorer.is_ready)


@pytest.mark.parametrize("address", ["8090", "unix:/run/s", "127.0.0.1:x"])
def test_a_bad_address_is_an_error(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["data", "--listen", address])
    assert ended.value.code == 2
    assert f"expected HOST:PORT, with an IPv6 address in brackets, got {address!r}" in capsys.readouterr().err


def test_an_address_that_is_in_use_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["data", "--listen", f"127.0.0.1:{port}"]) == 1
    error = capsys.readouterr().err
    assert error == f"cannot listen on 127.0.0.1:{port}: Address already in use; name another with --listen\n"
