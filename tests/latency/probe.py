"""A healthy client in a process of its own: ``python -m tests.latency.probe HOST PORT SECONDS``.

It sends one QUERY at a time, 200 a second at most, and on a new connection for every twentieth. It prints the latencies
of its requests, and of its new connections with their first request, in milliseconds as JSON.
"""

import contextlib
import json
import os
import socket
import sys
import time
from typing import Final

from tests.support.process import WAIT_SECONDS

_PAUSE_SECONDS: Final = 0.005
_CONNECT_SECONDS: Final = 20.0
_ATTEMPTS: Final = 5


def main(host: str, port: int, seconds: float) -> None:
    """Send requests for ``seconds``, and print their latencies."""
    with contextlib.suppress(OSError):  # not root
        os.nice(-10)
    established: list[float] = []
    connecting: list[float] = []
    with _connect(host, port) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.perf_counter() + seconds
        while (started := time.perf_counter()) < end or not established:
            _ask(client)
            established.append(1_000 * (time.perf_counter() - started))
            if len(established) % 20 == 0:
                started = time.perf_counter()
                with _connect(host, port) as new:
                    _ask(new)
                connecting.append(1_000 * (time.perf_counter() - started))
            time.sleep(_PAUSE_SECONDS)
    print(json.dumps({"established": established, "connecting": connecting}))


def _connect(host: str, port: int) -> socket.socket:
    """Connect, again and again: a flood of connections fills the queue of the kernel."""
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(TimeoutError):
            client = socket.create_connection((host, port), _CONNECT_SECONDS)
            client.settimeout(WAIT_SECONDS)
            return client
    raise AssertionError("the server accepts no connection")


def _ask(client: socket.socket) -> None:
    client.sendall(b"QUERY|base|\n")
    if (answer := client.recv(100)) != b"OK\n":
        raise AssertionError(f"expected OK, got {answer!r}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
