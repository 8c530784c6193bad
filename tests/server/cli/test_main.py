"""The command as a process: how it starts, and the exit status and line of each failure."""

import errno
import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from scoop_server.app.application import Application
from scoop_server.cli.main import main
from scoop_server.errors import ConfigurationError, DataDirectoryError, JournalError, ListenError, ServerError

from tests.support.data_directory import NEXT_JOURNAL, make_data_directory
from tests.support.process import MODULE_COMMAND, ServerProcess, run_to_end, server_environment

CONSOLE_SCRIPT: Final = (str(Path(sys.executable).with_name("scoop-server")),)


def test_the_script_serves() -> None:
    with ServerProcess("--memory", command=CONSOLE_SCRIPT) as server, server.connect() as client:
        assert client.ask("INDEX|a|", "QUERY|a|") == ["OK", "OK"]


def test_ctrl_c_during_the_imports_is_no_traceback() -> None:
    program = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # it may have inherited that it is ignored
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'scoop_server.cli.main':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from scoop_server.__main__ import main\n"
        "main()\n"
    )
    ended = run_to_end(command=(sys.executable, "-c", program))
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")


def test_variables_set_options_that_flags_do_not(tmp_path: Path) -> None:
    variables = {"SCOOP_MAX_LINE": "12", "SCOOP_DATA_DIR": str(tmp_path / "data"), "SCOOP_PORT": "1"}
    with ServerProcess(variables=variables) as server, server.connect() as client:
        assert server.port != 1  # because of the flag --port 0
        assert client.ask("QUERY|abcde|", "QUERY|abcdef|") == ["FAIL", "ERROR"]
    assert (tmp_path / "data" / "lock").exists()


@pytest.mark.parametrize(
    ("arguments", "variables", "line"),
    [
        (["--port", "http"], {}, "--port: expected an integer from 0 to 65535, got 'http'"),
        ([], {"SCOOP_PROT": "1"}, "unknown variable SCOOP_PROT; did you mean SCOOP_PORT?"),
        (["--config", "a\nb\x1b\u00fc"], {}, r"cannot read a\nb\x1b\xfc: No such file or directory; check its name"),
        (
            ["--tls-cert", "c"],
            {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
            "tls_cert (flag --tls-cert) is set, but no address has TLS; add one with --listen tls:HOST:PORT",
        ),
        (["--show-config", "--port", "http"], {}, "--port: expected an integer from 0 to 65535, got 'http'"),
    ],
)
def test_invalid_settings_are_one_printable_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    variables: dict[str, str],
    line: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"scoop-server: {line}")
    assert printed.err.count("\n") == 1
    assert printed.err.rstrip("\n").isprintable()


def test_the_journal_shows_invalid_settings_as_an_error(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w+") as stream:
        status = os.fstat(stream.fileno())
        variables = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        for arguments in (["--port", "http"], ["--port", "http", "--check-config"]):
            ended = subprocess.run(
                [*MODULE_COMMAND, *arguments], env=server_environment(variables), stderr=stream, check=False
            )
            assert ended.returncode == 2
        stream.seek(0)
        lines = stream.read().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["<3>scoop-server"] * 2


def test_an_abort_by_a_watchdog_leaves_the_stacks() -> None:
    with ServerProcess("--memory") as server:
        server.send_signal(signal.SIGABRT)
        server.wait_for_log("Fatal Python error: Aborted")
        server.wait_for_log("most recent call first")
        assert server.wait() == -signal.SIGABRT


def test_show_config_prints_a_certificate_that_no_address_uses() -> None:
    ended = run_to_end("--show-config", "--tls-cert", "c")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert '\ntls_cert = "c"  # flag --tls-cert\n' in ended.stdout


@pytest.mark.parametrize(
    ("error", "status"),
    [(ListenError, 1), (DataDirectoryError, 1), (JournalError, 1), (ConfigurationError, 2), (KeyboardInterrupt, 130)],
)
def test_each_error_has_its_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: type[BaseException], status: int
) -> None:
    def fail(*_: object) -> None:
        raise error("cannot serve")

    monkeypatch.setattr(Application, "__init__", fail)
    assert main(["--memory"]) == status
    expected = "scoop-server: cannot serve\n" if issubclass(error, ServerError) else ""
    assert capsys.readouterr().err == expected


def test_a_server_without_a_descriptor_for_its_selector_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("scoop_server.app.application.best_selector", fail)
    assert main(["--memory", "--port", "0"]) == 1
    assert capsys.readouterr().err == (
        "scoop-server: cannot serve: Too many open files; what was acknowledged is stored as --fsync says, so raise "
        "the limits of the process or of the system and start again\n"
    )


def test_out_of_memory_is_one_line_and_loses_nothing(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from scoop_core import DependencyGraph\n"
        "from scoop_server.cli.main import main\n"
        "def apply_lines(self, lines, *arguments, apply=DependencyGraph.apply_lines):\n"
        "    answers = apply(self, lines, *arguments)\n"
        "    if 'large' in lines:\n"
        "        raise MemoryError\n"
        "    return answers\n"
        "DependencyGraph.apply_lines = apply_lines\n"
        "sys.exit(main())\n"
    )
    command = (sys.executable, "-c", program)
    with ServerProcess("--data-dir", str(tmp_path / "data"), command=command) as server, server.connect() as client:
        assert client.ask("INDEX|small|") == ["OK"]
        client.send(b"INDEX|large|\n")
        client.wait_until_closed()
        assert server.wait() == 1
        assert server.log_lines[-1].startswith("scoop-server: out of memory; ")
        assert not any("Traceback" in line for line in server.log_lines)
    with ServerProcess("--data-dir", str(tmp_path / "data")) as server, server.connect() as client:
        assert client.ask("QUERY|small|", "QUERY|large|") == ["OK", "FAIL"]


def test_the_status_of_check_is_that_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_data_directory(tmp_path / "data")
    assert main(["check", str(path)]) == 0
    assert ": 3 packages in snapshot 1" in capsys.readouterr().out
    (path / "journal-2").write_bytes(NEXT_JOURNAL.data[:-1])
    assert main(["check", str(path)]) == 3
    (path / "journal-1").write_bytes(b"")
    assert main(["check", str(path)]) == 1


def test_a_dump_is_restored_through_the_standard_streams(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["dump", str(make_data_directory(tmp_path / "data"))]) == 0
    printed = capfdbinary.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(printed)))
    assert main(["restore", str(tmp_path / "new")]) == 0
    assert main(["dump", str(tmp_path / "new")]) == 0
    assert capfdbinary.readouterr().out == printed
