"""The reader of files in docs/durability.md reads real ones, and its tables name code and tests that exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from scoop_core import Changes, DependencyGraph

from scoop_server.config.fsync import Fsync
from scoop_server.storage.compaction import Compaction
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.store import JournalStore

from tests.support.process import WAIT_SECONDS

pytestmark = pytest.mark.any_python

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "durability.md"


def read_with_the_page(directory: Path) -> list[str]:
    reader = re.search(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert reader is not None
    command = [sys.executable, "-c", reader[1], str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=WAIT_SECONDS)
    return done.stdout.splitlines()


def start_compaction(*_: object) -> Compaction:
    raise AssertionError("nothing is to be compacted")


def open_store(directory: DataDirectory) -> tuple[JournalStore, DependencyGraph]:
    return JournalStore.open(directory, Fsync.ALWAYS, lambda: 0.0, start_compaction)


def commit(store: JournalStore, graph: DependencyGraph, *lines: str) -> None:
    changes = Changes()
    graph.apply_lines("".join(f"{line}\n" for line in lines), changes)
    store.commit(changes)


def test_the_reader_reads_the_files_of_a_server(tmp_path: Path) -> None:
    directory = DataDirectory(str(tmp_path))
    store, graph = open_store(directory)
    commit(store, graph, "INDEX|gmp|", "INDEX|isl|gmp", "INDEX|gmp|gmp,isl")
    commit(store, graph, "INDEX|make|")
    store.save(graph)
    assert read_with_the_page(tmp_path) == ["gmp: gmp isl", "isl: gmp", "make:"]
    commit(store, graph, "REMOVE|make|", "INDEX|cloog|isl,gmp")
    store.close()
    store, graph = open_store(directory)  # another process, and so another journal
    commit(store, graph, "INDEX|gmp|")
    store.close()
    directory.close()
    last = max(tmp_path.glob("journal-*"), key=lambda path: int(path.name.partition("-")[2]))
    with last.open("ab") as journal:
        journal.write(b"INDEX|half|")
    assert read_with_the_page(tmp_path) == ["cloog: gmp isl", "gmp:", "isl: gmp"]


def test_each_fault_names_code_and_tests_that_exist() -> None:
    modules = [path for name in ("scoop-core", "scoop-server") for path in (ROOT / "packages" / name).rglob("*.py")]
    source = "\n".join(path.read_text("utf-8") for path in modules)
    defined = {path.stem for path in [*modules, *(path.parent for path in modules)]}
    defined |= set(re.findall(r"^ *(?:class|def) (\w+)", source, re.MULTILINE))
    rows = [line.split(" | ") for line in PAGE.read_text("utf-8").splitlines() if re.match(r"\| .*`tests/", line)]
    assert len(rows) > 20
    for row in rows:
        _, _, code, tests = row
        for name in re.findall(r"`([^`]+)`", code):
            assert defined >= set(name.split(".")), f"{name} is not defined"
        for test in re.findall(r"`([^`]+)`", tests):
            assert (ROOT / test).exists(), f"{test} does not exist"
