"""Standard streams that are closed, full, or pipes without a reader: one line, or none, and a status."""

import os
import sys
from pathlib import Path

import pytest

from scoop_core import DependencyGraph

from scoop_server.cli.main import main
from scoop_server.cli.stdio import print_text, standard_input, standard_output

from tests.support.data_directory import create_directory
from tests.support.process import MODULE_COMMAND, run_to_end

WAY_OUT = "check where standard input and output lead"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a data directory."""
    create_directory(tmp_path, DependencyGraph())
    return tmp_path


def redirected(redirection: str) -> tuple[str, ...]:
    """Return the command, started by a shell with a redirection."""
    return ("/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *MODULE_COMMAND)


def test_text_that_is_not_unicode_is_printed_as_its_bytes(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert print_text(os.fsdecode(b"caf\xc3\xa9 \xff\n")) == 0
    assert capfdbinary.readouterr().out == b"caf\xc3\xa9 \xff\n"


def test_a_missing_stream_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(OSError, match="standard output is closed"):
        standard_output()
    with pytest.raises(OSError, match="standard input is closed"):
        standard_input()


@pytest.mark.parametrize(
    ("redirection", "reason"),
    [(">&-", "standard output is closed"), ("> /dev/full", "No space left on device")],
)
@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["--show-config"], ["check"], ["dump"]], ids=lambda each: str(each[0])
)
def test_output_that_cannot_be_written_is_one_line(
    path: Path, arguments: list[str], redirection: str, reason: str
) -> None:
    operand = [] if arguments[0].startswith("--") else [str(path)]
    action = " ".join([*arguments, *operand]) if operand else "print"
    ended = run_to_end(*arguments, *operand, command=redirected(redirection))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"scoop-server: cannot {action}: {reason}; {WAY_OUT}\n"


def test_restore_needs_standard_input_and_no_standard_output(tmp_path: Path) -> None:
    ended = run_to_end("restore", f"{tmp_path}/new", command=redirected("<&-"))
    assert (ended.returncode, ended.stderr) == (
        1,
        f"scoop-server: cannot restore {tmp_path}/new: standard input is closed; {WAY_OUT}\n",
    )
    (tmp_path / "lines").write_text("INDEX|a|\n")
    ended = run_to_end("restore", f"{tmp_path}/new", command=redirected(f">&- < '{tmp_path}/lines'"))
    assert (ended.returncode, ended.stderr) == (0, f"restored 1 package into {tmp_path}/new\n")


@pytest.mark.parametrize("command", ["check", "dump"])
def test_a_pipe_without_a_reader_is_status_1_without_a_line(
    path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="ascii") as output:  # closing it flushes what is left
        monkeypatch.setattr(sys, "stdout", output)
        assert main([command, str(path)]) == 1
    assert capfd.readouterr().err == ""
