"""A data directory with a snapshot and two journals, and what is in one."""

from pathlib import Path
from typing import Final

from scoop_core import DependencyGraph, encode_snapshot

from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.generations import Generations
from scoop_server.storage.trail import recover

from tests.support.faulty_files import Snapshot, contents_of
from tests.support.journals import written

EMPTY_SNAPSHOT: Final = b"".join(encode_snapshot(DependencyGraph()))
JOURNAL: Final = written([["INDEX|gmp|", "INDEX|isl|gmp"], ["INDEX|make|"], ["REMOVE|make|"]])
NEXT_JOURNAL: Final = written([["INDEX|a|"]], generation=2, after=JOURNAL.head)


def make_data_directory(path: Path) -> Path:
    """Create a data directory that a server has used; it holds three packages in four batches."""
    path.mkdir()
    (path / "lock").write_text("4294967296\n")
    (path / "snapshot-1").write_bytes(EMPTY_SNAPSHOT)
    (path / "journal-1").write_bytes(JOURNAL.data)
    (path / "journal-2").write_bytes(NEXT_JOURNAL.data)
    return path


def contents_and_time(path: Path) -> tuple[Snapshot, int]:
    """Return the files of a directory, and the time of its last change."""
    return contents_of(path), path.stat().st_mtime_ns


def index_in(path: Path) -> DependencyGraph:
    """Return the index that a server would start with."""
    with DataDirectory(str(path)) as directory:
        state = recover(directory)
    assert state is not None
    return state.graph


def create_directory(path: Path, graph: DependencyGraph) -> None:
    """Create the data directory ``path``, which holds ``graph``."""
    with DataDirectory.lock(str(path)) as directory:
        Generations.create(directory, graph).journal.close()
