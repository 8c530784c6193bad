"""A restart on sockets that a service manager holds: every client is answered, by this server or the next."""

import signal
import socket
import ssl
import threading
from pathlib import Path
from typing import Final

import pytest

from tests.support.certificates import CertificateFiles
from tests.support.process import WAIT_SECONDS, BlockingClient, ServerProcess

CLIENTS: Final = 3
RESTARTS: Final = 3
ANSWERS_BETWEEN: Final = 20
"""Least number of requests answered between two restarts, so that each restart interrupts clients."""


class Clients:
    """Clients that send requests, each in a thread, while servers stop and start at one address."""

    def __init__(self, address: tuple[str, int], tls: ssl.SSLContext | None) -> None:
        self._address = address
        self._tls = tls
        self._is_stopping = False
        self._changed = threading.Condition()
        self.indexed: list[str] = []
        self.reconnect_count = 0
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._reconnect, args=(number,)) for number in range(CLIENTS)]
        self._threads.append(threading.Thread(target=self._keep_connection))
        for thread in self._threads:
            thread.start()

    def _note(self, package: str, answers: list[str]) -> None:
        with self._changed:
            if answers == ["OK"]:
                self.indexed.append(package)
            else:
                self.failures.append(f"{package} was answered {answers}")
            self._changed.notify_all()

    def _reconnect(self, number: int) -> None:
        """Send each request on a new connection. Any error is a failure."""
        count = 0
        while not self._is_stopping:
            package = f"new-{number}-{count}"
            count += 1
            try:
                with BlockingClient(self._address, tls=self._tls) as client:
                    self._note(package, client.ask(f"INDEX|{package}|"))
            except (OSError, AssertionError) as error:
                with self._changed:
                    self.failures.append(f"{package}: {error!r}")
                    self._changed.notify_all()

    def _keep_connection(self) -> None:
        """Send requests on one connection; when it is closed between two responses, connect and send again."""
        client, count = BlockingClient(self._address, tls=self._tls), 0
        while not self._is_stopping:
            package = f"stay-{count}"
            try:
                self._note(package, client.ask(f"INDEX|{package}|"))
                count += 1
            except (OSError, AssertionError):
                client.close()
                client = BlockingClient(self._address, tls=self._tls)
                self.reconnect_count += 1
        client.close()

    def wait_for_answers(self) -> None:
        """Wait until some more requests have been answered."""
        with self._changed:
            wanted = len(self.indexed) + ANSWERS_BETWEEN
            assert self._changed.wait_for(lambda: len(self.indexed) >= wanted or self.failures, WAIT_SECONDS)

    def stop(self) -> None:
        """Stop all clients."""
        self._is_stopping = True
        for thread in self._threads:
            thread.join(WAIT_SECONDS)


@pytest.mark.parametrize("name", ["scoop.socket", "tls"])
def test_a_restart_rejects_no_connection_and_loses_nothing(tmp_path: Path, name: str) -> None:
    files = CertificateFiles.make(tmp_path / "certificates")
    flags = files.server_arguments if name == "tls" else ()
    tls = files.client_context() if name == "tls" else None
    arguments = ("--data-dir", str(tmp_path / "data"), *flags)
    with socket.create_server(("127.0.0.1", 0), backlog=100) as held:
        clients = Clients(held.getsockname(), tls)
        try:
            for _ in range(RESTARTS):
                with ServerProcess(*arguments, sockets=[(name, held)]) as server:
                    clients.wait_for_answers()
                    assert server.stop(signal.SIGTERM) == 0
            with ServerProcess(*arguments, sockets=[(name, held)]) as server:
                clients.wait_for_answers()
                clients.stop()
                assert clients.failures == []
                assert clients.reconnect_count >= 1
                with server.connect(tls=tls) as client:
                    assert set(client.ask(*(f"QUERY|{package}|" for package in clients.indexed))) == {"OK"}
        finally:
            held.close()  # so that no client waits for a server that does not start
            clients.stop()
