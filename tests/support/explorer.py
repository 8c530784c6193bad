"""The explorer in the process of a test, and as a process of its own."""

import http.client
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from starlette.testclient import TestClient

from scoop_core import DependencyGraph, LoggedBatch, Seal

from scoop_explorer.application import Application
from scoop_explorer.sources import Source, SourceError, open_source
from scoop_server.ports import Loaded

from tests.support.process import WAIT_SECONDS
from tests.support.waiting import wait_until


class ScriptedSource:
    """A source that delivers what a test puts into it."""

    def __init__(self, graph: DependencyGraph | None = None) -> None:
        self.path = "scripted"
        self.is_current = True
        self.has_more = False
        self.problem = ""
        self._lock = threading.Lock()
        self._deliveries: list[Loaded | LoggedBatch] = [] if graph is None else [Loaded(graph, 0)]
        self._batch = 0

    def commit(self, *lines: str) -> None:
        with self._lock:
            self._batch += 1
            self._deliveries.append(LoggedBatch("".join(f"{line}\n" for line in lines), Seal(self._batch, 0)))

    def load(self, graph: DependencyGraph) -> None:
        with self._lock:
            self._deliveries.append(Loaded(graph, self._batch))

    def poll(self) -> list[Loaded | LoggedBatch]:
        if self.problem:
            raise SourceError(self.problem)
        with self._lock:
            delivered, self._deliveries = self._deliveries, []
        return delivered

    def history(self) -> None:
        pass

    def close(self) -> None:
        pass


class Explored:
    """An explorer in this process, with a client."""

    def __init__(self, application: Application, client: TestClient) -> None:
        self.application = application
        self.client = client

    def page(self, url: str, status: int = 200) -> str:
        """Return the HTML of a page, complete."""
        while True:
            response = self.client.get(url)
            assert response.status_code == status, response.text
            if "data-pending" not in response.text:
                return response.text
            time.sleep(0.02)

    def json(self, url: str, status: int = 200) -> object:
        """Return the answer of the API, complete."""
        while True:
            response = self.client.get(f"/api/v1{url}")
            if response.status_code != 202:
                assert response.status_code == status, response.text
                return response.json().get("answer")
            time.sleep(0.02)


@contextmanager
def exploring(source: Source | Path) -> Iterator[Explored]:
    """Explore a source, or the directory or the dump at a path, once it is loaded and counted."""
    with exploring_unloaded(open_source(str(source)) if isinstance(source, Path) else source) as explored:
        application = explored.application
        wait_until(lambda: application.index.is_loaded and application.surveyor.survey)
        yield explored


@contextmanager
def exploring_unloaded(source: Source) -> Iterator[Explored]:
    """Explore a source, whether it can be loaded or not."""
    # A machine that is busy for seconds must not end a response.
    application = Application(source, ["testserver"], request_seconds_max=WAIT_SECONDS)
    with TestClient(application.asgi) as client:
        yield Explored(application, client)


class ExplorerProcess:
    """The command ``scoop-explorer`` as a process of its own, on a free port."""

    def __init__(self, *arguments: str | Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scoop_explorer.cli", "--listen", "127.0.0.1:0", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,  # a buffer would keep lines after the first one from communicate()
            env=os.environ,
        )
        assert self._process.stderr is not None
        line = self._process.stderr.readline().decode()
        match = re.search(r"at http://127\.0\.0\.1:(\d+)\n", line)
        assert match is not None, line
        self.port = int(match[1])
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def get(self, path: str) -> tuple[int, str]:
        """Return the status and the text of a response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_SECONDS)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def is_ready(self) -> bool:
        """Return whether it has an index and serves."""
        try:
            return self.get("/readyz")[0] == 200
        except ConnectionError:
            return False

    def stop(self) -> tuple[int, str]:
        """End it with SIGTERM; return its exit status and what it has logged."""
        self._process.terminate()
        _, log = self._process.communicate(timeout=WAIT_SECONDS)
        return self._process.returncode, log.decode()

    def kill(self) -> None:
        """End it as a crash does."""
        self._process.kill()
        self._process.communicate(timeout=WAIT_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.stop()
