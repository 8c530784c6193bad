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
    """Return once a metric has a value. The endpoint keeps its last answer for a moment."""
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
