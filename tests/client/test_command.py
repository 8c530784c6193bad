"""One request per package: output, reasons, exit statuses; and the settings."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.certificates import CertificateFiles
from tests.support.command import Scoop
from tests.support.process import WAIT_SECONDS, ServerProcess
from tests.support.scripted_server import ScriptedServer, lines_of

EXPECTED_ADDRESS = "expected HOST:PORT, tcp:HOST:PORT, tls:HOST:PORT or unix:PATH"


class TestRequests:
    def test_each_response_is_printed_and_a_fail_is_explained(self, scoop: Scoop, address: str) -> None:
        steps = [
            (("index", "isl", "gmp", "mpfr"), 1, "isl FAIL: gmp, mpfr are not indexed\n"),
            (("index", "gmp"), 0, "gmp OK\n"),
            (("index", "isl", "gmp"), 0, "isl OK\n"),
            (("query", "gmp", "nothing", "isl"), 1, "gmp OK\nnothing FAIL\nisl OK\n"),
            (("remove", "gmp"), 1, "gmp FAIL: other packages depend on it; scoop impact --direct names them\n"),
            (("remove", "isl", "gmp"), 0, "isl OK\ngmp OK\n"),
        ]
        for arguments, status, out in steps:
            assert scoop("--server", address, *arguments) == (status, out, "")

    def test_json(self, scoop: Scoop, address: str) -> None:
        result = scoop("--server", address, "--json", "index", "isl", "gmp")
        assert result.json() == [
            {
                "command": "INDEX",
                "package": "isl",
                "dependencies": ["gmp"],
                "response": "FAIL",
                "reason": "gmp is not indexed",
                "missing": ["gmp"],
            }
        ]
        assert scoop("query", "a", "--json", "--server", address).json() == [
            {"command": "QUERY", "package": "a", "response": "FAIL"}
        ]

    def test_ping(self, scoop: Scoop, address: str) -> None:
        result = scoop("--server", address, "ping")
        assert result.status == 0
        assert result.out.startswith(f"tcp:{address}: ")
        assert result.out.endswith(" ms\n")

    def test_a_ping_fails_at_once_and_on_error(self, scoop: Scoop) -> None:
        def close(sock: socket.socket, _number: int) -> None:
            sock.close()

        def answer_error(sock: socket.socket, _number: int) -> None:
            for _ in lines_of(sock):
                sock.sendall(b"ERROR\n")

        with ScriptedServer(close) as server:
            assert scoop("--server", server.address, "ping").status == 3
        assert server.connection_count <= 2  # the second asks for TLS
        with ScriptedServer(answer_error) as server:
            result = scoop("--server", server.address, "ping")
        assert result.status == 2
        assert "ERROR: the listener is read-only" in result.out

    def test_a_server_that_answers_error(self, scoop: Scoop) -> None:
        def answer_error(sock: socket.socket, _number: int) -> None:
            for _ in lines_of(sock):
                sock.sendall(b"ERROR\n")

        with ScriptedServer(answer_error) as server:
            result = scoop("--server", server.address, "remove", "a")
        assert result.status == 2
        assert result.out.startswith("a ERROR: the listener is read-only")

    def test_a_cycle_that_the_server_rejects(self, scoop: Scoop) -> None:
        with ServerProcess("--memory", "--reject-cycles") as server:
            address = f"127.0.0.1:{server.port}"
            scoop("--server", address, "index", "a")
            scoop("--server", address, "index", "b", "a")
            result = scoop("--server", address, "index", "a", "b")
        assert result.status == 1
        assert result.out.startswith("a FAIL: every dependency is indexed: the server rejects cycles")


class TestErrors:
    def test_no_connection(self, scoop: Scoop) -> None:
        result = scoop("--server", "unix:/nonexistent", "ping")
        assert result == (3, "", "scoop: cannot connect to unix:/nonexistent: no such file or directory\n")
        assert scoop("--server", "unix:/nonexistent", "--json", "ping").err == (
            '{"error": "cannot connect to unix:/nonexistent: no such file or directory", "status": 3}\n'
        )

    def test_a_certificate_without_its_key(self, scoop: Scoop, tmp_path: Path) -> None:
        files = CertificateFiles.make(tmp_path / "certificates")
        result = scoop("--cert", str(files.authority), "ping")
        assert (result.status, result.out) == (2, "")
        assert result.err == (
            f"scoop: cannot read the certificates {files.authority}: pem lib; expected PEM files, and the key of "
            "--cert in it or in --key\n"
        )

    def test_a_name_that_looks_like_an_option(self, scoop: Scoop, address: str) -> None:
        assert scoop("--server", address, "query", "--", "--json") == (1, "--json FAIL\n", "")

    def test_an_invalid_name(self, scoop: Scoop, address: str) -> None:
        result = scoop("--server", address, "index", "a b")
        assert result == (2, "", "scoop: cannot use the name: invalid space at column 2 of the name: 'a b'\n")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                ["--server", "x", "ping"],
                f"--server: {EXPECTED_ADDRESS}, got 'x', and no server of HOME/.config/scoop/client.toml has that name",
            ),
            (["--server", ",", "ping"], "--server: expected at least one address, got ','"),
            (["--server", "h:0", "ping"], "--server: expected a port from 1 to 65535, got 'h:0'"),
            (["import", "python", "--into", "h"], f"--into: {EXPECTED_ADDRESS}, got 'h'"),
            (
                ["--connect-timeout", "25h", "ping"],
                "--connect-timeout: expected a time of at most 86400 s, got '25h'",
            ),
            (
                ["--response-timeout", "1w", "ping"],
                "--response-timeout: expected a time above 0, such as 10, 500ms, 10s or 5m, got '1w'",
            ),
            (["--ca", "/nonexistent", "ping"], "cannot read the certificates /nonexistent: no such file or directory"),
            (["--config", "/nonexistent", "ping"], "cannot read the settings /nonexistent: no such file or directory"),
            ([], "the following arguments are required: COMMAND (see scoop --help)"),
            (["index"], "the following arguments are required: NAME (see scoop index --help)"),
            (["indx", "a"], "unknown command 'indx'; did you mean index? (see scoop --help)"),
            (["frobnicate"], "unknown command 'frobnicate' (see scoop --help)"),
            (["import", "debain"], "unknown ecosystem 'debain'; did you mean debian? (see scoop import --help)"),
            (["--sever", "x", "ping"], "unknown option --sever; did you mean --server? (see scoop --help)"),
            (["load", "--dry"], "unknown option --dry; did you mean --dry-run? (see scoop --help)"),
            (["-x", "ping"], "unknown option -x (see scoop --help)"),
            (["--server"], "argument --server: expected one argument (see scoop --help)"),
            (["--from", "/nonexistent", "stats"], "cannot read /nonexistent: no such file or directory"),
            (["stats", "--from", "/nonexistent"], "cannot read /nonexistent: no such file or directory"),
            (["--server", "", "ping"], "--server: expected a value, got ''"),
            (["stats", "--from", ""], "--from: expected a value, got ''"),
            (["--from", "x", "query", "gmp"], "--from is not used (see scoop query --help)"),
            (["query", "gmp", "--from", "x"], "--from is not used (see scoop query --help)"),
            (["stats", "--ca", "x"], "--ca is not used (see scoop stats --help)"),
            (["--connect-timeout", "1s", "diff", "a", "b"], "--connect-timeout is not used (see scoop diff --help)"),
            (["--server", "h:1", "import", "npm"], "--server is not used (see scoop import npm --help)"),
            (["--ca", "x", "import", "npm"], "--ca is not used (see scoop import npm --help)"),
            (["ping", "now"], "unexpected argument 'now' (see scoop ping --help)"),
            (
                ["--server", "h:1", "stats"],
                "--server: HOME/.config/scoop/client.toml has no data directory of 'h:1'; use --from",
            ),
            (["diff", "-", "-"], "diff: standard input can be read only once"),
        ],
    )
    def test_usage(self, scoop: Scoop, arguments: list[str], message: str) -> None:
        result = scoop(*arguments)
        assert result == (2, "", f"scoop: {message}\n".replace("HOME", os.environ["HOME"]))
        assert scoop(*arguments, "--json").err.startswith('{"error": ')

    def test_a_closed_pipe_is_no_error(self, tmp_path: Path) -> None:
        (tmp_path / "list").write_text("".join(f"package-{number}\n" for number in range(100_000)))
        command = f"{sys.executable} -m scoop_client.cli.main order --from {tmp_path}/list | head -1"
        finished = subprocess.run(
            command, shell=True, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
        )
        assert (finished.stdout, finished.stderr) == ("package-0\n", "")

    @pytest.mark.parametrize(
        ("command", "status", "out", "err"),
        [
            ("order --from LIST >&-", 2, "", "scoop: cannot write standard output: bad file descriptor\n"),
            ("--help >/dev/full", 2, "", "scoop: cannot write standard output: no space left on device\n"),
            ("load --help >/dev/full", 2, "", "scoop: cannot write standard output: no space left on device\n"),
            ("--version >/dev/full", 2, "", "scoop: cannot write standard output: no space left on device\n"),
            ("--help >&-", 2, "", "scoop: cannot write standard output: bad file descriptor\n"),
            ("order --from LIST >/dev/full", 2, "", "scoop: cannot write standard output: no space left on device\n"),
            ("load --dry-run LIST 2>&-", 0, "INDEX|gmp|\n", ""),
            ("order --from LIST 2>/dev/full", 0, "gmp\n", ""),
            ("order --from LIST/none 2>&-", 2, "", ""),
            ("order --from LIST/none 2>/dev/full", 2, "", ""),
            ("--server unix:/nonexistent query gmp <&- >&- 2>&-", 3, "", ""),
            ("order --from - <&-", 2, "", "scoop: cannot read standard input: bad file descriptor\n"),
            ("load --dry-run - <&-", 2, "", "scoop: cannot read standard input: bad file descriptor\n"),
            ("--server unix:/nonexistent shell <&-", 2, "", "scoop: cannot read standard input: bad file descriptor\n"),
        ],
    )
    def test_a_stream_that_is_closed_or_full_is_one_line(
        self, tmp_path: Path, command: str, status: int, out: str, err: str
    ) -> None:
        (tmp_path / "list").write_text("gmp\n")
        program = f"{sys.executable} -m scoop_client.cli.main "
        finished = subprocess.run(
            program + command.replace("LIST", f"{tmp_path}/list"),
            shell=True,
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=False,
        )
        assert (finished.stdout, finished.stderr, finished.returncode) == (out, err, status)

    def test_a_file_of_failures_that_cannot_be_written(self, scoop: Scoop, address: str, tmp_path: Path) -> None:
        place = tmp_path / "none" / "failures"
        result = scoop("--server", address, "load", "--failures", str(place), stdin=b"INDEX|isl|gmp\n")
        assert (result.status, result.err) == (2, f"scoop: cannot write {place}: no such file or directory\n")


class TestSettings:
    @pytest.fixture
    def file(self, tmp_path: Path, address: str) -> Path:
        path = tmp_path / "home" / ".config" / "scoop" / "client.toml"
        path.parent.mkdir(parents=True)
        path.write_text(
            f'server = "main"\n[servers.main]\naddresses = ["unix:/nonexistent", "{address}"]\nconnect_timeout = 2\n'
            '[servers.other]\naddresses = "unix:/other"\n'
        )
        return path

    def test_the_default_server_of_the_file(self, scoop: Scoop, address: str, file: Path) -> None:
        assert scoop("ping").out.startswith(f"tcp:{address}")
        assert scoop("ping", "--config", str(file)).status == 0

    def test_a_flag_overrides_a_variable_and_it_the_file(
        self, scoop: Scoop, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert file.is_file()
        monkeypatch.setenv("SCOOP_SERVER", "unix:/variable")
        assert "unix:/variable" in scoop("ping").err
        assert "unix:/flag" in scoop("--server", "unix:/flag", "ping").err
        assert "unix:/other" in scoop("ping", "--server", "other").err

    def test_a_server_of_the_file_names_the_data_that_answers_questions(self, scoop: Scoop, file: Path) -> None:
        (file.parent / "list").write_text("gmp\n")
        file.write_text(f'[servers.main]\naddresses = "unix:/other"\ndata = "{file.parent}/list"\n')
        assert scoop("--server", "main", "order").out == "gmp\n"

    @pytest.mark.parametrize(
        "content", ["[servers.main]\n", "[servers.main]\naddresses = 'h:1'\nport = 1\n", "x = 1", "="]
    )
    def test_an_invalid_file(self, scoop: Scoop, tmp_path: Path, content: str) -> None:
        (tmp_path / "file").write_text(content)
        result = scoop("--config", str(tmp_path / "file"), "--server", "main", "ping")
        assert result.status == 2
        assert f"cannot read the settings {tmp_path}/file: " in result.err

    def test_tls(self, scoop: Scoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        files = CertificateFiles.make(tmp_path / "certificates")
        with ServerProcess("--memory", "--listen", "tls:127.0.0.1:0", *files.mutual_arguments) as server:
            address = f"tls:127.0.0.1:{server.port}"
            trusted = ("--server", address, "--ca", str(files.authority))
            assert scoop("ping", *trusted, "--cert", str(files.client_cert)).status == 0
            assert scoop("ping", *trusted).status == 3
            monkeypatch.setenv("SCOOP_CLIENT_CERT", str(files.client_cert))
            assert scoop("ping", *trusted).status == 0


def test_the_command_runs_without_the_extras(tmp_path: Path) -> None:
    # Modules that cannot be imported stand for extras that are not installed.
    for name in ("rich", "prompt_toolkit", "lz4", "zstandard", "packaging"):
        (tmp_path / f"{name}.py").write_text("raise ImportError\n")
    (tmp_path / "list").write_text("isl: gmp\n")
    (tmp_path / "list.lz4").write_bytes(b"\x04\x22\x4d\x18")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "scoop_client.cli.main", *arguments]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
        )

    assert run("needs", "isl", "--from", f"{tmp_path}/list").stdout == "gmp\n"
    compressed = run("import", "debian", f"{tmp_path}/list.lz4")
    assert compressed.stderr == (
        f"scoop: cannot read {tmp_path}/list.lz4: lz4 needs an extra: pip install 'scoop-client[debian]'\n"
    )
    assert run("import", "python").stderr.endswith("markers need an extra: pip install 'scoop-client[python]'\n")
