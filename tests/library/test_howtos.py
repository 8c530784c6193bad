"""The examples: the howtos link them, servers serve the Homebrew list, clients pipeline, and Ctrl-C ends each."""

import asyncio
import contextlib
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import trio

import scoop_core
from scoop_core import Command, Request, Response

from examples import asyncio_pipeline, threads_pipeline, trio_pipeline
from tests.support.homebrew import WAIT_SECONDS, play_five_phases

ROOT: Final = Path(__file__).parent.parent.parent
EXAMPLES: Final = ROOT / "examples"
SERVERS: Final = sorted(EXAMPLES.glob("*_server.py"))
PIPELINES: Final = sorted(EXAMPLES.glob("*_pipeline.py"))

# Ctrl-C can come between a coroutine's creation and its await inside trio, which Python reports as a warning, and the
# end of the interpreter can cut off a daemon thread of socketserver, which then prints a traceback.
WARN_AT_CTRL_C: Final = ("trio_server", "threads_socketserver_server")

QUERY_A, QUERY_B = (Request.of(Command.QUERY, name) for name in "ab")


def by_name(path: Path) -> str:
    return path.stem


@contextlib.contextmanager
def running(script: Path, *arguments: str, requests: str = "") -> Iterator[subprocess.Popen[str]]:
    """Run an example, with ``requests`` as its standard input, until the end of the block."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, str(script), *arguments], stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as process:
        try:
            assert process.stdin
            process.stdin.write(requests)
            process.stdin.close()
            process.stdin = None
            yield process
        finally:
            process.kill()


def interrupt(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Press Ctrl-C until the process ends; return what it has printed.

    A signal that arrives just before a blocking system call, after the last check of the interpreter, is noticed only
    when the call returns.
    """
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=WAIT_SECONDS / 3)
    raise AssertionError("Ctrl-C does not end the process")


@contextlib.contextmanager
def listening() -> Iterator[tuple[socket.socket, str]]:
    """Listen for one client of an example; yield the listener and its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(WAIT_SECONDS)
        yield listener, str(listener.getsockname()[1])


def accept(listener: socket.socket, count: int) -> tuple[socket.socket, str]:
    """Accept the client and receive ``count`` requests; return the connection and the requests."""
    connection, _ = listener.accept()
    connection.settimeout(WAIT_SECONDS)
    received = b""
    while received.count(b"\n") < count:
        received += connection.recv(4_096)
    return connection, received.decode()


def answer(listener: socket.socket, count: int, responses: bytes) -> None:
    """Answer ``count`` requests with ``responses``, and end the connection."""
    connection, _ = accept(listener, count)
    with connection:
        connection.sendall(responses)


def port_of(server: subprocess.Popen[str]) -> int:
    assert server.stdout
    match = re.fullmatch(r"listening on port (\d+)\n", server.stdout.readline())
    assert match
    return int(match[1])


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("howto-*.md")), ids=by_name)
def test_a_howto_links_the_examples_of_its_library(page: Path) -> None:
    text = page.read_text("utf-8")
    for example in EXAMPLES.glob(f"{page.stem.removeprefix('howto-')}_*.py"):
        assert f"[{example.name}](../examples/{example.name})" in text


@pytest.mark.parametrize("tool", ["asyncio_client", "asyncio_server", "ci_planner", "cycle_linter", "registry_guard"])
def test_a_tool_has_fewer_than_25_lines(tool: str) -> None:
    assert len((EXAMPLES / f"{tool}.py").read_text("utf-8").splitlines()) < 25


class TestServers:
    @pytest.mark.parametrize("script", SERVERS, ids=by_name)
    def test_it_serves_the_homebrew_list_until_ctrl_c(self, script: Path) -> None:
        with running(script, "0") as server:
            address = ("127.0.0.1", port_of(server))
            play_five_phases(address, client_count=10, seed=2016)
            with socket.create_connection(address, WAIT_SECONDS) as client:
                client.sendall(b"QUERY|a|\n")
                assert client.recv(5)
                out, err = interrupt(server)
            assert out == ""
            if script.stem not in WARN_AT_CTRL_C:
                assert err == ""
            assert server.returncode == 0


class TestClients:
    @pytest.mark.parametrize("script", PIPELINES, ids=by_name)
    def test_tasks_share_one_connection(self, script: Path) -> None:
        with listening() as (listener, port), running(script, port, "a", "b") as client:
            connection, requests = accept(listener, 2)
            with connection:
                for piece in (b"OK\nFA", b"IL\n") if requests.startswith("QUERY|a|") else (b"FA", b"IL\nOK\n"):
                    connection.sendall(piece)
                output, log = client.communicate(timeout=WAIT_SECONDS)
        assert (sorted(output.splitlines()), log, client.returncode) == (["a OK", "b FAIL"], "", 0)

    def test_the_asyncio_client_prints_a_response_to_each_line(self) -> None:
        requests = "INDEX|a|\nINDEX|b|c\nQUERY|a|\n"
        with (
            running(EXAMPLES / "asyncio_server.py", "0") as server,
            running(EXAMPLES / "asyncio_client.py", str(port_of(server)), requests=requests) as client,
        ):
            assert client.communicate(timeout=WAIT_SECONDS) == ("INDEX a OK\nINDEX b FAIL\nQUERY a OK\n", "")

    @pytest.mark.parametrize("script", [*PIPELINES, EXAMPLES / "asyncio_client.py"], ids=by_name)
    def test_ctrl_c_ends_a_waiting_client(self, script: Path) -> None:
        with listening() as (listener, port), running(script, port, "a", requests="QUERY|a|\n") as client:
            connection, _ = accept(listener, 1)
            with connection:
                assert interrupt(client) == ("", "")
                assert connection.recv(1) == b""
            assert client.returncode == 0

    @pytest.mark.parametrize(
        ("sent", "reason"),
        [(b"OK\n", "early end of the stream"), (b"OK\nHELLO\n", "expected OK, FAIL or ERROR: 'HELLO'")],
    )
    @pytest.mark.parametrize("script", PIPELINES, ids=by_name)
    def test_a_violation_by_the_server_ends_a_waiting_client(self, script: Path, sent: bytes, reason: str) -> None:
        with listening() as (listener, port), running(script, port, "a", "b") as client:
            connection, _ = accept(listener, 2)
            with connection:
                connection.sendall(sent)
                if reason.startswith("early"):
                    connection.shutdown(socket.SHUT_WR)
                _, log = client.communicate(timeout=WAIT_SECONDS)
        assert reason in log
        assert client.returncode == 1


class TestCancellation:
    """A cancelled request has been sent: its response is dropped, and the next response goes to the next request."""

    def test_asyncio(self) -> None:
        async def exchange(listener: socket.socket, port: int) -> Response:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            client = asyncio_pipeline.Client(reader, writer)
            with contextlib.closing(writer):
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(client.receive())
                    tasks.create_task(asyncio.to_thread(answer, listener, 2, b"FAIL\nOK\n"))
                    cancelled = tasks.create_task(client.ask(QUERY_A))
                    await asyncio.sleep(0)  # the task sends its request
                    cancelled.cancel()
                    return await client.ask(QUERY_B)

        with listening() as (listener, port):
            assert asyncio.run(exchange(listener, int(port))) is Response.OK

    def test_trio(self) -> None:
        async def exchange(listener: socket.socket, port: int, responses: list[Response]) -> None:
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream, trio.open_nursery() as nursery:
                client = trio_pipeline.Client(stream)
                nursery.start_soon(client.send)
                nursery.start_soon(client.receive)
                nursery.start_soon(trio.to_thread.run_sync, answer, listener, 2, b"FAIL\nOK\n")
                with trio.move_on_after(0):
                    await client.ask(QUERY_A)
                responses.append(await client.ask(QUERY_B))
                nursery.cancel_scope.cancel()

        responses: list[Response] = []
        with listening() as (listener, port):
            trio.run(exchange, listener, int(port), responses)
        assert responses == [Response.OK]

    def test_threads(self) -> None:
        with listening() as (listener, port), contextlib.closing(threads_pipeline.Client(int(port))) as client:
            cancelled, answered = client.ask(QUERY_A), client.ask(QUERY_B)
            cancelled.cancel()
            answer(listener, 2, b"FAIL\nOK\n")
            assert answered.result(WAIT_SECONDS) is Response.OK


def test_the_registry_guard_refuses_what_breaks_the_registry(tmp_path: Path) -> None:
    def guard(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, str(EXAMPLES / "registry_guard.py"), str(tmp_path / "registry"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT_SECONDS)
        return done.returncode, done.stderr

    assert guard("INDEX", "isl", "gmp") == (1, "cannot index isl: gmp is not indexed\n")
    assert guard("INDEX", "gmp") == guard("INDEX", "isl", "gmp") == (0, "")
    assert guard("REMOVE", "gmp") == (1, "cannot remove gmp: 1 package depends on it: isl\n")


class TestGraphTools:
    """The tools that read a graph in DOT, on every interpreter that is here."""

    TOOLCHAIN: Final = "digraph { gcc -> {isl mpfr}; isl -> gmp; mpfr -> gmp; make }"
    BOOTSTRAP: Final = "digraph { gcc -> glibc; glibc -> {gcc make}; make -> make }"

    @pytest.fixture(params=["python", "pypy3"])
    def interpreter(self, request: pytest.FixtureRequest) -> str:
        found = sys.executable if request.param == "python" else shutil.which(request.param)
        return found or pytest.skip("PyPy is not installed")

    def run(self, interpreter: str, tool: str, graph: str, *arguments: str) -> tuple[int, list[str], str]:
        sources = str(Path(scoop_core.__file__).parent.parent)
        done = subprocess.run(
            [interpreter, str(EXAMPLES / f"{tool}.py"), graph, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_SECONDS,
            env={"PYTHONPATH": sources, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        return done.returncode, done.stdout.splitlines(), done.stderr

    def test_the_ci_planner_builds_what_a_change_affects_in_parallel(self, interpreter: str, tmp_path: Path) -> None:
        (tmp_path / "graph.dot").write_text(self.TOOLCHAIN, "utf-8")
        planned = self.run(interpreter, "ci_planner", str(tmp_path / "graph.dot"), "gmp")
        assert planned == (0, ["1: gmp", "2: isl mpfr", "3: gcc"], "")

    def test_the_cycle_linter_names_cycles_and_what_breaks_them(self, interpreter: str, tmp_path: Path) -> None:
        (tmp_path / "graph.dot").write_text(self.BOOTSTRAP, "utf-8")
        faults = ["cycle: gcc -> glibc -> gcc", "cycle: make -> make", "drop: glibc -> gcc", "drop: make -> make"]
        assert self.run(interpreter, "cycle_linter", str(tmp_path / "graph.dot")) == (1, faults, "")
        (tmp_path / "graph.dot").write_text(self.TOOLCHAIN, "utf-8")
        assert self.run(interpreter, "cycle_linter", str(tmp_path / "graph.dot")) == (0, [], "")
