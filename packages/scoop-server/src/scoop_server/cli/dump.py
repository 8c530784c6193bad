"""``scoop-server dump DIR``: print an index as protocol lines."""

import contextlib
from typing import BinaryIO

from scoop_core import encode_dump

from scoop_server.cli.check import READ_ATTEMPTS, no_index, require_directory
from scoop_server.errors import DataDirectoryError
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.recovery import RecoveredState, recover
from scoop_server.storage.trail import Moment, graph_at


def dump(path: str, out: BinaryIO, at: Moment | None = None) -> int:
    """Write the index of the data directory ``path`` to ``out``, dependencies first, and return the exit status 0.

    A server may be using the directory; then the dump is the index at some moment during the call, or as it was ``at``
    an earlier one. Raises DataDirectoryError if the directory cannot be read or holds no index.
    """
    require_directory(path)
    if at is not None:
        out.writelines(encode_dump(graph_at(path, at)))
        out.flush()
        return 0
    with DataDirectory(path) as directory:
        state = _recover_beside_a_server(directory)
    if state is None:
        raise no_index(path)  # a wrong path must not result in an empty backup
    out.writelines(encode_dump(state.graph))
    out.flush()
    return 0


def _recover_beside_a_server(directory: DataDirectory) -> RecoveredState | None:
    for _ in range(READ_ATTEMPTS - 1):
        with contextlib.suppress(DataDirectoryError):
            return recover(directory)
    return recover(directory)
