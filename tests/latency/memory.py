"""The memory of a server per open connection, by kind: ``python -m tests.latency.memory``."""

import socket
import ssl
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.support.certificates import HOST, CertificateFiles, TlsPeer
from tests.support.process import WAIT_SECONDS, ServerProcess

_COUNT: Final = 800
"""Connections of each kind: fewer than the handshakes that may be in progress, so that none is closed."""


def _stay_silent(_client: socket.socket, _context: ssl.SSLContext) -> None:
    pass


def _send_hello(client: socket.socket, context: ssl.SSLContext) -> None:
    """Send the first message of a handshake, and wait for the server's."""
    client.sendall(TlsPeer(client, context).begin())
    client.recv(1)


def _query(client: socket.socket, _context: ssl.SSLContext) -> None:
    client.sendall(b"QUERY|a|\n")
    client.recv(100)


def _query_with_tls(client: socket.socket, context: ssl.SSLContext) -> None:
    peer = TlsPeer(client, context)
    client.sendall(peer.begin())
    while not peer.continue_handshake():
        peer.feed(client.recv(100_000))
    client.sendall(peer.encrypt(b"QUERY|a|\n"))
    client.recv(100_000)


KINDS: Final[dict[str, tuple[int, Callable[[socket.socket, ssl.SSLContext], None]]]] = {
    "idle": (0, _query),
    "TLS, idle": (1, _query_with_tls),
    "TLS, nothing sent": (1, _stay_silent),
    "TLS, in the middle of the handshake": (1, _send_hello),
}
"""The number of the listener, and what a client does."""


def main() -> int:
    """Print the memory of each kind in kB; return the exit status."""
    with tempfile.TemporaryDirectory(prefix="scoop-memory-") as path:
        files = CertificateFiles.make(Path(path) / "tls")
        context = files.client_context()
        listeners = ("--listen", f"tcp:{HOST}:0", "--listen", f"tls:{HOST}:0", *files.server_arguments)
        for kind, (number, prepare) in KINDS.items():
            with ServerProcess("--memory", "--tls-handshake-timeout", "1h", *listeners) as server:
                host, port = server.addresses[number].removeprefix("tls:").split(":")
                before, held = 0, list[socket.socket]()
                for count in range(_COUNT + 1):  # the first one loads what all need
                    held.append(socket.create_connection((host, int(port)), WAIT_SECONDS))
                    prepare(held[-1], context)
                    if not count:
                        before = server.peak_memory_bytes()
                with socket.create_connection((server.host, server.port), WAIT_SECONDS) as last:
                    _query(last, context)  # the server has accepted the others
                print(f"{kind}: {(server.peak_memory_bytes() - before) / _COUNT / 1_000:.1f} kB", flush=True)
                for client in held:
                    client.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
