"""Servers with --etcd, and a real etcd."""

import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from scoop_server.net.x509 import expiries

from tests.support.certificates import CertificateFiles
from tests.support.etcd_cluster import EtcdCluster, needs_etcd
from tests.support.process import MODULE_COMMAND, ServerProcess, free_port, run_to_end, server_environment

pytestmark = pytest.mark.any_python

WITHOUT_GRPC = "import sys; sys.modules['grpc'] = None; from scoop_server.cli.main import main; sys.exit(main())"


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    return f"/{request.node.name}/"


def admin_answer(server: ServerProcess, path: str) -> tuple[int, str]:
    address = server.wait_for_log(r"serving the admin endpoint at (\S+)")[1]
    try:
        with urllib.request.urlopen(f"{address}{path}") as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@needs_etcd
def test_nodes_share_one_index_and_keep_nothing_themselves(etcd: EtcdCluster, prefix: str, tmp_path: Path) -> None:
    flags = ("--etcd", etcd.urls, "--etcd-prefix", prefix)
    with (
        ServerProcess(*flags, working_directory=tmp_path) as one,
        ServerProcess(*flags) as other,
        one.connect() as client,
        other.connect() as elsewhere,
    ):
        assert client.ask("INDEX|gmp|", "INDEX|isl|gmp", "QUERY|isl|", "REMOVE|gmp|") == ["OK", "OK", "OK", "FAIL"]
        assert elsewhere.ask("QUERY|isl|", "REMOVE|isl|", "bad") == ["OK", "OK", "ERROR"]
        assert client.ask("QUERY|isl|") == ["FAIL"]
    assert not list(tmp_path.iterdir())
    with ServerProcess(*flags) as later:
        assert later.package_count == 1


@needs_etcd
def test_the_metrics_show_the_position_in_the_log(etcd: EtcdCluster, prefix: str) -> None:
    flags = ("--etcd", etcd.urls, "--etcd-prefix", prefix, "--admin", "127.0.0.1:0")
    with ServerProcess(*flags) as server, server.connect() as client:
        client.ask("INDEX|gmp|", "INDEX|isl|gmp", "QUERY|isl|")
        assert admin_answer(server, "/readyz") == (200, "ready\n")
        figures = dict(line.rsplit(" ", 1) for line in admin_answer(server, "/metrics")[1].splitlines())
    assert figures["scoop_applied_revision"] == figures["scoop_committed_revision"]
    assert (figures["scoop_packages"], figures["scoop_dependency_edges"]) == ("2.0", "1.0")
    assert (figures["scoop_append_duration_seconds_count"], figures["scoop_replication_pending"]) == ("1.0", "0.0")


@needs_etcd
def test_the_metrics_show_the_expiry_of_the_certificate_for_etcd(tmp_path: Path) -> None:
    files = CertificateFiles.make(tmp_path / "files")
    certificate = str(files.client_cert)
    with EtcdCluster(tmp_path, tls=files) as etcd:
        tls = ("--etcd-ca", str(files.authority), "--etcd-cert", certificate, "--etcd-key", certificate)
        with ServerProcess("--etcd", etcd.urls, *tls, "--admin", "127.0.0.1:0") as server:
            figures = dict(line.rsplit(" ", 1) for line in admin_answer(server, "/metrics")[1].splitlines())
    expiry = float(figures["scoop_certificate_expiry_timestamp_seconds"])
    assert expiry == min(expiries(files.client_cert.read_text()))


@needs_etcd
def test_without_etcd_changes_time_out_and_local_reads_continue(tmp_path: Path) -> None:
    with EtcdCluster(tmp_path) as etcd:
        flags = ("--etcd", etcd.urls, "--admin", "127.0.0.1:0", "--reads", "local", "--commit-timeout", "5s")
        with ServerProcess(*flags) as server, server.connect() as client, server.connect() as reader:
            client.ask("INDEX|gmp|")
            etcd.members[0].kill()
            client.send(b"INDEX|isl|gmp\n")
            client.wait_until_closed()
            assert reader.ask("QUERY|gmp|") == ["OK"]
            server.wait_for_log("not ready: etcd ")
            status, reason = admin_answer(server, "/readyz")
            assert (status, reason.startswith("etcd ")) == (503, True)
            etcd.start(*etcd.members)
            server.wait_for_log("ready again")
            with server.connect() as again:
                assert again.ask("INDEX|mpc|gmp") == ["OK"]


@needs_etcd
def test_a_node_is_ready_again_when_the_quorum_returns(tmp_path: Path) -> None:
    with EtcdCluster(tmp_path, 3) as etcd:
        flags = ("--etcd", etcd.urls, "--admin", "127.0.0.1:0", "--commit-timeout", "60s")
        with ServerProcess(*flags) as server, server.connect() as client:
            assert client.ask("INDEX|gmp|") == ["OK"]
            for member in etcd.members[:2]:
                member.kill()
            client.send(b"INDEX|isl|gmp\nQUERY|gmp|\n")  # which waits for the quorum
            server.wait_for_log("not ready: etcd ")  # the rest of the reason may change
            status, reason = admin_answer(server, "/readyz")
            assert (status, reason.startswith("etcd ")) == (503, True)
            etcd.start(*etcd.members[:2])
            assert client.read_answers(2) == ["OK", "OK"]
            server.wait_for_log("ready again")
            assert admin_answer(server, "/readyz") == (200, "ready\n")


@needs_etcd
def test_a_node_whose_lease_was_revoked_takes_a_new_one(etcd: EtcdCluster, prefix: str) -> None:
    flags = ("--etcd", etcd.urls, "--etcd-prefix", prefix)

    def lease_of_the_node() -> str:
        found = re.search(
            r'"Lease" : ([1-9][0-9]*)', etcd.etcdctl("get", "--prefix", f"{prefix}nodes/", "-w", "fields")
        )
        return f"{int(found[1]):x}" if found else ""

    with ServerProcess(*flags) as server, server.connect() as client:
        while not (lease := lease_of_the_node()):
            assert client.ask("INDEX|gmp|") == ["OK"]
        etcd.etcdctl("lease", "revoke", lease)
        while lease_of_the_node() in {"", lease}:
            assert client.ask("REMOVE|gmp|", "INDEX|gmp|", "QUERY|gmp|") == ["OK", "OK", "OK"]
        while f"{prefix}compactor" not in etcd.etcdctl("get", f"{prefix}compactor", "--keys-only"):
            assert client.ask("QUERY|gmp|") == ["OK"]


@needs_etcd
def test_a_reload_changes_the_log_level_of_a_node(etcd: EtcdCluster, prefix: str, tmp_path: Path) -> None:
    config = tmp_path / "scoop.toml"
    config.write_text("log_level = 'info'\n")
    flags = ("--etcd", etcd.urls, "--etcd-prefix", prefix, "--config", str(config))
    with ServerProcess(*flags) as server, server.connect() as client:
        config.write_text("log_level = 'debug'\nreads = 'local'\n")
        server.send_signal(signal.SIGHUP)
        server.wait_for_log("the log level is debug")
        server.wait_for_log("changed settings take effect at the next restart: reads")
        assert client.ask("INDEX|gmp|", "QUERY|gmp|") == ["OK", "OK"]


@needs_etcd
def test_a_node_with_other_rules_is_refused(etcd: EtcdCluster, prefix: str) -> None:
    flags = ("--etcd", etcd.urls, "--etcd-prefix", prefix, "--port", "0")
    with ServerProcess(*flags):
        refused = run_to_end(*flags, "--reject-cycles")
    assert refused.returncode == 1
    assert "--reject-cycles is false there and true here; start all nodes with the same settings" in refused.stderr


@needs_etcd
def test_a_wrong_password_ends_the_start_and_is_not_shown(tmp_path: Path) -> None:
    with EtcdCluster(tmp_path) as etcd:
        for command in ("user add root:right", "role add root", "user grant-role root root", "auth enable"):
            etcd.etcdctl(*command.split())
        flags = ("--etcd", etcd.urls, "--etcd-user", "root")
        wrong = run_to_end(*flags, "--port", "0", variables={"SCOOP_ETCD_PASSWORD": "secret"})
        assert (wrong.returncode, "secret" in wrong.stderr) == (1, False)
        refused = run_to_end("nodes", *flags, variables={"SCOOP_ETCD_PASSWORD": "secret"}).stderr
        assert refused.endswith("; check the user, its role and the prefix\n")
        assert "cannot use etcd: cannot authenticate" in wrong.stderr
        file = tmp_path / "password"
        file.write_text("right\n")
        with ServerProcess(*flags, "--etcd-password-file", str(file), "--log-level", "debug") as server:
            with server.connect() as client:
                assert client.ask("INDEX|gmp|") == ["OK"]
            assert not any("right" in line for line in server.log_lines)


@needs_etcd
def test_a_node_waits_for_etcd_and_can_be_stopped_meanwhile(tmp_path: Path) -> None:
    with EtcdCluster(tmp_path) as etcd:
        etcd.members[0].kill()
        command = [*MODULE_COMMAND, "--etcd", etcd.urls, "--port", "0"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=server_environment()) as server:
            assert server.stderr is not None
            assert "cannot join yet: " in server.stderr.readline()
            server.terminate()
            assert "a signal stopped the server while it loaded the index" in server.stderr.read()


def test_without_grpc_one_line_says_what_to_install() -> None:
    for flags in (("--port", "0"), ("--check-config",)):
        missing = run_to_end("--etcd", "http://127.0.0.1:1", *flags, command=(sys.executable, "-c", WITHOUT_GRPC))
        assert missing.returncode == 2
        assert missing.stderr.endswith("install it with: pip install 'scoop-server[etcd]'\n")
        assert len(missing.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "variables", "problem"),
    [
        (("--etcd-ca", "missing"), {}, "cannot read missing: No such file or directory; check its name"),
        (("--etcd-user", "u"), {}, "cannot authenticate u at etcd: no password; write it into a file"),
        (("--etcd-user", "u"), {"SCOOP_ETCD_PASSWORD": "secret"}, ""),
    ],
)
def test_check_config_reads_the_files(flags: tuple[str, ...], variables: dict[str, str], problem: str) -> None:
    pytest.importorskip("grpc", reason="the extra scoop-server[etcd] is not installed")
    url = f"https://127.0.0.1:{free_port()}"
    checked = run_to_end("--etcd", url, *flags, "--port", "0", "--check-config", variables=variables)
    assert problem in checked.stderr
    assert (checked.returncode, "secret" in checked.stderr) == (2 if problem else 0, False)


def test_check_config_finds_certificates_that_cannot_be_used(tmp_path: Path) -> None:
    pytest.importorskip("grpc", reason="the extra scoop-server[etcd] is not installed")
    files = CertificateFiles.make(tmp_path / "files")
    text = tmp_path / "text"
    text.write_text("no certificate\n")

    def check(ca: Path, cert: Path, key: Path) -> tuple[int, str]:
        flags = ("--etcd-ca", str(ca), "--etcd-cert", str(cert), "--etcd-key", str(key))
        checked = run_to_end("--etcd", "https://h:1", *flags, "--port", "0", "--check-config")
        return checked.returncode, checked.stderr

    assert check(files.authority, files.server_cert, files.server_key) == (0, "")
    for ca, cert, key in (
        (text, files.server_cert, files.server_key),
        (files.authority, text, files.server_key),
        (files.authority, files.client_cert, files.server_key),
    ):
        status, problem = check(ca, cert, key)
        assert status == 2
        named = str(ca) if ca is text else f"{cert} with the key in {key}"
        assert re.match(rf"scoop-server: cannot use {named} for etcd: .*; name .* PEM", problem), problem
        assert problem.count("\n") == 1
    expired = trustme.CA().issue_cert(
        "h", not_before=datetime(2020, 1, 1, tzinfo=UTC), not_after=datetime(2021, 2, 3, tzinfo=UTC)
    )
    expired.private_key_and_cert_chain_pem.write_to_path(text)
    status, problem = check(files.authority, text, text)
    assert (status, problem) == (2, f"scoop-server: cannot use {text} for etcd: it expired on 2021-02-03; renew it\n")
    text.write_text(files.server_cert.read_text() + text.read_text())  # which etcd may not need
    assert check(files.authority, text, files.server_key) == (0, "")


def test_the_password_is_not_shown() -> None:
    variables = {"SCOOP_ETCD_PASSWORD": "secret", "SCOOP_ETCD_USER": "u", "SCOOP_ETCD": "http://h:1"}
    shown = run_to_end("--show-config", variables=variables)
    assert (shown.returncode, "secret" in shown.stdout + shown.stderr) == (0, False)
    assert 'etcd = "http://h:1"' in shown.stdout
