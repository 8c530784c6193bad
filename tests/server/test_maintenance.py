"""What an operator asks of a data directory: whether it is whole, what it holds, and to make a new one."""

import errno
import fcntl
import io
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoop_core import Changes, DependencyGraph, encode_snapshot

from scoop_server.cli import maintenance
from scoop_server.cli.maintenance import COMMAND_NAMES, check, dump, main, restore
from scoop_server.errors import DataDirectoryError
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.lock import DirectoryLock
from scoop_server.storage.recovery import recover
from scoop_server.storage.store import begin

from tests.support import strategies
from tests.support.faulty_files import Snapshot, contents_of, names_in
from tests.support.journals import written
from tests.support.privileges import unprivileged
from tests.support.process import MODULE_COMMAND, run_to_end

EMPTY_SNAPSHOT = b"".join(encode_snapshot(DependencyGraph()))
BATCHES = [["INDEX|gmp|", "INDEX|isl|gmp"], ["INDEX|make|"], ["REMOVE|make|"]]
JOURNAL = written(BATCHES)
NEXT_JOURNAL = written([["INDEX|a|"]], generation=2, after=JOURNAL.head)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A data directory with a snapshot and two journals, in which a server has been."""
    path = tmp_path / "data"
    path.mkdir()
    (path / "lock").write_text("4294967296\n")
    (path / "snapshot-1").write_bytes(EMPTY_SNAPSHOT)
    (path / "journal-1").write_bytes(JOURNAL.data)
    (path / "journal-2").write_bytes(NEXT_JOURNAL.data)
    return path


def checked(path: Path) -> tuple[int, list[str]]:
    """Return the exit status of a check, and what it says, without the directory's path. It changes nothing."""
    before = contents_and_access(path)
    out = io.StringIO()
    status = check(str(path), out)
    assert contents_and_access(path) == before
    return status, out.getvalue().replace(f"{path}/", "").replace(str(path), "DIR").splitlines()


def contents_and_access(path: Path) -> tuple[Snapshot, int]:
    return contents_of(path), path.stat().st_mtime_ns


def dumped(path: Path) -> bytes:
    out = io.BytesIO()
    assert dump(str(path), out) == 0
    return out.getvalue()


def found(path: Path) -> DependencyGraph:
    state = recover(DataDirectory(str(path)))
    assert state is not None
    return state.graph


def refusal(call: Callable[[], int]) -> str:
    """Return the one line with which something is refused."""
    with pytest.raises(DataDirectoryError) as refused:
        call()
    assert "\n" not in str(refused.value)
    return str(refused.value)


class TestCheck:
    def test_a_whole_directory(self, path: Path) -> None:
        status, lines = checked(path)
        assert status == 0
        crc = EMPTY_SNAPSHOT[-9:-1].decode()
        assert lines == [
            f"snapshot-1: 0 packages, {len(EMPTY_SNAPSHOT)} bytes, crc32 {crc}",
            f"journal-1: batches 1 to 3, 4 changes, {len(JOURNAL.data)} bytes, crc32 {JOURNAL.head.checksum:08x}",
            (
                f"journal-2: batches 4 to 4, 1 change, {len(NEXT_JOURNAL.data)} bytes, "
                f"crc32 {NEXT_JOURNAL.head.checksum:08x}"
            ),
            "a server would start with 3 packages: snapshot 1 and 4 batches after it, up to batch 4",
        ]

    def test_a_journal_without_a_batch(self, path: Path) -> None:
        empty = written([], generation=3, after=NEXT_JOURNAL.head)
        (path / "journal-3").write_bytes(empty.data)
        status, lines = checked(path)
        assert status == 0
        assert f"journal-3: no batch, {len(empty.data)} bytes, crc32 {empty.head.checksum:08x}" in lines

    def test_an_interrupted_write_at_the_end(self, path: Path) -> None:
        (path / "journal-2").write_bytes(NEXT_JOURNAL.data + b"INDEX|half")
        status, lines = checked(path)
        assert status == 3
        assert lines[2].endswith(", and 10 bytes not sealed")
        assert lines[-2].startswith("a server would start with 3 packages: ")
        assert lines[-1] == "it would drop the last 10 bytes of journal-2, not known to be on disk"

    def test_what_the_next_start_would_delete(self, path: Path) -> None:
        graph = found(path)
        (path / "snapshot-3").write_bytes(b"".join(encode_snapshot(graph)))
        (path / "journal-3").write_bytes(written([], generation=3, after=NEXT_JOURNAL.head).data)
        (path / "snapshot-4.unfinished-77").write_bytes(b"half")
        status, lines = checked(path)
        assert status == 0
        assert [line for line in lines if line.startswith("it would")] == [
            f"it would delete {name}, which is superfluous or was never finished"
            for name in ("journal-1", "journal-2", "snapshot-1", "snapshot-4.unfinished-77")
        ]

    @pytest.mark.parametrize(
        ("name", "data", "found"),
        [
            ("snapshot-1", b"", "BROKEN: byte 0: the snapshot is empty"),
            (
                "snapshot-1",
                EMPTY_SNAPSHOT[:-3],
                "BROKEN: byte 54: the snapshot breaks off: its last line is not a trai",
            ),
            ("journal-1", b"\0" * 9, "BROKEN: byte 0: no journal: the first line is not a header"),
            (
                "journal-1",
                JOURNAL.data.replace(b"isl", b"osl"),
                f"BROKEN: byte {JOURNAL.ends[0]}: batch 1 is broken, and batch 2 tells that it had been whole on disk",
            ),
            (
                "journal-2",
                b"#scoop journal 2\n",
                "BROKEN: byte 0: the journal has format 2; this version reads format 1",
            ),
        ],
    )
    def test_a_broken_file_is_told_with_its_place_and_the_others_are_looked_at_too(
        self, path: Path, name: str, data: bytes, found: str
    ) -> None:
        (path / name).write_bytes(data)
        status, lines = checked(path)
        assert status == 1
        assert next(line for line in lines if "BROKEN" in line).startswith(f"{name}: {found}")
        assert sum(line.startswith(("snapshot-1: ", "journal-1: ", "journal-2: ")) for line in lines) == 3
        assert lines[-1].startswith(f"a server would refuse to start: cannot read {name}: ")

    def test_a_missing_file(self, path: Path) -> None:
        (path / "journal-1").unlink()
        status, lines = checked(path)
        assert status == 1
        assert lines[-1].startswith("a server would refuse to start: journal-1 is missing; ")

    def test_files_that_are_whole_and_do_not_belong_together(self, path: Path) -> None:
        (path / "journal-2").write_bytes(written([["INDEX|a|"]], generation=2).data)
        status, lines = checked(path)
        assert status == 1
        assert lines[-1].startswith(
            "a server would refuse to start: cannot read journal-2: byte 0: it continues batch 0"
        )

    def test_a_file_that_is_broken_and_superfluous_is_broken(self, path: Path) -> None:
        (path / "snapshot-2").write_bytes(b"".join(encode_snapshot(DependencyGraph())))
        (path / "journal-1").write_bytes(JOURNAL.data[:-1])
        (path / "snapshot-1").write_bytes(b"broken")
        for tail, expected in ((b"", 1), (b"half", 1)):
            (path / "journal-2").write_bytes(NEXT_JOURNAL.data + tail)
            status, lines = checked(path)
            assert status == expected
            assert any(line.startswith("snapshot-1: BROKEN: ") for line in lines)
            assert any(line.startswith("a server would start with 1 package: ") for line in lines)

    @pytest.mark.parametrize(
        ("lines", "reason"),
        [
            (b"INDEX|b|a\nINDEX|a|\n#dependents 0 1\n", "its lines, indexed one by one, do not lead to the same index"),
            (
                b"INDEX|a|x\nINDEX|b|a\n#dependents 1 0\n",
                "its lines, indexed one by one, do not lead to the same index",
            ),
            (b"INDEX|a|\nINDEX|b|a\n#dependents 2 0\n", "its numbers of dependents are wrong"),
        ],
    )
    def test_what_a_server_believes_of_a_snapshot_is_looked_into(self, path: Path, lines: bytes, reason: str) -> None:
        """Its checksum is right: no accident has written it, but a program that is not this one."""
        data = b"#scoop snapshot 1\n" + lines + b"#end packages 2 lines 2 crc32 "
        (path / "snapshot-5").write_bytes(data + b"%08x\n" % crc32(data))
        (path / "journal-5").write_bytes(written([], generation=5).data)
        status, printed = checked(path)
        assert status == 1
        assert f"snapshot-5: BROKEN: byte 18: {reason}" in printed

    def test_a_file_that_cannot_be_read(self, path: Path) -> None:
        (path / "journal-2").unlink()
        (path / "journal-2").symlink_to("nowhere")
        out = io.StringIO()
        assert check(str(path), out) == 1
        assert f"{path}/journal-2: BROKEN: No such file or directory\n" in out.getvalue()

    def test_a_directory_that_is_none_of_ours(self, tmp_path: Path) -> None:
        (tmp_path / "notes").touch()
        with pytest.raises(DataDirectoryError, match=r"holds no index; name a data directory"):
            check(str(tmp_path), io.StringIO())

    @pytest.mark.parametrize("files", [{"snapshot-1": EMPTY_SNAPSHOT}, {"journal-1.unfinished-7": b"half"}])
    def test_a_directory_in_which_nothing_was_ever_kept(self, tmp_path: Path, files: dict[str, bytes]) -> None:
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        status, lines = checked(tmp_path)
        assert status == 0
        assert "DIR: begun, and never finished; a server would start with no package" in lines
        deleted = "it would delete journal-1.unfinished-7, which is superfluous or was never finished"
        assert (deleted in lines) == ("journal-1.unfinished-7" in files)

    def test_a_copy_that_may_only_be_read(self, path: Path) -> None:
        (path / "lock").chmod(0o400)
        with unprivileged(path) as copy:
            copy.chmod(0o500)
            try:
                out = io.StringIO()
                assert check(str(copy), out) == 0
            finally:
                copy.chmod(0o700)
        (path / "lock").unlink()
        assert checked(path)[0] == 0

    def test_a_directory_that_may_not_be_listed(self, path: Path) -> None:
        with unprivileged(path) as closed:
            closed.chmod(0o300)
            try:
                line = refusal(lambda: check(str(closed), io.StringIO()))
            finally:
                closed.chmod(0o700)
        assert line == "cannot look into data: Permission denied; see to its permissions"

    def test_a_server_that_runs_is_not_disturbed(self, path: Path) -> None:
        lock = DirectoryLock(str(path))
        try:
            line = refusal(lambda: check(str(path), io.StringIO()))
        finally:
            lock.close()
        assert f"in use by the server with process id {os.getpid()}; " in line

    def test_two_checks_at_a_time(self, path: Path) -> None:
        with (path / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            assert checked(path)[0] == 0


class TestDump:
    def test_it_is_the_lines_of_a_snapshot(self, path: Path) -> None:
        before = contents_and_access(path)
        assert dumped(path) == b"INDEX|a|\nINDEX|gmp|\nINDEX|isl|gmp\n"
        assert contents_and_access(path) == before

    def test_an_index_of_nothing_is_no_line(self, tmp_path: Path) -> None:
        with pytest.raises(DataDirectoryError, match=r"holds no index; name a data directory"):
            dump(str(tmp_path), io.BytesIO())  # a typing error must not become a backup of nothing
        begin(DataDirectory(str(tmp_path)), DependencyGraph())
        assert dumped(tmp_path) == b""

    def test_a_large_index(self, tmp_path: Path) -> None:
        graph = DependencyGraph()
        for number in range(10_000):
            graph.index(f"package-{number}", [f"package-{number - 1}"] if number else [])
        begin(DataDirectory(str(tmp_path)), graph)
        assert dumped(tmp_path).decode().splitlines() == list(graph.to_lines())

    def test_a_tail_is_left_out(self, path: Path) -> None:
        (path / "journal-2").write_bytes(NEXT_JOURNAL.data[:-1])
        assert dumped(path) == b"INDEX|gmp|\nINDEX|isl|gmp\n"

    def test_a_server_may_be_running(self, path: Path) -> None:
        lock = DirectoryLock(str(path))
        try:
            assert dumped(path).count(b"\n") == 3
        finally:
            lock.close()

    @pytest.mark.parametrize(("failures", "is_given"), [(1, True), (4, True), (5, False)])
    def test_files_that_a_server_replaces_meanwhile_are_read_again(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, failures: int, is_given: bool
    ) -> None:
        left = failures

        def recover_late(directory: DataDirectory) -> object:
            nonlocal left
            left -= 1
            if left >= 0:
                raise DataDirectoryError("journal-1 is missing")
            return recover(directory)

        monkeypatch.setattr(maintenance, "recover", recover_late)
        if is_given:
            assert dumped(path).count(b"\n") == 3
        else:
            assert refusal(lambda: dump(str(path), io.BytesIO())) == "journal-1 is missing"

    def test_damage_is_not_dumped(self, path: Path) -> None:
        (path / "journal-1").write_bytes(JOURNAL.data[:-1])
        out = io.BytesIO()
        assert f"cannot read {path}/journal-1: byte " in refusal(lambda: dump(str(path), out))
        assert out.getvalue() == b""


class TestRestore:
    LINES = b"INDEX|gmp|\nINDEX|isl|gmp\n"

    def test_a_new_directory_holds_what_the_lines_say(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "new"
        assert restore(str(path), io.BytesIO(self.LINES)) == 0
        assert names_in(path) == {"snapshot-1", "journal-1"}
        assert dumped(path) == self.LINES
        assert capsys.readouterr().err == f"restored 2 packages into {path}\n"
        assert checked(path)[0] == 0

    @pytest.mark.parametrize("names", [(), ("lock",)])
    def test_an_empty_directory_will_do(self, tmp_path: Path, names: tuple[str, ...]) -> None:
        for name in names:
            (tmp_path / name).touch()
        assert restore(str(tmp_path), io.BytesIO(self.LINES)) == 0
        assert dumped(tmp_path) == self.LINES

    @pytest.mark.parametrize(
        "lines",
        [
            b"#scoop snapshot 1\n" + LINES + b"#end packages 2 lines 2 crc32 00000000\n",
            LINES.replace(b"\n", b"\r\n"),
            LINES + b"INDEX|make|\nQUERY|make|\nREMOVE|make|\n",
            LINES + b"INDEX|gmp|isl\nINDEX|gmp|\n",
        ],
        ids=["a snapshot", "CRLF", "more than INDEX", "a cycle meanwhile"],
    )
    def test_any_lines_that_are_answered_ok(self, tmp_path: Path, lines: bytes) -> None:
        assert restore(str(tmp_path / "new"), io.BytesIO(lines)) == 0
        assert dumped(tmp_path / "new") == self.LINES

    @pytest.mark.parametrize(
        ("lines", "reason"),
        [
            (b"", "there was not one request to restore from; give the output of: scoop-server dump"),
            (
                b"#scoop snapshot 1\n",
                "there was not one request to restore from; give the output of: scoop-server dump",
            ),
            (LINES[:-1], "line 2 breaks off; nothing was restored, so get the input whole"),
            (LINES + b"#end pack", "line 3 breaks off; nothing was restored, so get the input whole"),
            (LINES + b"\n", "line 3 is answered ERROR: ''; nothing was restored, so mend the input"),
            (b"#\nINDEX|a|b\n", "line 2 is answered FAIL: 'INDEX|a|b'; nothing was restored, so mend the input"),
            (LINES + b"REMOVE|gmp|\n", "line 3 is answered FAIL: 'REMOVE|gmp|'; nothing was restored, so mend the "),
            (LINES + b"QUERY|x|\n", "line 3 is answered FAIL: 'QUERY|x|'; nothing was restored, so mend the input"),
            (b"INDEX|a b|\n" + LINES, "line 1 is answered ERROR: 'INDEX|a b|'; nothing was restored, so mend the "),
            (b"INDEX|\xff\0|\n", r"line 1 is answered ERROR: 'INDEX|\xff\x00|'; nothing was restored, so mend the"),
            (
                b"INDEX|" + b"n" * 500 + b"|\n",
                f"line 1 is answered ERROR: 'INDEX|{'n' * 74}'; nothing was restored, so mend the input",
            ),
        ],
    )
    def test_other_lines_are_refused_with_their_number_and_nothing_is_written(
        self, tmp_path: Path, lines: bytes, reason: str
    ) -> None:
        path = tmp_path / "new"
        assert refusal(lambda: restore(str(path), io.BytesIO(lines))).startswith(reason)
        assert not path.exists()

    @pytest.mark.parametrize("name", ["snapshot-1", "journal-7", "notes"])
    def test_nothing_is_overwritten(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"precious")
        before = contents_and_access(tmp_path)

        class Unread(io.BytesIO):
            def __next__(self) -> bytes:
                raise AssertionError("it was read")

        line = refusal(lambda: restore(str(tmp_path), Unread(self.LINES)))
        assert line == f"{tmp_path} is not empty; restore into a new directory"
        assert contents_and_access(tmp_path) == before

    def test_what_appears_while_the_lines_are_read_is_not_overwritten_either(self, tmp_path: Path) -> None:
        path = tmp_path / "new"

        class Slow(io.BytesIO):
            def __next__(self) -> bytes:
                path.mkdir(exist_ok=True)
                (path / "snapshot-1").write_bytes(b"precious")
                return super().__next__()

        assert "is not empty" in refusal(lambda: restore(str(path), Slow(self.LINES)))
        assert (path / "snapshot-1").read_bytes() == b"precious"
        assert names_in(path) == {"snapshot-1"}

    def test_a_server_that_has_just_begun_there_keeps_it(self, tmp_path: Path) -> None:
        lock = DirectoryLock(str(tmp_path))
        try:
            line = refusal(lambda: restore(str(tmp_path), io.BytesIO(self.LINES)))
        finally:
            lock.close()
        assert f"in use by the server with process id {os.getpid()}; " in line
        assert names_in(tmp_path) == set()

    def test_a_place_that_is_no_directory(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        line = refusal(lambda: restore(str(tmp_path / "file"), io.BytesIO(self.LINES)))
        assert line == f"cannot look into {tmp_path}/file: Not a directory; name a directory"

    def test_a_disk_without_space_is_one_line(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "new"

        def write(*_: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", write)
            line = refusal(lambda: restore(str(path), io.BytesIO(self.LINES)))
        assert re.fullmatch(
            rf"cannot write {path}/snapshot-1\.unfinished-\d+: No space left on device; delete {path}, and restore "
            "elsewhere",
            line,
        )
        assert names_in(path) == set()

    @given(history=st.lists(strategies.batches, max_size=6))
    @settings(max_examples=30)
    def test_what_was_dumped_is_restored(self, tmp_path_factory: pytest.TempPathFactory, history: list[str]) -> None:
        graph = DependencyGraph()
        graph.index("at-least-one")
        for text in history:
            graph.apply_lines(text, Changes())
        base = tmp_path_factory.mktemp("dump")
        (base / "old").mkdir()
        begin(DataDirectory(str(base / "old")), graph)
        lines = dumped(base / "old")
        restore(str(base / "new"), io.BytesIO(lines))
        assert found(base / "new") == graph
        assert dumped(base / "new") == lines


class TestTheCommand:
    def test_the_three_of_them(self) -> None:
        assert set(COMMAND_NAMES) == {"check", "dump", "restore"}

    @pytest.mark.parametrize("name", sorted(COMMAND_NAMES))
    def test_each_explains_itself(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: scoop-server {name} [-h] DIR\n")

    @pytest.mark.parametrize("name", sorted(COMMAND_NAMES))
    @pytest.mark.parametrize("arguments", [[], ["one", "two"], ["--force", "one"]])
    def test_each_takes_a_directory_and_nothing_else(
        self, name: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as ended:
            main([name, *arguments])
        assert ended.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"scoop-server {name}: ")
        assert line.endswith(f"(see scoop-server {name} --help)")

    @pytest.mark.parametrize("name", ["check", "dump"])
    def test_a_directory_that_is_not_there(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / "missing"
        assert refusal(lambda: main([name, str(path)])) == f"there is no directory {path}; name a data directory"
        assert not path.exists()

    def test_check_prints_and_its_status_tells(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["check", str(path)]) == 0
        assert "a server would start with 3 packages" in capsys.readouterr().out
        (path / "journal-2").write_bytes(NEXT_JOURNAL.data[:-1])
        assert main(["check", str(path)]) == 3
        (path / "journal-1").write_bytes(b"")
        assert main(["check", str(path)]) == 1

    def test_dump_prints(self, path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
        assert main(["dump", str(path)]) == 0
        assert capfdbinary.readouterr().out == b"INDEX|a|\nINDEX|gmp|\nINDEX|isl|gmp\n"

    def test_restore_reads(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TestRestore.LINES)))
        assert main(["restore", str(tmp_path / "new")]) == 0
        assert dumped(tmp_path / "new") == TestRestore.LINES

    @pytest.mark.parametrize("name", ["check", "dump"])
    def test_whoever_reads_may_have_heard_enough(self, path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        with open(writer, "w", encoding="ascii") as output:
            monkeypatch.setattr(sys, "stdout", output)
            assert main([name, str(path)]) == 1  # and nothing is left that could fail when the output is closed

    @pytest.mark.parametrize("name", ["check", "dump"])
    def test_output_that_cannot_be_written_is_one_line(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        with open("/dev/full", "w", encoding="ascii") as output:
            monkeypatch.setattr(sys, "stdout", output)
            assert refusal(lambda: main([name, str(path)])) == (
                f"cannot {name} {path}: No space left on device; see to what standard input and output are"
            )

    @pytest.mark.parametrize(
        ("name", "closed", "line"),
        [
            ("check", ">&-", "cannot check DIR: standard output is closed; see to what standard input and output are"),
            ("dump", ">&-", "cannot dump DIR: standard output is closed; see to what standard input and output are"),
            (
                "restore",
                "<&-",
                "cannot restore DIR: standard input is closed; see to what standard input and output are",
            ),
        ],
    )
    def test_a_closed_standard_stream_is_one_line(self, path: Path, name: str, closed: str, line: str) -> None:
        place = path.parent / "new" if name == "restore" else path
        ended = run_to_end(name, str(place), command=with_closed(closed))
        assert (ended.returncode, ended.stderr) == (1, f"scoop-server: {line.replace('DIR', str(place))}\n")

    def test_restore_needs_no_standard_output(self, tmp_path: Path) -> None:
        (tmp_path / "lines").write_bytes(TestRestore.LINES)
        closed = f">&- < '{tmp_path}/lines'"
        ended = run_to_end("restore", str(tmp_path / "new"), command=with_closed(closed))
        assert (ended.returncode, ended.stderr) == (0, f"restored 2 packages into {tmp_path}/new\n")


def with_closed(redirection: str) -> tuple[str, ...]:
    """Return the command, started by a shell with a redirection."""
    return ("/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *MODULE_COMMAND)
