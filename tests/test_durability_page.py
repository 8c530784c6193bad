"""The reader that docs/durability.md links to reads the files of a server, and transcript.py shows valid files."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from scoop_core import Changes, DependencyGraph, JournalReader, decode_snapshot, encode_snapshot, transcript

from scoop_server.config.settings import Fsync
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.generations import Generations
from scoop_server.storage.store import JournalStore
from scoop_server.telemetry.workers import Task

from tests.support.forms import needs_docstrings
from tests.support.pages import ROOT
from tests.support.process import WAIT_SECONDS

pytestmark = pytest.mark.any_python

READER = ROOT / "examples" / "read_data_directory.py"


def read_with_the_example(directory: Path) -> list[str]:
    command = [sys.executable, str(READER), str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=WAIT_SECONDS)
    return done.stdout.splitlines()


def start_compaction(*_: object) -> Task:
    raise AssertionError("nothing is to be compacted")


def open_store(directory: DataDirectory) -> tuple[JournalStore, DependencyGraph]:
    files, graph = Generations.open(directory, Fsync.ALWAYS)
    return JournalStore(files, lambda: 0.0, start_compaction), graph


def commit(store: JournalStore, graph: DependencyGraph, *lines: str) -> None:
    changes = Changes()
    graph.apply_lines("".join(f"{line}\n" for line in lines), changes)
    store.commit(changes)


def test_the_reader_reads_the_files_of_a_server(tmp_path: Path) -> None:
    assert "scoop_core import" not in READER.read_text("utf-8"), "it shows that Scoop is not needed"
    directory = DataDirectory(str(tmp_path))
    store, graph = open_store(directory)
    commit(store, graph, "INDEX|gmp|", "INDEX|isl|gmp", "INDEX|gmp|gmp,isl")
    commit(store, graph, "INDEX|make|")
    store.save(graph)
    assert read_with_the_example(tmp_path) == ["gmp: gmp isl", "isl: gmp", "make:"]
    commit(store, graph, "REMOVE|make|", "INDEX|cloog|isl,gmp")
    store.close()
    store, graph = open_store(directory)  # another process, and so another journal
    commit(store, graph, "INDEX|gmp|")
    store.close()
    directory.close()
    last = max(tmp_path.glob("journal-*"), key=lambda path: int(path.name.partition("-")[2]))
    with last.open("ab") as journal:
        journal.write(b"INDEX|half|")
    assert read_with_the_example(tmp_path) == ["cloog: gmp isl", "gmp:", "isl: gmp"]


@needs_docstrings
def test_the_described_snapshot_and_journal_are_valid() -> None:
    blocks = re.findall(r"::\n\n((?: {4}.*\n)+)", transcript.__doc__ or "")
    snapshot, journal = (textwrap.dedent(block).encode() for block in blocks)
    assert b"".join(encode_snapshot(decode_snapshot(snapshot))) == snapshot
    assert list(JournalReader(journal)) == ["INDEX|cloog|isl\nREMOVE|make|\n"]
