"""Notifications to systemd, whose part a datagram socket of the test plays."""

import contextlib
import logging
import math
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from scoop_server.app.systemd_notify import STATUS_SECONDS, SystemdNotifier

from tests.support.event_loop import Clock
from tests.support.held import HeldServer
from tests.support.process import WAIT_SECONDS, ServerProcess

Message = dict[str, str]

WATCHDOG_SECONDS = 0.4
"""Short, so that heartbeats follow quickly."""


class NotifySocket:
    """The socket at which systemd listens."""

    def __init__(self, address: str | Path) -> None:
        self.name = str(address).replace("\0", "@")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(address))

    def receive(self) -> Message:
        """Return the next message; wait for it."""
        self._socket.settimeout(WAIT_SECONDS)
        return self._parse(self._socket.recv(65_536))

    def receive_now(self) -> list[Message]:
        """Return all messages that have arrived."""
        self._socket.setblocking(False)
        messages = []
        with contextlib.suppress(BlockingIOError):
            while True:
                messages.append(self._parse(self._socket.recv(65_536)))
        return messages

    def receive_until(self, name: str) -> list[Message]:
        """Return the messages up to the first one that assigns ``name``; wait for it."""
        messages = [self.receive()]
        while name not in messages[-1]:
            messages.append(self.receive())
        return messages

    def wait_in_vain(self, seconds: float) -> bool:
        """Return whether nothing comes for so long."""
        self._socket.settimeout(seconds)
        try:
            self._socket.recv(65_536)
        except TimeoutError:
            return True
        return False

    def fill(self) -> None:
        """Fill the socket's buffer."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, contextlib.suppress(BlockingIOError):
            sender.setblocking(False)
            sender.connect(self._socket.getsockname())
            while True:
                sender.send(b"X_FILL=1")

    @staticmethod
    def _parse(data: bytes) -> Message:
        return dict(line.split("=", 1) for line in data.decode().split("\n"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[NotifySocket]:
    with NotifySocket(tmp_path / "notify") as notify_socket:
        yield notify_socket


@pytest.fixture
def clock() -> Clock:
    return Clock()


def manager(systemd: NotifySocket, clock: Clock, **variables: str) -> contextlib.closing[SystemdNotifier]:
    return contextlib.closing(SystemdNotifier({"NOTIFY_SOCKET": systemd.name, **variables}, clock))


# The messages


def test_without_a_service_manager_no_socket_is_opened() -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    absent = SystemdNotifier({"WATCHDOG_USEC": "1000000"})
    absent.ready("serving")
    absent.tick("serving")
    absent.reloading()
    absent.stopping("stopping")
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert absent.watchdog_seconds == math.inf
    assert absent.tick_seconds(1.0) == 1.0
    absent.close()


def test_the_variables_are_removed_from_the_environment(systemd: NotifySocket) -> None:
    environment = {
        "NOTIFY_SOCKET": systemd.name,
        "WATCHDOG_USEC": "1000000",
        "WATCHDOG_PID": str(os.getpid()),
        "PATH": "/bin",
    }
    with contextlib.closing(SystemdNotifier(environment)) as present:
        assert present.watchdog_seconds == 1.0
    assert environment == {"PATH": "/bin"}


def test_an_abstract_socket_is_supported(clock: Clock) -> None:
    with NotifySocket(f"\0scoop-test-{os.getpid()}-{time.monotonic_ns()}") as systemd, manager(systemd, clock) as it:
        it.ready("serving")
        assert systemd.receive() == {"READY": "1", "STATUS": "serving"}


def test_a_reload_is_reported_with_its_time_and_ends_with_ready(systemd: NotifySocket, clock: Clock) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
    with manager(systemd, clock) as it:
        it.reloading()
        it.ready("serving")
    message = systemd.receive()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
    assert message.keys() == {"RELOADING", "MONOTONIC_USEC"}
    assert before <= int(message["MONOTONIC_USEC"]) <= after
    assert systemd.receive()["READY"] == "1"


def test_a_changed_status_is_sent_at_most_every_few_seconds(systemd: NotifySocket, clock: Clock) -> None:
    with manager(systemd, clock) as it:
        it.ready("1 package")
        it.tick("1 package")
        assert [each.get("STATUS") for each in systemd.receive_now()] == ["1 package"]
        it.tick("2 packages")
        it.tick("3 packages")
        assert systemd.receive_now() == [{"STATUS": "2 packages"}]
        clock.now += STATUS_SECONDS
        it.tick("4 packages")
        clock.now += STATUS_SECONDS
        it.tick("4 packages")
        assert systemd.receive_now() == [{"STATUS": "4 packages"}]


# The watchdog


def test_two_heartbeats_are_sent_in_the_time_of_the_watchdog(systemd: NotifySocket, clock: Clock) -> None:
    with manager(systemd, clock, WATCHDOG_USEC="30000000") as it:
        it.tick("")
        assert systemd.receive_now() == [{"WATCHDOG": "1"}]
        for seconds, beats in ((14.9, 0), (0.1, 1), (14.9, 0), (0.1, 1)):
            clock.now += seconds
            it.tick("")
            assert len(systemd.receive_now()) == beats


@pytest.mark.parametrize("pid", ["1", "not a number"])
def test_a_watchdog_for_another_process_is_ignored(systemd: NotifySocket, clock: Clock, pid: str) -> None:
    with manager(systemd, clock, WATCHDOG_USEC="30000000", WATCHDOG_PID=pid) as it:
        assert it.watchdog_seconds == math.inf
        it.tick("")
        assert systemd.receive_now() == []


@pytest.mark.parametrize("usec", ["", "0", "-1", "1s", "\u0661", "9" * 400, "9" * 5_000])
def test_a_watchdog_with_an_invalid_time_is_ignored(systemd: NotifySocket, clock: Clock, usec: str) -> None:
    with manager(systemd, clock, WATCHDOG_USEC=usec) as it:
        assert it.watchdog_seconds == math.inf


@pytest.mark.parametrize(("watchdog_usec", "tick_seconds"), [("60000000", 1.0), ("2000000", 0.5), ("1", 0.01)])
def test_a_short_watchdog_makes_ticks_more_frequent(
    systemd: NotifySocket, clock: Clock, watchdog_usec: str, tick_seconds: float
) -> None:
    with manager(systemd, clock, WATCHDOG_USEC=watchdog_usec) as it:
        assert it.tick_seconds(1.0) == tick_seconds


# Errors


def test_a_heartbeat_that_could_not_be_sent_is_sent_with_the_next_tick(
    systemd: NotifySocket, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with manager(systemd, clock, WATCHDOG_USEC="30000000") as it:
        systemd.fill()
        it.tick("")
        systemd.receive_now()
        it.tick("")
        assert systemd.receive_now() == [{"WATCHDOG": "1"}]
    assert len(caplog.messages) == 1


# The server process


def test_a_run_is_reported_from_its_start_to_its_end(systemd: NotifySocket, tmp_path: Path) -> None:
    arguments = ("--data-dir", str(tmp_path / "data"))
    with ServerProcess(*arguments) as server, server.connect() as client:
        assert client.ask("INDEX|gmp|", "INDEX|isl|gmp") == ["OK", "OK"]
    with ServerProcess(*arguments, variables={"NOTIFY_SOCKET": systemd.name}) as server:
        assert systemd.receive() == {"READY": "1", "STATUS": "serving: 2 packages, 0 clients"}
        with server.connect() as client:
            assert client.ask("INDEX|cloog|gmp,isl") == ["OK"]
            while (message := systemd.receive()) != {"STATUS": "serving: 3 packages, 1 client"}:
                assert message == {"STATUS": "serving: 2 packages, 1 client"}  # a tick before the request
        assert server.stop() == 0
        *_, stopping = systemd.receive_until("STOPPING")
        assert stopping["STATUS"].startswith("draining: 3 packages")


def test_sighup_is_reported_as_a_reload(systemd: NotifySocket) -> None:
    with ServerProcess("--memory", variables={"NOTIFY_SOCKET": systemd.name}) as server:
        systemd.receive_until("READY")
        server.send_signal(signal.SIGHUP)
        assert systemd.receive().keys() == {"RELOADING", "MONOTONIC_USEC"}
        assert systemd.receive() == {"READY": "1", "STATUS": "serving: 0 packages, 0 clients"}


def test_a_server_is_not_ready_while_it_loads(systemd: NotifySocket, tmp_path: Path) -> None:
    arguments = ("--data-dir", str(tmp_path / "data"))
    with ServerProcess(*arguments) as server, server.connect() as client:
        assert client.ask("INDEX|gmp|") == ["OK"]
    with HeldServer("loading", tmp_path, *arguments, NOTIFY_SOCKET=systemd.name) as held:
        held.wait_until_held()
        assert systemd.receive_now() == []
        held.let_go()
        systemd.receive_until("READY")


def test_heartbeats_stop_while_the_loop_is_stuck(systemd: NotifySocket, tmp_path: Path) -> None:
    variables = {"NOTIFY_SOCKET": systemd.name, "WATCHDOG_USEC": str(round(WATCHDOG_SECONDS * 1e6))}
    with HeldServer("serving", tmp_path, "--memory", **variables) as held:
        systemd.receive_until("READY")
        for _ in range(3):
            systemd.receive_until("WATCHDOG")
        with held.connect() as client:
            client.send(b"QUERY|stuck|\n")
            held.wait_until_held()
            systemd.receive_now()
            assert systemd.wait_in_vain(3 * WATCHDOG_SECONDS)
            held.let_go()
            assert client.read_answers(1) == ["FAIL"]
            systemd.receive_until("WATCHDOG")


def test_an_unreachable_service_manager_does_not_stop_the_service(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    variables = {"NOTIFY_SOCKET": missing, "WATCHDOG_USEC": "100000"}
    with ServerProcess("--memory", variables=variables) as server, server.connect() as client:
        assert client.ask("INDEX|gmp|") == ["OK"]
    [line] = [line for line in server.log_lines if "cannot notify the service manager" in line]
    assert f"at {missing}: No such file or directory;" in line
