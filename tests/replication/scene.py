"""A cluster under faults: three members of etcd, three nodes, clients that record, and the checks at the end."""

import contextlib
import json
import random
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Final

import trustme

from tests.replication.history import SET_UP, Operation, Order, change_line, trail_violations, violations
from tests.replication.timeline import Timeline
from tests.replication.witness import Witness
from tests.support.certificates import CertificateFiles
from tests.support.etcd_cluster import EtcdCluster, Member
from tests.support.network import CLIENTS, PEERS, Host
from tests.support.process import MODULE_COMMAND, BlockingClient, ServerProcess, free_port, run_to_end

PREFIX: Final = "/campaign/"

NODES: Final = 3
CLIENTS_PER_NODE: Final = 4
PACKAGES: Final = tuple(f"p{number}" for number in range(12))
"""Few, so that clients contradict each other all the time."""

QUOTA_BYTES: Final = 48 << 20

PAUSE_SECONDS: Final = (0.5, 2.5)
"""The shortest and the longest fault, and as much time after it."""

IDENTITIES: Final = ("CN=alice", "CN=bob", "CN=carol", "CN=dave", "CN=eve")
"""Those of the clients. Each node has clients of several, and each is that of clients of several nodes."""

_JUNK: Final = "/junk"


def _context(files: CertificateFiles, authority: trustme.CA, identity: str) -> ssl.SSLContext:
    """Return the context of clients with this identity."""
    name = identity.removeprefix("CN=")
    issued = authority.issue_cert(f"{name}@scoop.test", common_name=name)
    with issued.private_key_and_cert_chain_pem.tempfile() as file:
        return files.client_context(Path(file))


class Node:
    """A node with a fixed port, so that its clients find it again."""

    def __init__(self, name: str, flags: list[str], python: str) -> None:
        self.name = name
        self.port = free_port()
        self.python = python
        """The interpreter that has the version to run."""
        self._flags = [*flags, "--listen", f"tls:127.0.0.1:{self.port}"]
        self._earlier_log: list[str] = []
        self._start()

    def restart(self) -> None:
        """Start it again after its end."""
        self._earlier_log += self.server.log_lines
        self._start()

    @property
    def log_lines(self) -> list[str]:
        """The lines that its servers have logged."""
        return [*self._earlier_log, *self.server.log_lines]

    def _start(self) -> None:
        self.server = ServerProcess(*self._flags, command=(self.python, *MODULE_COMMAND[1:], "serve"))


class Scene:
    """One cluster; a seed plans faults and requests.

    With ``other_python``, the interpreter of another version, its nodes are replaced one after the other by those of
    this version, and then by the others again. ``only`` selects the faults by a part of their names.
    """

    def __init__(
        self, seed: int, directory: Path, hosts: Sequence[Host] = (), other_python: str = "", only: str = ""
    ) -> None:
        self._chance = random.Random(seed)
        self._seed = seed
        self._only = only
        self._resources = ExitStack()
        arguments = ["--quota-backend-bytes", str(QUOTA_BYTES), "--log-level", "info"]
        self._etcd = self._resources.enter_context(EtcdCluster(directory, 3, arguments=arguments, hosts=hosts))
        authority = trustme.CA()
        files = CertificateFiles.make(directory / "tls", authority)
        self._contexts = {identity: _context(files, authority, identity) for identity in IDENTITIES}
        flags = ["--etcd", self._etcd.urls, "--etcd-prefix", PREFIX, "--commit-timeout", "3s", *files.mutual_arguments]
        flags += ["--compaction-threshold", "20k"]
        self._pythons = deque([other_python or sys.executable, sys.executable])
        self._nodes = [Node(f"node{number}", flags, self._pythons[0]) for number in range(NODES)]
        self._next_nodes: list[Node] = []
        """The nodes that still run the version before ``_pythons[0]``."""
        self._witness = self._resources.enter_context(closing(Witness(self._etcd.endpoints, PREFIX)))
        self._numbers = count(1)
        self._stopping = threading.Event()
        self.operations: list[Operation] = []
        self.faults: Counter[str] = Counter()
        self.timeline: Final = Timeline()
        self.state = ""
        """The output of check and nodes at the end."""
        self._problems: list[str] = []

    # Clients

    def _client(self, number: int) -> None:
        chance = random.Random(f"{self._seed} {number}")
        node, identity = number % NODES, IDENTITIES[number % len(IDENTITIES)]
        while not self._stopping.is_set():
            try:
                address = "127.0.0.1", self._nodes[node].port
                with BlockingClient(address, tls=self._contexts[identity]) as client:
                    client.socket.settimeout(10)
                    while not self._stopping.is_set():
                        self._send(client, identity, self._next_line(chance))
            except (OSError, AssertionError):
                node = chance.randrange(NODES)
                self._stopping.wait(0.05)

    def _next_line(self, chance: random.Random) -> str:
        package = chance.choice(PACKAGES)
        if chance.random() < 0.4:
            return f"QUERY|{package}|"
        if chance.random() < 0.6:
            dependencies = chance.sample(PACKAGES, chance.choice([0, 0, 1, 2]))
            return change_line(next(self._numbers), "INDEX", package, dependencies)
        return change_line(next(self._numbers), "REMOVE", package)

    def _send(self, client: BlockingClient, identity: str, line: str) -> None:
        operation = Operation(line, time.monotonic_ns(), identity=identity)
        self.operations.append(operation)  # appending is atomic
        [answer] = client.ask(line)
        operation.completed, operation.answer = time.monotonic_ns(), answer
        if not operation.is_query:
            self.timeline.change_answered()

    # Faults

    def run(self, seconds: float) -> list[str]:
        """Load the cluster with faults for that long; return the violations."""
        with self._nodes[0].server.connect(tls=self._contexts[IDENTITIES[0]]) as client:
            for line in SET_UP:
                self._send(client, IDENTITIES[0], line)
        clients = [
            threading.Thread(target=self._client, args=(number,), daemon=True)
            for number in range(NODES * CLIENTS_PER_NODE)
        ]
        for client_thread in clients:
            client_thread.start()
        faults = {
            "member killed": self._member_killed,
            "member stopped": self._member_stopped,
            "two members stopped": self._quorum_lost,
            "leader moved": self._leader_moved,
            "node killed": self._node_killed,
            "node stopped": self._node_stopped,
            "history compacted": self._history_compacted,
            "quota exhausted": self._quota_exhausted,
            "everything restarted": self._everything_restarted,
        }
        if all(member.host for member in self._etcd.members):
            faults |= {
                "member cut off": lambda: self._member_cut_off(PEERS, CLIENTS),
                "member cut off from members": lambda: self._member_cut_off(PEERS),
                "member cut off from nodes": lambda: self._member_cut_off(CLIENTS),
            }
        names = [name for name in sorted(faults) if self._only in name]
        end = time.monotonic() + seconds
        plan = list[str]()
        while time.monotonic() < end:
            plan = plan or self._chance.sample(names, len(names))
            name = plan.pop()
            self.timeline.note(f"begin: {name}")
            faults[name]()
            self.timeline.note(f"end: {name}")
            self.faults[name] += 1
            self._pause()
            self._check_nodes()
            if self._pythons[0] != self._pythons[1]:
                self._node_replaced()
        self._etcd.wait_until_healthy()
        self._pause()
        self._stopping.set()
        for client_thread in clients:
            client_thread.join()
        return [*self._problems, *self._final_violations()]

    def _pause(self) -> None:
        time.sleep(self._chance.uniform(*PAUSE_SECONDS))

    def _any_member(self) -> Member:
        member = self._chance.choice(self._etcd.members)
        self.timeline.note(member.name)
        return member

    def _any_node(self) -> Node:
        node = self._chance.choice(self._nodes)
        self.timeline.note(node.name)
        return node

    def _member_killed(self) -> None:
        member = self._any_member()
        member.kill()
        self._pause()
        self._etcd.start(member)
        self._etcd.wait_until_healthy()

    @contextmanager
    def _stopped(self, *processes: Callable[[signal.Signals], None]) -> Iterator[None]:
        for send_signal in processes:
            send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for send_signal in processes:
                send_signal(signal.SIGCONT)
            self.timeline.note("continued")

    def _member_stopped(self) -> None:
        with self._stopped(self._any_member().send_signal):
            self._pause()

    def _member_cut_off(self, *networks: str) -> None:
        host = self._any_member().host
        assert host is not None
        with host.cut_off(*networks):
            self._pause()
            self._pause()
        self.timeline.note("connected")
        self._etcd.wait_until_healthy()

    def _quorum_lost(self) -> None:
        members = self._chance.sample(self._etcd.members, 2)
        self.timeline.note(", ".join(member.name for member in members))
        with self._stopped(*(member.send_signal for member in members)):
            self._pause()
            self._pause()
        self._etcd.wait_until_healthy()

    def _leader_moved(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):  # it may be the leader already
            members = self._etcd.etcdctl("member", "list").splitlines()
            target = self._chance.choice(members).split(",")[0]
            self._etcd.etcdctl("move-leader", target)

    def _node_killed(self) -> None:
        node = self._any_node()
        node.server.kill()
        self._pause()
        node.restart()

    def _node_replaced(self) -> None:
        """Take one step of a rolling upgrade, or of the way back."""
        self.faults["node replaced by another version"] += 1
        if not self._next_nodes:
            self._pythons.rotate()
            self._next_nodes = [*self._nodes]
        node = self._next_nodes.pop()
        if status := node.server.stop():
            self._problems.append(f"a node ended with {status}: {node.server.log_lines[-1]}")
        node.python = self._pythons[0]
        node.restart()

    def _node_stopped(self) -> None:
        with self._stopped(self._any_node().server.send_signal):
            self._pause()
            self._pause()

    def _history_compacted(self) -> None:
        # Not past the witness, which must see every entry.
        with contextlib.suppress(subprocess.CalledProcessError):
            self._etcd.etcdctl("compaction", str(max(1, self._witness.revision)))

    def _quota_exhausted(self) -> None:
        number = 0
        try:
            while True:
                number += 1
                subprocess.run(
                    ["etcdctl", "--endpoints", self._etcd.urls, "put", f"{_JUNK}/{number}"],
                    input="x" * 1_400_000, text=True, capture_output=True, check=True,
                )  # fmt: skip
        except subprocess.CalledProcessError:
            self.timeline.note("no space")
            self._pause()
        finally:
            # The log cannot grow meanwhile, so the witness sees all of it before the history goes.
            self._witness.wait_for(self._head_revision())
            deleted = self._etcd.etcdctl("del", "--prefix", _JUNK, "-w", "json")
            self._etcd.etcdctl("compaction", "--physical", str(json.loads(deleted)["header"]["revision"]))
            for member in self._etcd.members:
                self._etcd.etcdctl("defrag", urls=member.url)
            while self._etcd.etcdctl("alarm", "list").strip():
                self._etcd.etcdctl("alarm", "disarm")

    def _head_revision(self) -> int:
        """Return the revision of the last entry of the log."""
        revision: int = json.loads(self._etcd.etcdctl("get", f"{PREFIX}head", "-w", "json"))["kvs"][0]["mod_revision"]
        return revision

    def _everything_restarted(self) -> None:
        for node in self._nodes:
            node.server.kill()
        for member in self._etcd.members:
            member.kill()
        self._etcd.start(*self._etcd.members)
        self._etcd.wait_until_healthy()
        for node in self._nodes:
            node.restart()

    # Checks

    def _check_nodes(self) -> None:
        """Note each node that has ended by itself, and start it again."""
        for node in self._nodes:
            if not node.server.is_running:
                self._problems.append("a node ended by itself: " + node.server.log_lines[-1])
                node.restart()

    def longest_gaps(self, count: int) -> list[str]:
        """Return the longest times without an answered change, with the faults and the lines of all logs in them."""
        for node in self._nodes:
            self.timeline.add_log(node.name, node.log_lines)
        for member in self._etcd.members:
            lines = [
                json.loads(line)
                for line in member.log.read_text().splitlines()
                if "leader" in line and line.endswith("}")
            ]
            self.timeline.add_log(member.name, [f"{line['ts']} {line['msg']}" for line in lines])
        return self.timeline.longest_gaps(count)

    def _final_violations(self) -> list[str]:
        queries = [f"QUERY|{package}|" for package in PACKAGES]
        answers = list[list[str]]()
        for node in self._nodes:
            with node.server.connect(tls=self._contexts[IDENTITIES[0]]) as client:
                answers.append(client.ask(*queries))
        logged = self._log()
        self._witness.wait_for(self._head_revision())
        order = Order.of(self._witness.lines())
        expected = ["OK" if package in order.graph else "FAIL" for package in PACKAGES]
        found = [f"a node answers {each} at the end, expected {expected}" for each in answers if each != expected]
        for command in ("check", "nodes"):
            result = run_to_end(command, "--etcd", self._etcd.urls, "--etcd-prefix", PREFIX)
            self.state += result.stdout
            if result.returncode:
                found.append(f"{command} ended with {result.returncode}: {result.stdout}{result.stderr}")
        return [*found, *violations(self.operations, order), *self._trail_violations(order, logged)]

    def _log(self) -> subprocess.CompletedProcess[str]:
        """Return the end of the command ``log``, after a change of each identity."""
        while True:
            for identity, context in self._contexts.items():
                with self._nodes[0].server.connect(tls=context) as client:
                    self._send(client, identity, change_line(number := next(self._numbers), "INDEX", f"end-{number}"))
            logged = run_to_end("log", "--etcd", self._etcd.urls, "--etcd-prefix", PREFIX)
            if logged.stdout or logged.returncode:  # a compaction may just have moved them into the snapshot
                return logged

    def _trail_violations(self, order: Order, logged: subprocess.CompletedProcess[str]) -> list[str]:
        """Check the trail of all entries, and that ``log`` has printed its end."""
        trail = self._witness.trail()
        found = trail_violations(trail, self.operations, order)
        shown = [(identity, line) for _, _, identity, line in map(str.split, logged.stdout.splitlines())]
        if logged.returncode or shown != trail[-len(shown) :]:
            found.append(f"log ended with {logged.returncode}, and not with the trail: {logged.stderr}")
        identities = len({identity for identity, _ in trail})
        self.state += f"trail: {len(trail)} changes by {identities} identities, log prints the last {len(shown)}\n"
        return found

    def close(self) -> None:
        """End everything."""
        self._stopping.set()
        for node in self._nodes:
            with contextlib.suppress(ProcessLookupError):
                node.server.kill()
        self._resources.close()
