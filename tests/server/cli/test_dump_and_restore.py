"""``scoop-server dump`` and ``restore``: a complete index as lines, and a new data directory from them."""

import io
import os
import signal
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoop_core import Changes, DependencyGraph

from scoop_server.cli.directory import DirectorySource
from scoop_server.errors import DataDirectoryError
from scoop_server.storage.directory import DataDirectory

from tests.support import strategies
from tests.support.data_directory import (
    JOURNAL,
    NEXT_JOURNAL,
    contents_and_time,
    create_directory,
    index_in,
    make_data_directory,
)
from tests.support.faulty_files import names_in
from tests.support.process import ServerProcess

LINES = b"INDEX|gmp|\nINDEX|isl|gmp\n"


def complete(lines: bytes) -> bytes:
    """Return a dump with these lines."""
    data = b"#scoop dump 1\n" + lines
    return data + b"#end packages %d crc32 %08x\n" % (lines.count(b"\n"), crc32(data))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_data_directory(tmp_path / "data")


def dumped(path: Path) -> bytes:
    out = io.BytesIO()
    assert DirectorySource(str(path)).dump(out) == 0
    return out.getvalue()


# dump


def test_a_dump_has_the_index_in_order_of_dependencies_between_header_and_trailer(path: Path) -> None:
    before = contents_and_time(path)
    assert dumped(path) == complete(b"INDEX|a|\nINDEX|gmp|\nINDEX|isl|gmp\n")
    assert contents_and_time(path) == before


def test_an_empty_index_is_dumped_and_a_directory_without_an_index_is_not(tmp_path: Path) -> None:
    with pytest.raises(DataDirectoryError, match=r"it holds no index; name a data directory$"):
        DirectorySource(str(tmp_path)).dump(io.BytesIO())
    create_directory(tmp_path, DependencyGraph())
    assert dumped(tmp_path) == complete(b"")


def test_an_unsealed_change_is_not_dumped(path: Path) -> None:
    (path / "journal-2").write_bytes(NEXT_JOURNAL.data[:-1])
    assert dumped(path) == complete(LINES)


def test_a_damaged_index_is_not_dumped(path: Path) -> None:
    (path / "journal-1").write_bytes(JOURNAL.data[:-1])
    out = io.BytesIO()
    with pytest.raises(DataDirectoryError, match=f"^cannot read {path}/journal-1: byte "):
        DirectorySource(str(path)).dump(out)
    assert out.getvalue() == b""


def test_a_dump_beside_a_working_server_has_every_acknowledged_change(path: Path) -> None:
    with ServerProcess("--data-dir", str(path)) as server, server.connect() as client:
        server.send_signal(signal.SIGUSR1)  # so that files are replaced meanwhile
        for number in range(20):
            assert client.ask(f"INDEX|package-{number}|{f'package-{number - 1}' if number else ''}") == ["OK"]
            client.send(b"".join(b"INDEX|x%d|\nREMOVE|x%d|\n" % (each, each) for each in range(200)))
            lines = dumped(path).splitlines()
            assert client.read_answers(400) == ["OK"] * 400
            packages = {line.split(b"|")[1].decode() for line in lines if not line.startswith(b"#")}
            assert packages >= {"a", "gmp", "isl", *(f"package-{each}" for each in range(number + 1))}


class Replaced(DataDirectory):
    """A data directory whose server replaces files while they are read, for a number of times."""

    def __init__(self, path: str, times: int) -> None:
        super().__init__(path)
        self.times = times

    def read(self, kind: str, generation: int, length: int | None = None, start: int = 0, sync: bool = False) -> bytes:
        self.times -= 1
        return b"" if self.times >= 0 else super().read(kind, generation, length, start, sync)


@pytest.mark.parametrize(("failures", "is_dumped"), [(1, True), (4, True), (5, False)])
def test_files_that_a_server_replaces_meanwhile_are_read_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, failures: int, is_dumped: bool
) -> None:
    monkeypatch.setattr("scoop_server.cli.directory.DataDirectory", lambda name: Replaced(name, failures))
    if is_dumped:
        assert dumped(path).count(b"INDEX") == 3
    else:
        with pytest.raises(DataDirectoryError):
            DirectorySource(str(path)).dump(io.BytesIO())


# restore


def test_a_new_directory_holds_the_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new"
    assert DirectorySource(str(path)).restore(io.BytesIO(complete(LINES))) == 0
    assert names_in(path) == {"snapshot-1", "journal-1"}
    assert dumped(path) == complete(LINES)
    assert capsys.readouterr().err == f"restored 2 packages into {path}\n"
    assert DirectorySource(str(path)).check(io.StringIO()) == 0


@pytest.mark.parametrize("names", [(), ("lock",)])
def test_an_existing_directory_must_be_empty_except_for_a_lock(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert DirectorySource(str(tmp_path)).restore(io.BytesIO(LINES)) == 0
    assert dumped(tmp_path) == complete(LINES)


def rejection(path: Path, lines: io.BytesIO) -> str:
    with pytest.raises(DataDirectoryError) as raised:
        DirectorySource(str(path)).restore(lines)
    assert "\n" not in str(raised.value)
    return str(raised.value)


WAY_OUT = "; nothing was written, correct the input or use another dump"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (b"", "line 1: the input has no requests"),
        (LINES[:-1], "line 2: the input ends within this line"),
        (b"#\nINDEX|a|b\n", "line 2: cannot index a: b is not indexed"),
        (complete(LINES).replace(b"isl", b"osl"), "line 4: the dump is damaged: its count or checksum is wrong"),
    ],
)
def test_other_input_is_rejected_and_nothing_is_written(tmp_path: Path, lines: bytes, reason: str) -> None:
    path = tmp_path / "new"
    assert rejection(path, io.BytesIO(lines)) == f"cannot restore {reason}{WAY_OUT}"
    assert not path.exists()


@pytest.mark.parametrize("name", ["snapshot-1", "journal-7", "notes"])
def test_nothing_is_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"precious")
    before = contents_and_time(tmp_path)
    lines = io.BytesIO(LINES)
    assert rejection(tmp_path, lines) == f"cannot restore into {tmp_path}: it is not empty; name a new directory"
    assert lines.tell() == 0
    assert contents_and_time(tmp_path) == before


def test_files_that_appear_while_the_input_is_read_are_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "new"

    class Slow(io.BytesIO):
        def __next__(self) -> bytes:
            path.mkdir(exist_ok=True)
            (path / "snapshot-1").write_bytes(b"precious")
            return super().__next__()

    assert "is not empty" in rejection(path, Slow(LINES))
    assert (path / "snapshot-1").read_bytes() == b"precious"
    assert names_in(path) == {"snapshot-1"}


def test_a_directory_that_a_server_has_just_locked_is_rejected(tmp_path: Path) -> None:
    with DataDirectory.lock(str(tmp_path)):
        assert f"process id {os.getpid()}" in rejection(tmp_path, io.BytesIO(LINES))
    assert names_in(tmp_path) == set()


def test_a_path_that_is_no_directory_is_rejected(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert rejection(file, io.BytesIO(LINES)) == f"cannot restore into {file}: Not a directory; name a directory"


@given(history=st.lists(strategies.batches, max_size=6))
@settings(max_examples=30)
def test_a_dump_is_restored_to_the_same_index(tmp_path_factory: pytest.TempPathFactory, history: list[str]) -> None:
    graph = DependencyGraph()
    for text in history:
        graph.apply_lines(text, Changes())
    base = tmp_path_factory.mktemp("dump")
    create_directory(base / "old", graph)
    DirectorySource(str(base / "new")).restore(io.BytesIO(dumped(base / "old")))
    assert index_in(base / "new") == graph
