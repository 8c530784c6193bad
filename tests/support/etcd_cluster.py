"""Real members of etcd as child processes: on free ports of 127.0.0.1 or of hosts of their own, with temporary data."""

import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest

from tests.support.certificates import CertificateFiles
from tests.support.network import CLIENTS, PEERS, Host
from tests.support.process import WAIT_SECONDS, free_port

_HOST: Final = "127.0.0.1"

IS_MISSING: Final = shutil.which("etcd") is None or shutil.which("etcdctl") is None

needs_etcd: Final = pytest.mark.skipif(IS_MISSING, reason="etcd or etcdctl is not installed (etcd-server, etcd-client)")


class _PortTakenError(Exception):
    """Another program has taken a port between its choice and its use."""


class Member:
    """One member of a cluster: a process that can be killed, paused and started again."""

    def __init__(
        self, name: str, directory: Path, arguments: Sequence[str], tls: CertificateFiles | None, host: Host | None
    ) -> None:
        self.host = host
        self._client_host, self._peer_host = (host.address(CLIENTS), host.address(PEERS)) if host else (_HOST, _HOST)
        self.choose_ports()
        self.name = name
        self.directory = directory / name
        self.log = directory / f"{name}.log"
        self._arguments = arguments
        self._tls = tls
        self._process: subprocess.Popen[bytes] | None = None

    def choose_ports(self) -> None:
        """Choose ports that nothing listens on now."""
        self.client_port, self.peer_port = free_port(), free_port()

    @property
    def has_lost_a_port(self) -> bool:
        """Return whether it has ended because another program took one of its ports first."""
        has_ended = self._process is not None and self._process.poll() is not None
        return has_ended and "address already in use" in self.log.read_text()

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"{'https' if self._tls else 'http'}://{self._client_host}:{self.client_port}"

    @property
    def peer(self) -> str:
        """The name and the URL for other members."""
        return f"{self.name}=http://{self._peer_host}:{self.peer_port}"

    def start(self, peers: Sequence[str], state: str) -> None:
        """Start the process."""
        peer_url = self.peer.partition("=")[2]
        tls = [] if self._tls is None else [
            "--cert-file", str(self._tls.server_cert), "--key-file", str(self._tls.server_key),
            "--client-cert-auth", "--trusted-ca-file", str(self._tls.authority),
        ]  # fmt: skip
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(self.host.prefix if self.host else ()),
                    "etcd", "--name", self.name, "--data-dir", str(self.directory), "--log-level", "warn",
                    "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
                    "--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url,
                    "--initial-cluster", ",".join(peers), "--initial-cluster-state", state, *tls, *self._arguments,
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def forget(self) -> None:
        """Delete what it has stored and logged, and choose other ports."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.log.unlink()
        self.choose_ports()

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal: SIGSTOP pauses it, SIGCONT continues it."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it with SIGKILL, which reaches a paused process too."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(WAIT_SECONDS)
            self._process = None


class EtcdCluster:
    """A cluster of ``size`` members, from the ``with`` statement to its end."""

    def __init__(
        self,
        directory: Path,
        size: int = 1,
        *,
        arguments: Sequence[str] = (),
        tls: CertificateFiles | None = None,
        hosts: Sequence[Host] = (),
    ) -> None:
        # Without fsync, because the tests are about processes, and a shared disk would time them.
        self.members = [
            Member(f"member{number}", directory, ["--unsafe-no-fsync", *arguments], tls, host)
            for number, host in enumerate(hosts or [None] * size)
        ]
        self._tls = tls

    @property
    def _peers(self) -> list[str]:
        return [member.peer for member in self.members]

    @property
    def urls(self) -> str:
        """The URLs of all members, as ``--etcd`` takes them."""
        return ",".join(member.url for member in self.members)

    @property
    def endpoints(self) -> list[str]:
        """The addresses of all members."""
        return [member.url.partition("//")[2] for member in self.members]

    def start(self, *members: Member) -> None:
        """Start members again."""
        for member in members:
            member.start(self._peers, "existing")

    def etcdctl(self, *arguments: str, urls: str = "") -> str:
        """Run etcdctl, and return its output. Raises CalledProcessError."""
        tls = []
        if self._tls is not None:
            client = str(self._tls.client_cert)
            tls = ["--cacert", str(self._tls.authority), "--cert", client, "--key", client]
        # A busy machine may take longer than the 5 s that etcdctl waits by default.
        command = ["etcdctl", "--endpoints", urls or self.urls, "--command-timeout", "60s", *tls, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=WAIT_SECONDS).stdout

    def wait_until_healthy(self) -> None:
        """Wait until every member answers."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                self.etcdctl("endpoint", "health", "--command-timeout", "2s")
            except subprocess.CalledProcessError:
                if any(member.has_lost_a_port for member in self.members):
                    raise _PortTakenError from None
                if time.monotonic() > deadline:
                    raise AssertionError(self.members[0].log.read_text()[-5_000:]) from None
            else:
                return

    def __enter__(self) -> Self:
        while True:
            try:
                for member in self.members:
                    member.start(self._peers, "new")
                self.wait_until_healthy()
            except _PortTakenError:
                self.__exit__(None, None, None)
                for member in self.members:
                    member.forget()
            except BaseException:
                self.__exit__(None, None, None)
                raise
            else:
                return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        for member in self.members:
            member.kill()
