"""Hosts with links of their own, in network namespaces, that can be disconnected from each other.

The process that makes them must itself run in a namespace of its own, which :func:`in_namespace` starts, so that the
network of the machine stays as it is.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

PEERS: Final = "peers"
"""The network between the hosts."""

CLIENTS: Final = "clients"
"""The network between each host and this process."""

_NETWORKS: Final = {PEERS: "10.77.1", CLIENTS: "10.77.2"}
_NEW_NAMESPACE: Final = ("unshare", "--net")
_OWN_NUMBER: Final = 254


def in_namespace(command: Sequence[str]) -> list[str]:
    """Return the command that runs ``command`` in a network namespace of its own."""
    return [*_NEW_NAMESPACE, *command]


def reason_without_namespaces() -> str:
    """Return the reason for which this machine allows no network namespaces; empty if it does."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if missing := [each for each in ("ip", "unshare", "nsenter") if shutil.which(each) is None]:
        return f"{', '.join(missing)} is not installed (iproute2, util-linux)"
    links = "ip link add b0 type bridge && ip link add v0 type veth peer name v1 && ip link set v0 master b0"
    tried = subprocess.run(in_namespace(["sh", "-c", links]), capture_output=True, text=True, check=False)
    return f"this machine allows no links in network namespaces: {tried.stderr.strip()}" if tried.returncode else ""


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@dataclass(frozen=True)
class Host:
    """A namespace, kept by a process that waits."""

    number: int
    keeper: "subprocess.Popen[str]"

    @property
    def prefix(self) -> tuple[str, ...]:
        """The words before a command that is to run on this host."""
        return ("nsenter", f"--net=/proc/{self.keeper.pid}/ns/net")

    def address(self, network: str) -> str:
        """Return the address of this host in a network."""
        return f"{_NETWORKS[network]}.{self.number}"

    @contextmanager
    def cut_off(self, *networks: str) -> Iterator[None]:
        """Let nothing pass between this host and some networks."""
        for network in networks:
            _ip("link", "set", f"{network}{self.number}", "down")
        try:
            yield
        finally:
            for network in networks:
                _ip("link", "set", f"{network}{self.number}", "up")


class Network:
    """``size`` hosts, from the ``with`` statement to its end."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.hosts: list[Host] = []

    def __enter__(self) -> Self:
        _ip("link", "set", "lo", "up")
        for network, addresses in _NETWORKS.items():
            _ip("link", "add", network, "type", "bridge")
            _ip("address", "add", f"{addresses}.{_OWN_NUMBER}/24", "dev", network)
            _ip("link", "set", network, "up")
        for number in range(1, self._size + 1):
            self.hosts.append(self._new_host(number))
        return self

    def _new_host(self, number: int) -> Host:
        keeper = subprocess.Popen(
            in_namespace(["sh", "-c", "ip link set lo up; echo; exec cat"]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        host = Host(number, keeper)
        assert keeper.stdout is not None
        keeper.stdout.readline()  # from here on it has its namespace
        for network in _NETWORKS:
            link = f"{network}{number}"
            _ip("link", "add", link, "type", "veth", "peer", "name", network, "netns", str(keeper.pid))
            _ip("link", "set", link, "master", network, "up")
            for words in (
                ("address", "add", f"{host.address(network)}/24", "dev", network),
                ("link", "set", network, "up"),
            ):
                subprocess.run([*host.prefix, "ip", *words], check=True)
        return host

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        for host in self.hosts:
            host.keeper.communicate()  # the end of its input ends it
