"""Settings that contradict each other."""

import re

import pytest

from scoop_server.config.contradictions import unused_certificate

from tests.support.settings import problems, read_settings

CERTIFICATE = ["--tls-cert", "c"]


CONTRADICTIONS = """\
--listen unix:s --port 1
    flag --port has no effect with listen (flag --listen); remove one of them
SCOOP_LISTEN=unix:s --host h
    flag --host has no effect with listen (variable SCOOP_LISTEN); remove one of them
--memory --data-dir d
    flag --data-dir has no effect with memory (flag --memory); remove one of them
SCOOP_MEMORY=1 --fsync never
    flag --fsync has no effect with memory (variable SCOOP_MEMORY); remove one of them
SCOOP_ETCD=http://h:1 --data-dir d
    flag --data-dir has no effect with etcd (variable SCOOP_ETCD); remove one of them
SCOOP_MEMORY=yes --etcd http://h:1
    memory (variable SCOOP_MEMORY) contradicts etcd (flag --etcd); remove one of them
--reads local
    flag --reads has no effect without etcd; set its URLs with --etcd
SCOOP_ETCD=http://h:1 --etcd-ca c
    etcd_ca (flag --etcd-ca) needs TLS; use https: in etcd (variable SCOOP_ETCD)
--etcd https://h:1 --etcd-cert c
    etcd_cert (flag --etcd-cert) needs etcd_key; set it with --etcd-key
SCOOP_ETCD=http://h:1 --etcd-password-file f
    etcd_password_file (flag --etcd-password-file) needs etcd_user; set it with --etcd-user
SCOOP_ETCD=http://h:1 --max-line 1m
    max_line (flag --max-line): expected at most 512k with etcd (variable SCOOP_ETCD), got 1m
--tls-key k
    tls_key (flag --tls-key) is set, but there is no certificate; set one with --tls-cert
SCOOP_TLS_CLIENT_CA=a
    tls_client_ca (variable SCOOP_TLS_CLIENT_CA) is set, but there is no certificate; set one with --tls-cert
--tls-cert c --tls-crl r
    tls_crl (flag --tls-crl) needs the authorities of clients; name them with --tls-client-ca
--listen unix:s --listen tls:h:1
    listen (flag --listen): tls:h:1 needs a certificate; set one with --tls-cert, or use tcp:
--tls-cert c --listen tcp:h:1 --listen tls:h:1
    tls:h:1 is set by flag --listen and by flag --listen; remove or change one of them
SCOOP_LISTEN=unix:s --admin unix:s
    unix:s is set by variable SCOOP_LISTEN and by flag --admin; remove or change one of them
SCOOP_ADMIN=127.0.0.1:1 --port 1
    tcp:127.0.0.1:1 is set by flag --port and by variable SCOOP_ADMIN; remove or change one of them
"""
"""Each as variables and flags, and the line that reports it."""


@pytest.mark.parametrize(("command", "line"), re.findall(r"^(\S.*)\n((?: .*\n)+)", CONTRADICTIONS, re.MULTILINE))
def test_a_contradiction_is_rejected_with_the_sources_of_both_settings(command: str, line: str) -> None:
    words = command.split()
    variables = dict(word.split("=", 1) for word in words if word.startswith("SCOOP_"))
    assert problems(words[len(variables) :], variables) == [" ".join(line.split())]


def test_all_contradictions_are_reported_together() -> None:
    assert len(problems(["--memory", "--fsync", "never", "--tls-key", "k"])) == 2


def test_a_variable_without_effect_is_accepted() -> None:
    assert read_settings(["--memory"], {"SCOOP_DATA_DIR": "d", "SCOOP_FSYNC": "never"}).memory


def test_port_0_may_be_given_several_times() -> None:
    arguments = ["--listen", "tcp:h:0", "--listen", "tcp:h:0", "--admin", "h:0"]
    assert len(read_settings(arguments).listen) == 2


def test_the_default_address_does_not_collide_with_the_admin_address() -> None:
    assert read_settings(["--admin", "127.0.0.1:8080"]).listen == ()


def test_a_certificate_that_no_address_uses_is_found() -> None:
    unused = read_settings([*CERTIFICATE, "--listen", "unix:s"])
    assert unused_certificate(unused) == (
        "tls_cert (flag --tls-cert) is set, but no address has TLS; add one with --listen tls:HOST:PORT"
    )
    used = read_settings([*CERTIFICATE, "--listen", "tls:h:1"])
    assert unused_certificate(used) is None
