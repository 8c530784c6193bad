"""The how-tos of registries, word for word, with the real programs; each is skipped where its program is missing.

After each step, the index and the registry must hold the same packages.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from scoop_core import DependencyGraph

from scoop_client import Client
from scoop_client.ecosystems.npm import import_npm

from tests.support.pages import ROOT
from tests.support.process import WAIT_SECONDS, ServerProcess, free_port, server_environment
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.campaign, pytest.mark.any_python]

PACKAGES: Final = ("gmp", "isl")

_LINE_OF_SCOOP: Final = re.compile(
    r"^(?:scoop: |[a-z]+ (?:OK|FAIL|ERROR): |[a-z]+: (?:indexed|removed); running ).*\n", re.MULTILINE
)
_TERMINAL_SEQUENCE: Final = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")

_PART: Final = re.compile(r"^```(sh|console)\n(.*?)^```$|^## If the registry is (down)$", re.MULTILINE | re.DOTALL)


class Page:
    """A page, its directory with a server of Scoop, and its registry, if that is a server."""

    def __init__(self, name: str, programs: Mapping[str, str], port: str, directory: Path) -> None:
        for program, source in programs.items():
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not installed: {source}")
        self._text = (ROOT / "docs" / name).read_text()
        self._ports = {port: str(free_port())}
        """The port that takes the place of each documented one."""
        self._port = port
        self._directory = directory
        self._registry: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self.url = f"http://127.0.0.1:{self._ports[port]}"
        shim = directory / "bin" / "scoop"
        shim.parent.mkdir()
        shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m scoop_client.cli.main "$@"\n')
        shim.chmod(0o755)
        self._variables = {"HOME": str(directory), "PATH": f"{shim.parent}:{os.environ['PATH']}"}

    def parts(self) -> Iterator[tuple[str, str]]:
        """Yield each block with its language, and the headline of the section about a registry that is down."""
        for language, text, is_down in _PART.findall(self._text):
            yield language or is_down, text

    def run(self, command: str) -> str:
        """Run a block or a command; return the lines of scoop, or all lines if no other program runs."""
        done = subprocess.run(
            ["bash", "-e", "-c", self._with_free_ports(command)],
            cwd=self._directory,
            env=server_environment(self._variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=WAIT_SECONDS,
            check=False,
        )
        print(f"$ {command}\n{done.stdout}")  # for the report of a failed test
        if command.startswith("scoop sync"):
            return done.stdout
        if not command.startswith("scoop "):
            assert done.returncode == 0
            return ""
        return "".join(_LINE_OF_SCOOP.findall(_TERMINAL_SEQUENCE.sub("", done.stdout)))

    def _with_free_ports(self, text: str) -> str:
        for documented, port in self._ports.items():
            text = text.replace(f"127.0.0.1:{documented}", f"127.0.0.1:{port}")
        return text.replace(f"--port {self._port}", f"--port {self._ports[self._port]}")

    def start_registry(self, command: str) -> None:
        """Start the program of a block, and wait until it serves: its log may name its address before."""
        self._registry = subprocess.Popen(
            ["bash", "-c", f"exec {self._with_free_ports(command)}"],
            cwd=self._directory,
            env=server_environment(self._variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._registry.stdout is not None
        log = ""
        while self.url not in log:
            line = self._registry.stdout.readline()
            assert line, log
            log += line
        self._reader = threading.Thread(target=self._registry.stdout.read)  # so that it can go on writing
        self._reader.start()
        wait_until(self._accepts_connections)

    def _accepts_connections(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", int(self._ports[self._port]))) == 0

    def stop_registry(self) -> None:
        if self._registry is not None:
            self._registry.terminate()
            self._registry.wait(WAIT_SECONDS)
            if self._reader is not None:
                self._reader.join(WAIT_SECONDS)
            if self._registry.stdout is not None:
                self._registry.stdout.close()
            self._registry = None

    def follow(self) -> None:
        """Run all blocks in their order; the output of each command must be as shown."""
        with ServerProcess(working_directory=self._directory) as server:
            self._ports |= {"8080": str(server.port)}
            self._variables["SCOOP_SERVER"] = f"127.0.0.1:{server.port}"
            try:
                for kind, text in self.parts():
                    if kind == "down":
                        self.stop_registry()
                    elif kind == "sh" and re.match(r"(devpi-server|verdaccio) ", text):
                        self.start_registry(text.strip())
                    elif kind == "sh":
                        self.run(text)
                    else:
                        self._follow_session(text, server)
            finally:
                self.stop_registry()

    def _follow_session(self, text: str, server: ServerProcess) -> None:
        for step in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, shown = step.partition("\n")
            assert self.run(command) == shown, command
            published = self.published()
            if command.startswith("scoop ") and published is not None:
                with server.connect() as client:
                    answers = client.ask(*(f"QUERY|{name}|" for name in PACKAGES))
                assert {name for name, answer in zip(PACKAGES, answers, strict=True) if answer == "OK"} == published

    def published(self) -> set[str] | None:
        """Return the packages in the registry, or None if it is unavailable."""
        if (repository := self._directory / "repo").is_dir():
            command = ["reprepro", "-b", str(repository), "--list-format", "${package}\n", "list", "stable"]
            return {*subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()}
        if self._registry is None:
            return None
        return {name for name in PACKAGES if self._has(name)}

    def _has(self, name: str) -> bool:
        place = f"root/stable/+simple/{name}/" if "devpi" in self._text else name
        try:
            status = urllib.request.urlopen(f"{self.url}/{place}", timeout=WAIT_SECONDS)
        except urllib.error.HTTPError as error:
            status = error
        with status:
            assert status.status in {200, 404}
            return bool(status.status == 200)


def test_reprepro(tmp_path: Path) -> None:
    programs = {"reprepro": "apt-get install reprepro", "dpkg-deb": "apt-get install dpkg"}
    Page("howto-debian-repository.md", programs, "none", tmp_path).follow()


def test_devpi(tmp_path: Path) -> None:
    programs = dict.fromkeys(["devpi-server", "devpi", "twine", "pip"], "pip install devpi-server devpi-client twine")
    Page("howto-devpi.md", programs, "3141", tmp_path).follow()


def test_versions_beside_names_of_a_real_lock_file() -> None:
    program = shutil.which("verdaccio") or pytest.skip("verdaccio is not installed: npm install verdaccio")
    lock = Path(program).absolute().parents[2] / "package-lock.json"  # above node_modules/.bin
    packages = import_npm([str(lock)], names=True).packages
    graph = DependencyGraph.from_mapping(packages)
    versions = {name: listed for name, listed in packages.items() if "@" not in name[1:]}
    several = [name for name, listed in versions.items() if len(listed) > 1]
    assert len(versions) > 100
    assert several
    for name in several:
        for version in versions[name]:
            assert name in graph.blocking_dependents(version)
    with ServerProcess("--memory") as server, Client(f"127.0.0.1:{server.port}") as client:
        assert all(client.send_all(graph.to_requests()))
        oldest, *newer = versions[several[0]]
        others = set(graph.blocking_dependents(oldest)) - {several[0]}
        assert not client.remove(oldest)
        assert client.index(several[0], newer)
        assert bool(client.remove(oldest)) is not bool(others)


def test_verdaccio(tmp_path: Path) -> None:
    programs = {"verdaccio": "npm install verdaccio", "npm": "apt-get install npm", "curl": "apt-get install curl"}
    Page("howto-verdaccio.md", programs, "4873", tmp_path).follow()
