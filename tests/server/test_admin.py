"""The admin endpoint: what it answers at each stage of a run, to good clients and to bad ones."""

import errno
import json
import os
import platform
import re
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final, Self

import pytest

from scoop_server import __version__
from scoop_server.admin.endpoint import CONNECTIONS_MAX, HEAD_BYTES_MAX, AdminEndpoint
from scoop_server.config.addresses import InternetAddress, UnixAddress
from scoop_server.errors import ListenError
from scoop_server.telemetry.health import STUCK_SECONDS, Health
from scoop_server.telemetry.statistics import Stage, Statistics

from tests.support.admin import PATHS, WHERE, get, place_of
from tests.support.event_loop import Clock
from tests.support.full_disk import set_file_size_limit
from tests.support.held import HeldServer
from tests.support.process import WAIT_SECONDS, ServerProcess, run_to_end, send_all_that_fits

WITHOUT_PROMETHEUS_CLIENT: Final = (
    sys.executable,
    "-c",
    "import sys; sys.modules['prometheus_client'] = None; from scoop_server.cli.main import main; sys.exit(main())",
)


class RawClient:
    """A connection to the endpoint, for a test that says what is sent byte by byte."""

    def __init__(self, place: str) -> None:
        host, _, port = place.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=WAIT_SECONDS)
        self._reader = self.socket.makefile("rb")

    def send(self, *lines: str) -> None:
        """Send a request of these lines, and the empty one behind them."""
        self.socket.sendall("".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1"))

    def response(self, *, has_body: bool = True) -> tuple[int, dict[str, str], bytes]:
        """Return status, header and body of the next response."""
        status = int(self._reader.readline().split()[1])
        header = {}
        while line := self._reader.readline().decode().rstrip():
            name, _, value = line.partition(": ")
            header[name] = value
        return status, header, self._reader.read(int(header["Content-Length"]) if has_body else 0)

    def has_ended(self) -> bool:
        """Return whether the endpoint ends the connection and sends nothing more; wait for it."""
        return self._reader.read() == b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self.socket.close()


@pytest.fixture
def run() -> Health:
    return Health(Statistics())


@contextmanager
def endpoint(run: Health, caplog: pytest.LogCaptureFixture) -> Iterator[str]:
    """Give HOST:PORT of an endpoint."""
    caplog.set_level("INFO", logger="scoop_server")
    with closing(AdminEndpoint(InternetAddress("127.0.0.1", 0), run)):
        where = re.search(WHERE, caplog.text)
        assert where is not None
        yield where[1]


@pytest.fixture
def place(run: Health, caplog: pytest.LogCaptureFixture) -> Iterator[str]:
    with endpoint(run, caplog) as each:
        yield each


@pytest.fixture
def client(place: str) -> Iterator[RawClient]:
    with RawClient(place) as each:
        yield each


class FullDisk:
    """Storage of which it is known whether it takes changes."""

    journal_bytes = 0
    snapshot_path = ""

    def __init__(self) -> None:
        self.read_only_reason = "no space left"


# Paths


def test_it_lives_at_every_stage(run: Health, place: str) -> None:
    for stage in Stage:
        run.statistics.stage = stage
        assert get(place, "/livez") == (200, "ok\n")


def test_it_is_ready_while_it_serves_and_says_why_else(run: Health, place: str) -> None:
    for stage in Stage:
        run.statistics.stage = stage
        expected = (200, "ready\n") if stage is Stage.SERVING else (503, f"{stage}\n")
        assert get(place, "/readyz") == expected


def test_it_is_not_ready_while_changes_are_refused(run: Health, place: str) -> None:
    run.statistics.stage = Stage.SERVING
    run.storage = disk = FullDisk()
    assert get(place, "/readyz") == (503, "read-only\n")
    disk.read_only_reason = ""
    assert get(place, "/readyz") == (200, "ready\n")


def test_a_loop_that_is_stuck_is_found_out_while_it_should_turn(run: Health, place: str) -> None:
    clock = run.clock = Clock()
    run.storage = FullDisk()
    run.statistics.last_tick = clock.now
    clock.now += STUCK_SECONDS + 1
    for stage in (Stage.SERVING, Stage.DRAINING):
        run.statistics.stage = stage
        assert [get(place, path) for path in ("/livez", "/readyz")] == [(503, "stuck\n")] * 2
    for stage in (Stage.LOADING, Stage.SAVING):
        run.statistics.stage = stage
        assert get(place, "/livez") == (200, "ok\n"), "it may take long"
        assert get(place, "/readyz") == (503, f"{stage}\n")


def test_version_is_json(client: RawClient) -> None:
    client.send("GET /version HTTP/1.1", "Host: here")
    status, header, body = client.response()
    assert (status, header["Content-Type"]) == (200, "application/json")
    assert json.loads(body) == {
        "version": __version__,
        "python": platform.python_version(),
        "platform": sys.platform,
    }


def test_metrics_are_what_prometheus_reads(client: RawClient) -> None:
    client.send("GET /metrics?x=y HTTP/1.1", "Host: here")
    status, header, body = client.response()
    assert status == 200
    assert header["Content-Type"].startswith("text/plain; version=")
    assert b"\nscoop_ready 0.0\n" in body


def test_another_path_is_answered_with_those_that_there_are(place: str) -> None:
    assert get(place, "/") == (404, f"Not Found: there are {', '.join(PATHS)}\n")


# HTTP


def test_a_connection_takes_one_request_after_the_other_also_pipelined(client: RawClient) -> None:
    for _ in range(2):
        client.send("GET /livez HTTP/1.1", "Host: here", "", "HEAD /livez HTTP/1.1", "Host: here")
        assert client.response()[2] == b"ok\n"
        status, header, _ = client.response(has_body=False)
        assert (status, header["Content-Length"], header["Connection"]) == (200, "3", "keep-alive")


@pytest.mark.parametrize(
    ("request_lines", "stays_open"),
    [
        (["GET /livez HTTP/1.1", "Host: here"], True),
        (["GET /livez HTTP/1.1", "Host: here", "Connection: TE, Close"], False),
        (["GET /livez HTTP/1.0"], False),
        (["GET /livez HTTP/1.0", "connection:Keep-Alive"], True),
        (["GET http://here/livez HTTP/1.1", "Host: here"], True),
        (["GET /livez HTTP/1.1", "Host: here", "Content-Length: 4"], False),
        (["GET /livez HTTP/1.1", "Host: here", "Content-Length: 0"], True),
        (["GET /livez HTTP/1.1", "Host: here", "Transfer-Encoding: chunked"], False),
    ],
    ids=str,
)
def test_a_connection_stays_open_as_http_has_it(
    client: RawClient, request_lines: list[str], *, stays_open: bool
) -> None:
    client.send(*request_lines)
    status, header, body = client.response()
    assert (status, body) == (200, b"ok\n")
    assert header["Connection"] == ("keep-alive" if stays_open else "close")
    if stays_open:
        client.send("GET /livez HTTP/1.1", "Host: here")
        assert client.response()[0] == 200
    else:
        assert client.has_ended()


def test_a_body_is_not_taken_for_a_request_and_the_answer_arrives_all_the_same(client: RawClient) -> None:
    body = "GET /version HTTP/1.1\r\nHost: here\r\n\r\n" * 1_000
    client.send("POST /livez HTTP/1.1", "Host: here", f"Content-Length: {len(body)}")
    client.socket.sendall(body.encode())
    status, header, _ = client.response()
    assert (status, header["Allow"], header["Connection"]) == (405, "GET, HEAD", "close")
    assert client.has_ended()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "QUERY"])
def test_another_method_is_not_allowed(place: str, method: str) -> None:
    assert get(place, "/readyz", method)[0] == 405


@pytest.mark.parametrize(
    "lines",
    [
        ["QUERY|a|"],
        ["GET /livez"],
        ["GET /livez HTTP/2.0", "Host: here"],
        ["GET  /livez HTTP/1.1", "Host: here"],
        ["get /livez HTTP/1.1", "Host: here"],
        ["GET /livez HTTP/1.1"],
        ["GET /livez HTTP/1.1", "Host: here", "without a colon"],
        ["GET /livez HTTP/1.1", "Host: here", " folded: yes"],
        ["GET /livez HTTP/1.1", "Host : here"],
        ["GET http://[::/livez HTTP/1.1", "Host: here"],
        ["\xff\x00\x1b"],
        [""],
    ],
    ids=ascii,
)
def test_what_is_no_request_is_told_so_and_the_connection_ends(client: RawClient, lines: list[str]) -> None:
    client.send(*lines)
    assert client.response()[0] == 400
    assert client.has_ended()


def test_a_header_without_end_is_told_so(client: RawClient) -> None:
    client.socket.sendall(b"GET /livez HTTP/1.1\r\n" + b"a: b\r\n" * HEAD_BYTES_MAX)
    assert client.response()[0] == 431


# Bad clients


def test_the_one_that_keeps_it_waiting_longest_makes_room_for_a_new_one(place: str) -> None:
    with ExitStack() as clients:
        waiting = [clients.enter_context(RawClient(place)) for _ in range(CONNECTIONS_MAX)]
        for each in (waiting[-1], waiting[0]):  # once the last one is answered, all have been accepted
            each.send("GET /livez HTTP/1.1", "Host: here")
            assert each.response()[0] == 200
        assert get(place, "/livez") == (200, "ok\n")
        assert waiting[1].has_ended()
        waiting[0].send("GET /livez HTTP/1.1", "Host: here")
        assert waiting[0].response()[0] == 200, "it has asked since, and is still there"


def test_two_hundred_bad_clients_keep_no_one_from_an_answer(place: str) -> None:
    with ExitStack() as clients:
        for number in range(200):
            bad = clients.enter_context(RawClient(place)).socket
            match number % 4:
                case 0:
                    bad.sendall(b"GET /liv")
                case 1:
                    bad.sendall(b"\0" * 100)
                case 2:
                    bad.sendall(b"GET /version HTTP/1.1\r\nHost: here\r\n\r\n" * 50)
        assert get(place, "/readyz") == (503, "loading\n")
        assert get(place, "/metrics")[0] == 200


def test_whoever_takes_no_answers_is_not_answered_without_end(
    run: Health, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scoop_server.admin.endpoint.RESPONSE_SECONDS_MAX", 0.05)
    monkeypatch.setattr("scoop_server.admin.endpoint.WORKING_SHARE", 1.0)
    with endpoint(run, caplog) as place, RawClient(place) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        requests = b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n" * 1_000_000
        with pytest.raises(ConnectionError):
            client.socket.sendall(requests)
        assert get(place, "/livez") == (200, "ok\n")


def test_whoever_sends_no_request_is_not_waited_for_without_end(
    run: Health, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scoop_server.admin.endpoint.REQUEST_SECONDS_MAX", 0.05)
    with endpoint(run, caplog) as place, RawClient(place) as client:
        client.socket.sendall(b"GET /livez HTT")
        assert client.has_ended()


# Addresses


def test_a_unix_socket_will_do(run: Health, tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with closing(AdminEndpoint(UnixAddress(str(path)), run)), socket.socket(socket.AF_UNIX) as client:
        assert path.stat().st_mode & 0o777 == 0o660
        client.settimeout(WAIT_SECONDS)
        client.connect(str(path))
        client.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        with client.makefile("rb") as reader:
            assert reader.readline() == b"HTTP/1.1 200 OK\r\n"
            assert reader.read().endswith(b"\r\n\r\nok\n")
    assert not path.exists()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (InternetAddress("192.0.2.1", 9180), "192.0.2.1:9180: Cannot assign requested address"),
        (InternetAddress("a..b", 9180), "a..b:9180: not a host name"),
        (UnixAddress("/nowhere/admin.sock"), "unix:/nowhere/admin.sock: No such file or directory"),
    ],
    ids=str,
)
def test_where_it_cannot_listen_it_says_so(run: Health, address: InternetAddress | UnixAddress, reason: str) -> None:
    with pytest.raises(ListenError) as refused:
        AdminEndpoint(address, run)
    assert str(refused.value) == f"cannot listen on {reason}; name another address with --admin"


def test_a_unix_socket_at_which_another_listens_is_left_to_it(run: Health, tmp_path: Path) -> None:
    address = UnixAddress(str(tmp_path / "admin.sock"))
    with closing(AdminEndpoint(address, run)), pytest.raises(ListenError, match="another process listens there"):
        AdminEndpoint(address, Health(Statistics()))


def test_an_address_that_is_taken_is_one_line_and_no_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_to_end("--port", "0", "--admin", f"127.0.0.1:{port}", "--data-dir", str(tmp_path / "data"))
    assert ended.returncode == 1
    assert ended.stderr == (
        f"scoop-server: cannot listen on 127.0.0.1:{port}: Address already in use; another process listens there; "
        "stop it, or name another address with --admin\n"
    )
    assert not list(tmp_path.glob("data/snapshot-*")), "it has not come to the index"


def test_an_address_that_others_can_reach_is_warned_of(run: Health, caplog: pytest.LogCaptureFixture) -> None:
    with closing(AdminEndpoint(InternetAddress("0.0.0.0", 0), run)):
        pass
    [warning] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert re.fullmatch(
        r"the admin endpoint http://0\.0\.0\.0:\d+ is open to other machines; see to who can reach it", warning
    )


# The process


def place_of_held(server: HeldServer) -> str:
    server.process.wait_for_log("the admin endpoint is")
    where = re.search(WHERE, server.process.log)
    assert where is not None
    return where[1]


def test_without_the_flag_there_is_none() -> None:
    with ServerProcess("--memory") as server:
        assert not any("admin" in line for line in server.log_lines)
        assert len(list(Path(f"/proc/{server.pid}/task").iterdir())) == 1


def test_without_prometheus_client_metrics_tell_what_to_install() -> None:
    with ServerProcess("--memory", "--admin", "127.0.0.1:0", command=WITHOUT_PROMETHEUS_CLIENT) as server:
        server.wait_for_log("listening")
        status, body = get(place_of(server), "/metrics")
        assert (status, body) == (
            501,
            "prometheus_client is not installed; for metrics: pip install 'scoop-server[metrics]'\n",
        )
        assert get(place_of(server), "/readyz") == (200, "ready\n")


def keep_a_package(directory: Path) -> None:
    """Have a server keep one package in a directory of its own."""
    with ServerProcess("--data-dir", str(directory)) as server, server.connect() as client:
        assert client.ask("INDEX|a|") == ["OK"]


def test_a_server_that_loads_lives_and_is_not_ready(tmp_path: Path) -> None:
    keep_a_package(tmp_path / "data")
    arguments = ("--data-dir", str(tmp_path / "data"), "--admin", "tcp:127.0.0.1:0")
    with HeldServer("loading", tmp_path, *arguments) as held:
        place = place_of_held(held)
        held.wait_until_held()
        assert get(place, "/livez") == (200, "ok\n")
        assert get(place, "/readyz") == (503, "loading\n")
        assert "scoop_packages" not in get(place, "/metrics")[1], "how many there will be is not known"
        held.let_go()
        with held.connect() as client:
            assert client.ask("QUERY|a|") == ["OK"]
            assert get(place, "/readyz") == (200, "ready\n")
            assert "\nscoop_packages 1.0\n" in get(place, "/metrics")[1]


def test_a_server_that_saves_lives_and_is_not_ready(tmp_path: Path) -> None:
    keep_a_package(tmp_path / "data")
    arguments = ("--data-dir", str(tmp_path / "data"), "--admin", "127.0.0.1:0")
    with HeldServer("saving", tmp_path, *arguments) as held:
        place = place_of_held(held)
        with held.connect() as client:
            assert client.ask("INDEX|b|a") == ["OK"]
        held.process.send_signal(signal.SIGTERM)
        held.wait_until_held()
        assert get(place, "/livez") == (200, "ok\n")
        assert get(place, "/readyz") == (503, "saving\n")
        held.let_go()
        assert held.process.wait() == 0


def test_a_server_that_drains_lives_and_is_not_ready() -> None:
    with (
        ServerProcess("--memory", "--admin", "127.0.0.1:0") as server,
        server.connect(receive_buffer_bytes=2_048) as client,
    ):
        place = place_of(server)
        send_all_that_fits(client, b"QUERY|a|\n")  # and no answer is taken
        server.send_signal(signal.SIGTERM)
        server.wait_for_log("shutting down")
        assert get(place, "/livez") == (200, "ok\n")
        assert get(place, "/readyz") == (503, "draining\n")
        client.close()
        assert server.wait() == 0


def test_a_server_without_space_is_ready_again_when_there_is_space_though_no_one_asks(tmp_path: Path) -> None:
    """Who sends requests only to a server that is ready would never find out."""
    with ServerProcess("--data-dir", str(tmp_path / "data"), "--admin", "127.0.0.1:0") as server:
        place = place_of(server)
        with server.connect() as client:
            assert client.ask("INDEX|a|") == ["OK"]
            set_file_size_limit(server, len((tmp_path / "data" / "journal-1").read_bytes().rstrip(b"\0")) + 10)
            client.send(b"INDEX|b|\n")
            client.wait_until_closed()
        assert get(place, "/readyz") == (503, "read-only\n")
        assert "\nscoop_read_only 1.0\n" in get(place, "/metrics")[1]
        set_file_size_limit(server, resource.RLIM_INFINITY)
        server.wait_for_log("INFO there is room again")
        assert get(place, "/readyz") == (200, "ready\n")
        assert sorted(each.name for each in (tmp_path / "data").iterdir()) == ["journal-1", "lock", "snapshot-1"]


def test_without_descriptors_left_it_says_so_and_goes_on_when_there_are_some() -> None:
    with ServerProcess("--memory", "--admin", "127.0.0.1:0") as server:
        place = place_of(server)
        used = len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
        allowed = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (used, allowed[1]))
        with RawClient(place):
            server.wait_for_log("WARNING the admin endpoint has trouble: .*Too many open files")
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, allowed)
            assert get(place, "/livez") == (200, "ok\n")


def test_bad_clients_of_the_endpoint_cost_the_clients_of_packages_nothing() -> None:
    with (
        ServerProcess("--memory", "--admin", "127.0.0.1:0") as server,
        server.connect() as client,
        ExitStack() as bad_clients,
    ):
        place = place_of(server)
        for number in range(200):
            bad = bad_clients.enter_context(RawClient(place)).socket
            bad.sendall((b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n", b"GET /me", b"\xff" * 9_000)[number % 3])
            assert client.ask(f"INDEX|{number}|", f"QUERY|{number}|") == ["OK", "OK"]
        assert get(place, "/readyz") == (200, "ready\n")
    assert not any("trouble" in line for line in server.log_lines)


def test_a_client_that_is_gone_is_no_trouble(run: Health, caplog: pytest.LogCaptureFixture) -> None:
    """asyncio may tell of one that goes while its connection is being closed."""
    with closing(AdminEndpoint(InternetAddress("127.0.0.1", 0), run)) as admin:
        for number in (errno.ECONNRESET, errno.EPIPE, errno.EMFILE):
            context = {"message": "something", "exception": OSError(number, os.strerror(number))}
            admin._loop.call_soon_threadsafe(admin._loop.call_exception_handler, context)
    told = [message for message in caplog.messages if "trouble" in message]
    assert told == ["the admin endpoint has trouble: [Errno 24] Too many open files"]
