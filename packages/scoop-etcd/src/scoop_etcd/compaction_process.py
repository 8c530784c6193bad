"""Snapshots of the log in etcd, written by a separate process, so that they delay no turn of the node.

The node passes the settings in one line of JSON on standard input, because arguments can be read by every user of the
machine, and then keeps the pipe open: its end of file shows the process that the node has exited.
"""

import json
import os
import selectors
import subprocess
import sys
import threading
import time
from base64 import b64decode, b64encode
from contextlib import closing
from typing import Final

from scoop_etcd.client.connection_settings import Cluster, Credentials
from scoop_etcd.connection import open_client
from scoop_etcd.formats.entries import Keys
from scoop_etcd.replication.compaction import Compaction
from scoop_server.errors import ServerError
from scoop_server.telemetry.logs import log, set_up_logging

_NICENESS: Final = 10
"""Its niceness: the node has priority."""

_TICK_SECONDS: Final = 0.25

_REQUEST_SECONDS_MAX: Final = 10.0
"""A chunk may take long on a slow disk, and nobody waits for it."""

_KILL_SECONDS: Final = 1.0


class SnapshotProcess:
    """A compaction of the log in a process of its own; satisfies ``compactor.CompactionTask``."""

    def __init__(self, cluster: Cluster, prefix: str, log_format: str, reject_cycles: bool, fence: int) -> None:
        # -P: nothing may be imported from the working directory.
        self._process = subprocess.Popen(  # noqa: S603  # this package's own module
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            process_group=0,  # Ctrl-C at a terminal is for the server, which ends its compaction itself
        )
        given = cluster.credentials
        settings = {
            "endpoints": list(cluster.endpoints),
            "is_tls": cluster.is_tls,
            "user": given.user,
            "password": given.password,
            "files": [each and b64encode(each).decode() for each in (given.ca, given.certificate, given.key)],
            "prefix": prefix,
            "log_format": log_format,
            "reject_cycles": reject_cycles,
            "fence": fence,
        }
        self._send(json.dumps(settings).encode() + b"\n")

    def _send(self, line: bytes) -> None:
        assert self._process.stdin is not None  # noqa: S101  # it is a pipe
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except BrokenPipeError:  # it has ended already; poll tells with which status
            log.debug("a compaction ended immediately")

    def poll(self) -> int | None:
        """See :meth:`CompactionTask.poll`."""
        status = self._process.poll()
        if status is not None:
            self._close()
        return status

    def kill(self) -> None:
        """See :meth:`CompactionTask.kill`."""
        self._process.kill()
        try:
            self._process.wait(_KILL_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning("compaction process %(pid)d does not end", {"pid": self._process.pid})
        self._close()

    def _close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()


def main() -> int:
    """Run one compaction with the settings of standard input; return the exit status."""
    settings = json.loads(sys.stdin.buffer.readline())
    set_up_logging("info", settings["log_format"])
    os.nice(_NICENESS)
    threading.Thread(target=_exit_with_the_node, daemon=True).start()
    ca, certificate, key = (each and b64decode(each) for each in settings["files"])
    credentials = Credentials(settings["user"], settings["password"], ca, certificate, key)
    cluster = Cluster(settings["endpoints"], settings["is_tls"], credentials)
    try:
        _run(cluster, Keys(settings["prefix"]), settings["fence"], reject_cycles=settings["reject_cycles"])
    except ServerError as error:
        log.error("cannot compact the log: %(reason)s", {"reason": error})
        return error.exit_status
    return 0


def _exit_with_the_node() -> None:
    # Not through sys.stdin: the interpreter, when it ends, would wait for the lock that this thread holds, and abort.
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def _run(cluster: Cluster, keys: Keys, fence: int, *, reject_cycles: bool) -> None:
    started = time.monotonic()
    with (
        closing(open_client(cluster, 4 * _REQUEST_SECONDS_MAX)) as client,
        selectors.DefaultSelector() as selector,
    ):
        selector.register(client.fileno(), selectors.EVENT_READ)
        compaction = Compaction(client, time.monotonic, keys, fence, reject_cycles=reject_cycles)
        while compaction.outcome is None:
            selector.select(_TICK_SECONDS)
            compaction.advance()
    log.info(
        "compacted the log in %(seconds).1f s (%(outcome)s)",
        {"seconds": time.monotonic() - started, "outcome": compaction.outcome.value},
    )


if __name__ == "__main__":
    sys.exit(main())
