"""A reload succeeds if both the settings and the certificates can be used; the metrics report its outcome."""

import re
import signal
import time
from pathlib import Path

from cryptography import x509

from tests.support.admin import get, place_of
from tests.support.certificates import CertificateFiles
from tests.support.process import WAIT_SECONDS, ServerProcess


def metric(server: ServerProcess, name: str) -> float | None:
    """Return the value of a metric; None if it is not exposed."""
    found = re.search(rf"^{name} (\S+)$", get(place_of(server), "/metrics")[1], re.MULTILINE)
    return found and float(found[1])


def wait_for_metric(server: ServerProcess, name: str, value: float) -> None:
    """Return once a metric has a value. The endpoint keeps its last response for a moment."""
    deadline = time.monotonic() + WAIT_SECONDS
    while metric(server, name) != value:
        assert time.monotonic() < deadline, f"{name} is not {value}"


def reload(server: ServerProcess, last_line: str) -> None:
    """Send SIGHUP, and wait until the reload has logged its last line."""
    after = len(server.log_lines)
    server.send_signal(signal.SIGHUP)
    server.wait_for_log(last_line, after=after)


def test_the_metrics_report_the_outcome_of_the_last_reload_and_the_expiry(tmp_path: Path) -> None:
    files = CertificateFiles.make(tmp_path / "certificates")
    expiry = x509.load_pem_x509_certificate(files.server_cert.read_bytes()).not_valid_after_utc.timestamp()
    good, settings = files.server_cert.read_text(), tmp_path / "scoop.toml"
    settings.write_text("log_level = 'info'\n")
    listen = ("--listen", "tcp:127.0.0.1:0", "--listen", "tls:127.0.0.1:0", "--admin", "127.0.0.1:0")
    with ServerProcess("--memory", "--config", str(settings), *listen, *files.server_arguments) as server:
        assert metric(server, "scoop_last_reload_success") is None
        assert metric(server, "scoop_certificate_expiry_timestamp_seconds") == expiry
        reload(server, "INFO reloaded the certificate")
        wait_for_metric(server, "scoop_last_reload_success", 1)
        files.server_cert.write_text("half a certificate")
        reload(server, "ERROR cannot use the certificate .*; the previous certificates stay in use")
        wait_for_metric(server, "scoop_last_reload_success", 0)
        assert metric(server, "scoop_certificate_expiry_timestamp_seconds") == expiry
        files.server_cert.write_text(good)
        settings.write_text("log_level = 'loud'\n")
        reload(server, "INFO reloaded the certificate")
        wait_for_metric(server, "scoop_last_reload_success", 0)
        settings.write_text("log_level = 'info'\n")
        reload(server, "INFO reloaded the certificate")
        wait_for_metric(server, "scoop_last_reload_success", 1)


def test_a_reload_applies_the_log_level_of_the_file_and_an_invalid_file_changes_nothing(tmp_path: Path) -> None:
    config = tmp_path / "scoop.toml"
    config.write_text("log_level = 'info'\n")
    with ServerProcess("--memory", "--config", str(config)) as server, server.connect() as client:
        config.write_text("log_level = 'debug'\nmax_line = 1000\nmax_clients = 1\n")
        server.send_signal(signal.SIGHUP)
        server.wait_for_log("INFO the log level is debug")
        with server.connect() as another:
            server.wait_for_log(f"DEBUG {another.name} connected")
            assert another.ask("QUERY|a|") == ["FAIL"], "all else is as it was"
        server.wait_for_log("WARNING changed settings take effect at the next restart: max_clients, max_line")
        config.write_text("log_level = 'loud'\n")
        server.send_signal(signal.SIGHUP)
        place = re.escape(f"{config} line 1: log_level: expected one of debug, info, warning, error, got 'loud'")
        server.wait_for_log(f"ERROR cannot reload the settings: {place}; the previous settings stay in use")
        with server.connect() as another:
            server.wait_for_log(f"DEBUG {another.name} connected")
        config.write_text("log_level = 'error'\n")
        server.send_signal(signal.SIGHUP)
        # The signal is handled by the turn of the second answer at the latest; it has no log line at this level.
        assert client.ask_one_by_one("QUERY|a|", "QUERY|a|", "WHAT") == ["FAIL", "FAIL", "ERROR"]
        assert server.stop() == 0
    assert not any("ERROR to" in line or "shutting down" in line for line in server.log_lines)
