"""Healthy TLS clients: ``python -m tests.latency.handshakes HOST PORT SECONDS DIRECTORY PAUSE``.

Ten a second connect from another address than the attack, with a round trip of PAUSE seconds between the flights of
their handshakes, and send a QUERY. It prints their latencies as the probe does. It fails below 99% of answers.
DIRECTORY has the files of :class:`~tests.support.certificates.CertificateFiles`.
"""

import json
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Final

from tests.support.certificates import CertificateFiles, TlsPeer

_SOURCE: Final = ("127.0.0.2", 0)
_INTERVAL_SECONDS: Final = 0.1
_LONGEST_SECONDS: Final = 20.0
_ANSWERED_MIN: Final = 0.99


class Probe:
    """Clients that connect at a steady rate."""

    def __init__(self, host: str, port: int, directory: Path, pause: float) -> None:
        files = CertificateFiles.existing(directory)
        self._address = host, port
        self._context = files.client_context(files.client_cert)
        self._pause = pause
        self.latencies: list[float] = []
        self.failures: list[str] = []

    def run(self, seconds: float) -> None:
        """Connect for ``seconds``, and wait for all."""
        threads: list[threading.Thread] = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            threads.append(threading.Thread(target=self._connect))
            threads[-1].start()
            time.sleep(_INTERVAL_SECONDS)
        for thread in threads:
            thread.join()

    def _connect(self) -> None:
        started = time.perf_counter()
        try:
            with socket.create_connection(self._address, _LONGEST_SECONDS, _SOURCE) as client:
                self._ask(client)
            self.latencies.append(1_000 * (time.perf_counter() - started))
        except OSError as error:
            self.failures.append(str(error))

    def _ask(self, client: socket.socket) -> None:
        peer = TlsPeer(client, self._context)
        flight, is_complete = peer.begin(), False
        while not is_complete:
            time.sleep(self._pause)
            client.sendall(flight)
            peer.feed(_receive(client))
            is_complete = peer.continue_handshake()
            flight = peer.encrypt(b"QUERY|base|\n" if is_complete else b"")
        client.sendall(flight)
        while not peer.decrypt()[0]:
            peer.feed(_receive(client))


def _receive(client: socket.socket) -> bytes:
    data = client.recv(100_000)
    if not data:
        raise ConnectionResetError("the server has closed the connection")
    return data


def main(host: str, port: int, seconds: float, directory: Path, pause: float) -> None:
    """Connect for ``seconds``, and print the latencies."""
    probe = Probe(host, port, directory, pause)
    probe.run(seconds)
    if len(probe.latencies) < _ANSWERED_MIN * (len(probe.latencies) + len(probe.failures)):
        raise AssertionError(f"{len(probe.failures)} failed, {len(probe.latencies)} succeeded: {probe.failures[0]}")
    print(json.dumps({"established": probe.latencies, "connecting": []}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]), float(sys.argv[5]))
