"""The log never waits for its reader: lines are queued, written by a thread, and dropped while the queue is full."""

import errno
import fcntl
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from scoop_server.telemetry import log_queue
from scoop_server.telemetry.log_queue import LogQueue, dropped_line_count, writer_to

from tests.support.process import MODULE_COMMAND, WAIT_SECONDS, BlockingClient, server_environment

log = logging.getLogger("scoop_server")


class Output:
    """The destination of the log, which can block or fail."""

    def __init__(self) -> None:
        self.text = ""
        self.error: OSError | None = None
        self.is_open = threading.Event()
        self.is_open.set()
        self.is_reached = threading.Event()

    def write(self, data: bytes) -> None:
        self.is_reached.set()
        assert self.is_open.wait(WAIT_SECONDS)
        if self.error is not None:
            raise self.error
        self.text += data.decode()


@pytest.fixture
def output() -> Output:
    return Output()


@pytest.fixture
def writer(output: Output, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[LogQueue]:
    """A writer with room for 100 bytes that handles the log."""
    request.getfixturevalue("caplog").set_level(logging.INFO, logger="scoop_server")
    writer = LogQueue(output.write, queue_bytes_max=100)
    monkeypatch.setattr(logging.getLogger(), "handlers", [writer])
    yield writer
    output.error = None
    output.is_open.set()
    writer.flush()


def block(output: Output) -> None:
    """Block the output, with one line under way."""
    output.is_open.clear()
    output.is_reached.clear()
    log.info("first")
    assert output.is_reached.wait(WAIT_SECONDS)


def test_lines_are_written_in_order(output: Output, writer: LogQueue) -> None:
    for number in range(3):
        log.info("%(number)d", {"number": number})
    writer.flush()
    assert output.text == "0\n1\n2\n"


def test_a_blocked_output_blocks_nobody_and_drops_are_reported_in_one_line(output: Output, writer: LogQueue) -> None:
    block(output)
    for _ in range(100):
        log.info("123456789")
    assert writer.dropped == dropped_line_count() == 90
    output.is_open.set()
    writer.flush()
    report = "log lines dropped: 90; the log was not read fast enough\n"
    assert output.text == "first\n" + "123456789\n" * 10 + report


def test_a_write_that_fails_drops_its_lines_and_is_reported_later(
    output: Output, writer: LogQueue, capfd: pytest.CaptureFixture[str]
) -> None:
    output.error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    log.info("lost")
    writer.flush()
    output.error = None
    log.info("kept")
    writer.flush()
    assert output.text == "kept\nlog lines dropped: 1; cannot write the log: No space left on device\n"
    assert capfd.readouterr() == ("", "")


def test_an_event_that_cannot_be_formatted_is_dropped_without_a_traceback(
    writer: LogQueue, capfd: pytest.CaptureFixture[str]
) -> None:
    writer.handle(logging.LogRecord("scoop_server", logging.INFO, "", 0, "%(missing)s", ({"other": 1},), None))
    writer.flush()
    assert writer.dropped == 1
    assert capfd.readouterr() == ("", "")


def test_the_flush_of_a_blocked_output_has_a_deadline(
    output: Output, writer: LogQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_queue, "FLUSH_SECONDS_MAX", 0.01)
    block(output)
    writer.flush()
    assert output.text == ""


def test_a_descriptor_that_another_process_made_non_blocking_is_waited_for() -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    size = fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4_096)
    data = b"x" * (3 * size)
    writing = threading.Thread(target=writer_to(write_end), args=(data,))
    writing.start()
    received = b""
    while len(received) < len(data):
        received += os.read(read_end, size)
    writing.join(WAIT_SECONDS)
    os.close(read_end)
    os.close(write_end)
    assert received == data


def test_a_server_whose_stderr_is_blocked_serves_and_stops(tmp_path: Path) -> None:
    socket_path = str(tmp_path / "socket")
    with subprocess.Popen(
        [*MODULE_COMMAND, "--memory", "--access-log", "--listen", f"unix:{socket_path}"],
        env=server_environment(),
        stderr=subprocess.PIPE,
        bufsize=0,
    ) as process:
        assert process.stderr is not None
        fcntl.fcntl(process.stderr.fileno(), fcntl.F_SETPIPE_SZ, 4_096)
        while b"listening on" not in (line := process.stderr.readline()):
            assert line, "the server ended"
        with BlockingClient(socket_path) as client:
            assert client.ask(*["QUERY|a|"] * 5_000) == ["FAIL"] * 5_000
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_SECONDS) == 0
