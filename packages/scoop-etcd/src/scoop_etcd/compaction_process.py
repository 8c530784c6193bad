"""Snapshots of the entry log in etcd, written by a separate process, so that they delay no turn of the node.

The node passes the settings in one line of JSON on standard input.
"""

import json
import selectors
import sys
import time
from base64 import b64decode, b64encode
from contextlib import closing
from functools import partial
from typing import Final

from scoop_etcd.client.connection_settings import ConnectionSettings, Credentials
from scoop_etcd.connection import open_client
from scoop_etcd.formats.entries import Keys
from scoop_etcd.formats.records import Config
from scoop_etcd.replication.compaction import Compaction
from scoop_server.errors import ServerError
from scoop_server.telemetry.logs import log, set_up_logging
from scoop_server.telemetry.workers import ChildProcess, run_child

_NICENESS: Final = 10
"""Its niceness: the node has priority."""

_TICK_SECONDS: Final = 0.25

_REQUEST_SECONDS_MAX: Final = 10.0
"""A chunk may take long on a slow disk, and nobody waits for it."""


def start_compaction(
    connection: ConnectionSettings, prefix: str, log_format: str, config: Config, fence: int
) -> ChildProcess:
    """Start a compaction of the entry log. Raises OSError if no process can be started."""
    given = connection.credentials
    settings = {
        "endpoints": list(connection.endpoints),
        "is_tls": connection.is_tls,
        "user": given.user,
        "password": given.password,
        "files": [each and b64encode(each).decode() for each in (given.ca, given.certificate, given.key)],
        "prefix": prefix,
        "log_format": log_format,
        "config": config.encode().decode(),
        "fence": fence,
    }
    return ChildProcess(__name__, line=json.dumps(settings).encode() + b"\n")


def main() -> int:
    """Run one compaction with the settings of standard input; return the exit status."""
    settings = json.loads(sys.stdin.buffer.readline())
    ca, certificate, key = (each and b64decode(each) for each in settings["files"])
    credentials = Credentials(settings["user"], settings["password"], ca, certificate, key)
    connection = ConnectionSettings(settings["endpoints"], settings["is_tls"], credentials)

    def work() -> int:
        try:
            config = Config.decode(settings["config"].encode())
            _run(connection, Keys(settings["prefix"]), settings["fence"], config)
        except ServerError as error:
            log.error("cannot compact the entry log: %(reason)s", {"reason": error})
            return error.exit_status
        return 0

    return run_child(work, partial(set_up_logging, "info", settings["log_format"]), _NICENESS)


def _run(connection: ConnectionSettings, keys: Keys, fence: int, config: Config) -> None:
    started = time.monotonic()
    with (
        closing(open_client(connection, 4 * _REQUEST_SECONDS_MAX)) as client,
        selectors.DefaultSelector() as selector,
    ):
        selector.register(client.fileno(), selectors.EVENT_READ)
        compaction = Compaction(client, time.monotonic, keys, fence, config)
        while compaction.outcome is None:
            selector.select(_TICK_SECONDS)
            compaction.advance()
    log.info(
        "compacted the entry log in %(seconds).1f s (%(outcome)s)",
        {"seconds": time.monotonic() - started, "outcome": compaction.outcome.value},
    )


if __name__ == "__main__":
    sys.exit(main())
