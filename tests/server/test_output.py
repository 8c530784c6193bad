import os
import sys

import pytest

from scoop_server.cli.stdio import print_all, standard_input, standard_output

from tests.support.process import MODULE_COMMAND, run_to_end


def test_what_is_printed_is_bytes_where_it_is_no_text(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert print_all(os.fsdecode(b"caf\xc3\xa9 \xff\n")) == 0
    assert capfdbinary.readouterr().out == b"caf\xc3\xa9 \xff\n"


def test_a_stream_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(OSError, match="standard output is closed"):
        standard_output()
    with pytest.raises(OSError, match="standard input is closed"):
        standard_input()


@pytest.mark.parametrize(
    ("redirection", "line"),
    [
        (">&-", "scoop-server: cannot print: standard output is closed; see to what standard output is\n"),
        ("> /dev/full", "scoop-server: cannot print: No space left on device; see to what standard output is\n"),
    ],
)
def test_output_that_cannot_be_written_is_one_line(redirection: str, line: str) -> None:
    shell = ("/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *MODULE_COMMAND)
    ended = run_to_end("--show-config", command=shell)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", line)


def test_whoever_reads_may_have_heard_enough(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="ascii") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert print_all("text\n") == 1
    assert capfd.readouterr().err == ""
