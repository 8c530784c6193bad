"""Access to a real server: read-only listeners of every kind, limits on certificates, and browsers."""

import json
import os
import pwd
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import trustme

from tests.support.admin import get, place_of
from tests.support.certificates import CertificateFiles, revocation_list
from tests.support.process import WAIT_SECONDS, BlockingClient, ServerProcess

QUESTIONS = ("QUERY|gmp|", "INDEX|isl|", "REMOVE|gmp|", "INDEX|x", "QUERY|isl|", "QUERY|gmp|")
ANSWERS = ["OK", "ERROR", "ERROR", "ERROR", "FAIL", "OK"]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> CertificateFiles:
    return CertificateFiles.make(tmp_path / "certificates", authority)


@pytest.fixture(params=["addresses", "sockets"])
def server(request: pytest.FixtureRequest, tmp_path: Path, files: CertificateFiles) -> Iterator[ServerProcess]:
    """Run a server with four listeners, of which the last three are read-only: its own, or passed as by systemd."""
    path = tmp_path / "scoop.sock"
    arguments = ("--memory", "--admin", "127.0.0.1:0", *files.mutual_arguments)
    with ExitStack() as resources:
        if request.param == "addresses":
            addresses = (
                "tcp:127.0.0.1:0",
                "tcp:[::1]:0?read-only",
                f"unix:{path}?read-only",
                "tls:127.0.0.1:0?read-only&anonymous",
            )
            flags = [word for address in addresses for word in ("--listen", address)]
            yield resources.enter_context(ServerProcess(*arguments, *flags))
            return
        names = ("plain", "scoop.socket?read-only", "plain?read-only", "tls?read-only&anonymous")
        unix = resources.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(str(path))
        unix.listen()
        internet = [resources.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        sockets = list(zip(names, (*internet[:2], unix, internet[2]), strict=True))
        yield resources.enter_context(ServerProcess(*arguments, sockets=sockets))


def test_read_only_listeners_answer_queries_and_reject_changes(server: ServerProcess, files: CertificateFiles) -> None:
    with server.connect() as writer:
        assert writer.ask("INDEX|gmp|", "QUERY|gmp|") == ["OK", "OK"]
    for number, tls in ((1, None), (2, None), (3, files.client_context())):
        with server.connect(number, tls=tls) as reader:
            assert reader.ask(*QUESTIONS) == ANSWERS
            assert reader.ask_one_by_one(*QUESTIONS) == ANSWERS
    server.wait_for_log("INFO answered ERROR to .*: this listener is read-only: .*INDEX")
    assert "\nscoop_rejected_changes_total 18.0\n" in get(place_of(server), "/metrics")[1]


def test_a_listener_accepts_only_the_certificates_that_it_names(files: CertificateFiles, authority: trustme.CA) -> None:
    listen = ("--listen", "tls:127.0.0.1:0?subject=builder&subject=publisher")
    contexts: dict[str, ssl.SSLContext] = {}
    for name in ("builder", "publisher", "visitor"):
        contexts[name] = files.client_context()
        authority.issue_cert(f"{name}@example.org", common_name=name).configure_cert(contexts[name])
    with ServerProcess("--memory", *listen, *files.mutual_arguments, "--log-level", "debug") as server:
        for name in ("builder", "publisher"):
            with server.connect(tls=contexts[name]) as client:
                assert client.ask("INDEX|gmp|") == ["OK"]
            server.wait_for_log(rf"CN={name}\W.* connected")
        with server.connect(tls=contexts["visitor"]) as visitor, pytest.raises((OSError, AssertionError)):
            visitor.ask("QUERY|gmp|")
        server.wait_for_log(r"failed: the subject of the client's certificate \(CN=visitor\) is not accepted here")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_resumed_session_is_checked_like_a_new_one(
    files: CertificateFiles, authority: trustme.CA, version: ssl.TLSVersion
) -> None:
    listen = [word for name in ("builder", "other") for word in ("--listen", f"tls:127.0.0.1:0?subject={name}")]
    context = files.client_context()
    context.maximum_version = version
    authority.issue_cert("builder@example.org", common_name="builder").configure_cert(context)

    def ask(server: ServerProcess, number: int, session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool]:
        """Send a query; return the session, and whether it was resumed."""
        plain = socket.create_connection(server.address_of(number))  # type: ignore[arg-type]  # these are not Unix
        with context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as connection:
            connection.sendall(b"QUERY|gmp|\n")
            assert connection.recv(100) == b"FAIL\n"
            return connection.session, bool(connection.session_reused)

    with ServerProcess("--memory", *listen, *files.mutual_arguments) as server:
        session, _ = ask(server, 0, None)
        _, is_resumed = ask(server, 0, session)
        assert is_resumed
        with pytest.raises((OSError, AssertionError)):
            ask(server, 1, session)
        server.wait_for_log(r"failed: the subject of the client's certificate \(CN=builder\) is not accepted here")


# Roles

ROLES = """\
[[role]]
name = "team-a"
identities = ["CN=builder-a", "user=root"]
commands = ["QUERY", "INDEX", "REMOVE"]
packages = ["a*"]

[[role]]
name = "mirror"
identities = ["anonymous", "CN=builder-b", "user=nobody"]
commands = ["QUERY"]
"""


def reload(server: ServerProcess) -> None:
    """Send SIGHUP, and wait until the reload has ended."""
    logged = len(server.log_lines)
    server.send_signal(signal.SIGHUP)
    server.wait_for_log("(the|previous) roles", after=logged)


def is_closed(client: BlockingClient) -> bool:
    """Return whether the server disconnects the client within a second."""
    client.socket.settimeout(1.0)
    try:
        return client.socket.recv(1) == b""
    except ConnectionResetError:
        return True


def test_certificates_have_roles_until_a_reload_takes_them_away(
    tmp_path: Path, files: CertificateFiles, authority: trustme.CA
) -> None:
    access, crl = tmp_path / "access.toml", tmp_path / "crl.pem"
    access.write_text(ROLES)
    crl.write_text(revocation_list(authority))
    contexts = {name: files.client_context() for name in ("builder-a", "builder-b")}
    issued = {name: authority.issue_cert(f"{name}@example.org", common_name=name) for name in contexts}
    for name, context in contexts.items():
        issued[name].configure_cert(context)
    listen = ("--listen", "tls:127.0.0.1:0", "--listen", "tcp:127.0.0.1:0")
    arguments = ("--memory", *listen, *files.mutual_arguments, "--tls-crl", str(crl), "--access", str(access))
    with ServerProcess(*arguments, "--log-format", "json", "--admin", "127.0.0.1:0") as server:
        a, b = (server.connect(tls=contexts[name]) for name in ("builder-a", "builder-b"))
        with a, b, server.connect(1) as anonymous:
            assert a.ask("INDEX|a|", "INDEX|b|", "QUERY|a|") == ["OK", "ERROR", "OK"]
            assert b.ask("REMOVE|a|", "QUERY|a|") == ["ERROR", "OK"]
            assert anonymous.ask("INDEX|c|", "QUERY|a|") == ["ERROR", "OK"]
            line = json.loads(server.wait_for_log(r".*role team-a does not permit.*")[0])
            assert (line["subject"], line["role"], line["listener"]) == ("CN=builder-a", "team-a", line["listener"])
            assert 'scoop_forbidden_requests_total{role="mirror"} 2.0' in get(place_of(server), "/metrics")[1]

            access.write_text(ROLES.replace("anonymous", "CN=nobody").replace("a*", "b*"))
            reload(server)
            assert is_closed(anonymous)
            assert a.ask("INDEX|b|", "INDEX|a|") == ["OK", "ERROR"]

            access.write_text("[[role]]\nname = 5\n")
            crl.write_text(revocation_list(authority, issued["builder-b"]))
            reload(server)
            server.wait_for_log(
                r"cannot use .*access.toml line 1: role 1: expected a name .*previous roles stay in use"
            )
            assert is_closed(b)
            assert a.ask("QUERY|b|") == ["OK"]
            with server.connect(tls=contexts["builder-b"]) as again, pytest.raises((OSError, AssertionError)):
                again.ask("QUERY|gmp|")
            server.wait_for_log("certificate revoked")


def ask_as(user: str, path: str) -> list[str]:
    """Return the responses to a client on a Unix socket that belongs to ``user``; none if it is disconnected."""
    entry = pwd.getpwnam(user)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(WAIT_SECONDS)
        # The server sees the effective ids of the moment of the connection. Another user may not run this Python.
        os.setegid(entry.pw_gid)
        os.seteuid(entry.pw_uid)
        try:
            client.connect(path)
        finally:
            os.seteuid(0)
            os.setegid(0)
        with suppress(ConnectionError):
            client.sendall(b"INDEX|a|\nQUERY|a|\nINDEX|b|\n")
            client.shutdown(socket.SHUT_WR)
            return client.makefile().read().split()
    return []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be a client of another user")
def test_users_of_unix_sockets_have_roles(tmp_path: Path) -> None:
    access, path = tmp_path / "access.toml", f"/tmp/scoop-{os.getpid()}.sock"
    access.write_text(ROLES)
    with ServerProcess("--memory", "--listen", f"unix:{path}", "--access", str(access)) as server:
        os.chmod(path, 0o666)
        answers = {user: ask_as(user, path) for user in ("root", "nobody", "daemon")}
        server.wait_for_log("no role names uid=")
    assert answers == {"root": ["OK", "OK", "ERROR"], "nobody": ["ERROR", "OK", "ERROR"], "daemon": []}


def test_a_forged_name_in_a_certificate_stays_in_its_field(files: CertificateFiles, authority: trustme.CA) -> None:
    context = files.client_context()
    name = "builder) OK INDEX|pwned|\nx"
    authority.issue_cert("a@example.org", common_name=name).configure_cert(context)
    arguments = ("--memory", "--listen", "tls:127.0.0.1:0", *files.mutual_arguments, "--access-log")
    with ServerProcess(*arguments) as server, server.connect(tls=context) as client:
        assert client.ask("QUERY|a|") == ["FAIL"]
        server.wait_for_log(r":\d+ \(CN=builder%29%20OK%20INDEX%7Cpwned%7C%0Ax\) FAIL QUERY\|a\|$")
