"""A real etcd that syncs, and nodes over it."""

import random
import shutil
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from bench.servers import CLIENTS_MAX, Peer, Processors, Server

SCOOP_COMMAND: Final = (sys.executable, "-m", "scoop_server")

UNPINNED: Final = Processors(None, None)
"""etcd, the nodes and the load generator share all processors."""

_QUOTA_BYTES: Final = 8 << 30
_HEALTH_SECONDS_MAX: Final = 2.0


def is_etcd_missing() -> bool:
    """Return whether etcd is not installed."""
    return shutil.which("etcd") is None


def _free_port() -> int:
    """Return a free port below those that Linux gives to other programs meanwhile."""
    while True:
        port = random.randrange(10_000, 32_768)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=_HEALTH_SECONDS_MAX) as response:
            return b'"true"' in response.read()
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


@contextmanager
def etcd_running(directory: Path, size: int) -> Iterator[Sequence[str]]:
    """Run a new cluster of ``size`` members; return the URLs of its endpoints."""
    names = [f"member{number}" for number in range(size)]
    peers = [f"http://127.0.0.1:{_free_port()}" for _ in names]
    urls = [f"http://127.0.0.1:{_free_port()}" for _ in names]
    initial = ",".join(f"{name}={peer}" for name, peer in zip(names, peers, strict=True))
    with ExitStack() as running:
        members = []
        for name, peer, url in zip(names, peers, urls, strict=True):
            command = [
                "etcd", "--name", name, "--data-dir", str(directory / name), "--log-level", "warn",
                "--listen-client-urls", url, "--advertise-client-urls", url,
                "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", initial,
                "--quota-backend-bytes", str(_QUOTA_BYTES),
                "--auto-compaction-mode", "periodic", "--auto-compaction-retention", "10m",
            ]  # fmt: skip
            members.append(running.enter_context(Server(command, directory / f"{name}.log", UNPINNED)))
        for member, url in zip(members, urls, strict=True):
            while not _is_healthy(url):
                member.wait_a_moment()
        yield urls


class ReplicatedPeer(Peer):
    """A node with ``options`` over a cluster that runs."""

    def __init__(self, name: str, urls: Sequence[str], *options: str, prefix: str = "/scoop/") -> None:
        super().__init__(name, keeps_changes=True)
        self._options = ("--etcd", ",".join(urls), "--etcd-prefix", prefix, *options)

    @contextmanager
    def running(self, directory: Path, processors: Processors) -> Iterator[Server]:
        """See :meth:`Peer.running`."""
        command = [
            *SCOOP_COMMAND,
            "--port",
            "0",
            "--max-clients",
            str(CLIENTS_MAX),
            "--max-clients-per-peer",
            str(CLIENTS_MAX),
            *self._options,
        ]
        with Server(command, directory / "log", processors) as server:
            server.wait_until_listening()
            yield server
