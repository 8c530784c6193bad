"""``--check-config``: every problem of a start in one line each, and the status of a start."""

import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from scoop_server.cli.main import main

from tests.support.certificates import CertificateFiles
from tests.support.process import ServerProcess, run_to_end


@pytest.fixture
def check(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[str]]]:
    """Give a function that checks settings, and returns the status and the lines."""
    for variable in [name for name in os.environ if name.startswith("SCOOP_")]:
        monkeypatch.delenv(variable)

    def run(*arguments: str) -> tuple[int, list[str]]:
        status = main([*arguments, "--check-config"])
        out, lines = capfd.readouterr()
        assert out == "the settings are valid\n" * (status == 0)
        return status, [line.removeprefix("scoop-server: ") for line in lines.splitlines()]

    return run


Check = Callable[..., tuple[int, list[str]]]


def test_mistakes_in_the_files_of_access_are_found(check: Check, tmp_path: Path) -> None:
    certificates = CertificateFiles.make(tmp_path / "tls")
    (tmp_path / "access.toml").write_text("[[role]]\nname = 5\n")
    (tmp_path / "crl.pem").write_text("no list")
    arguments = (*certificates.mutual_arguments, "--listen", "tls:127.0.0.1:0", "--tls-crl", str(tmp_path / "crl.pem"))
    status, lines = check("--memory", *arguments, "--access", str(tmp_path / "access.toml"))
    assert status == 1
    assert len(lines) == 2
    assert lines[0].startswith(f"cannot use the revocation list {tmp_path}/crl.pem: ")
    assert lines[1].startswith(f"cannot use {tmp_path}/access.toml line 1: role 1: expected a name of letters")


def test_valid_settings_have_no_line_and_nothing_is_created(check: Check, tmp_path: Path) -> None:
    certificates = CertificateFiles.make(tmp_path / "tls")
    arguments = ("--data-dir", f"{tmp_path}/data", "--listen", "tls:127.0.0.1:0", "--listen", f"unix:{tmp_path}/s")
    assert check(*arguments, *certificates.mutual_arguments, "--admin", f"unix:{tmp_path}/a") == (0, [])
    assert [path.name for path in tmp_path.iterdir()] == ["tls"]


def test_a_running_server_with_the_same_settings_is_no_problem(tmp_path: Path) -> None:
    arguments = ("--data-dir", f"{tmp_path}/data", "--listen", f"unix:{tmp_path}/s", "--admin", f"unix:{tmp_path}/a")
    with ServerProcess(*arguments, "--listen", "tcp:127.0.0.1:0") as server:
        port = server.addresses[1]
        ended = run_to_end(*arguments, "--listen", f"tcp:{port}", "--check-config")
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "the settings are valid\n", "")
        with server.connect(1) as client:
            assert client.ask("INDEX|a|") == ["OK"]


def test_all_invalid_settings_are_reported_with_status_2(check: Check) -> None:
    assert check("--port", "x", "--max-line", "0") == (
        2,
        [
            "--port: expected an integer from 0 to 65535, got 'x'",
            "--max-line: expected a size from 1 to 1g, such as 65536 or 64k, got '0'",
        ],
    )


def test_all_problems_of_the_system_are_reported_with_status_1(check: Check, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    status, lines = check(
        *("--data-dir", f"{tmp_path}/missing/data"),
        *("--listen", "tcp:192.0.2.1:0", "--listen", f"unix:{tmp_path}/file", "--listen", f"unix:{tmp_path}/x/s"),
        *("--admin", "two..dots:1"),
    )
    assert status == 1
    assert [line.partition(": ")[0] for line in lines] == [
        f"cannot create the data directory {tmp_path}/missing/data",
        "cannot listen on 192.0.2.1:0",
        f"cannot listen on unix:{tmp_path}/file",
        f"cannot listen on unix:{tmp_path}/x/s",
        "cannot listen on two..dots:1",
    ]
    assert lines[-1].endswith("; name another address with --admin")


def test_a_data_directory_that_is_a_file_is_a_problem(check: Check, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    status, [line] = check("--data-dir", f"{tmp_path}/file")
    assert status == 1
    assert line.startswith(f"cannot use the data directory {tmp_path}/file: Not a directory; ")


def test_a_certificate_that_cannot_be_used_is_one_line(check: Check, tmp_path: Path) -> None:
    certificates = CertificateFiles.make(tmp_path / "tls")
    cert, other_key = str(certificates.server_cert), str(certificates.client_cert)
    status, lines = check("--memory", "--listen", "tls:127.0.0.1:0", "--tls-cert", cert, "--tls-key", other_key)
    assert (status, len(lines)) == (1, 1)
    assert lines[0].startswith(f"cannot use the certificate {cert} with the key in {other_key}: ")


def test_a_certificate_for_the_socket_of_a_service_manager_is_a_warning_outside_of_a_reload(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = CertificateFiles.make(tmp_path / "tls")
    status, [line] = check("--memory", "--port", "0", *certificates.server_arguments)
    assert status == 0
    assert line.startswith("warning: tls_cert (flag --tls-cert) is set, but no address has TLS; ")
    monkeypatch.setenv("MAINPID", "1")
    assert check("--memory", "--port", "0", *certificates.server_arguments) == (0, [])


@pytest.mark.parametrize(("days", "verb"), [(-1, "expired"), (13, "expires")])
def test_a_certificate_that_has_expired_or_will_soon_is_a_warning(
    check: Check, tmp_path: Path, days: int, verb: str
) -> None:
    moment = datetime.now(UTC) + timedelta(days=days)
    issued = trustme.CA().issue_cert("localhost", not_after=moment, not_before=moment - timedelta(days=90))
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    status, [line] = check("--memory", "--listen", "tls:127.0.0.1:0", "--tls-cert", f"{tmp_path}/server.pem")
    assert status == 0
    assert line == (
        f"warning: the certificate {tmp_path}/server.pem {verb} at {moment:%Y-%m-%d %H:%M:%S} UTC; "
        "renew it, and reload the server"
    )


def test_a_policy_on_certificates_needs_an_authority(check: Check, tmp_path: Path) -> None:
    certificates = CertificateFiles.make(tmp_path / "tls")
    status, [line] = check("--memory", "--listen", "tls:127.0.0.1:0?subject=builder", *certificates.server_arguments)
    assert status == 1
    assert "--tls-client-ca" in line


def test_an_address_that_another_process_uses_is_no_problem(check: Check) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert check("--memory", "--port", str(other.getsockname()[1])) == (0, [])
