"""Access policies: their syntax after an address, and which client certificates they accept."""

import socket
import ssl
from contextlib import closing
from pathlib import Path

import pytest
import trustme

from scoop_server.config.access import UNRESTRICTED, AccessPolicy, split_policy
from scoop_server.config.addresses import parse_listen_address
from scoop_server.errors import ListenError
from scoop_server.net.listener import bind
from scoop_server.net.tls import Certificates
from scoop_server.net.x509 import names_in, rejection

from tests.support.certificates import CertificateFiles, TlsPeer


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", UNRESTRICTED),
        ("?read-only", AccessPolicy(is_read_only=True)),
        ("?max-clients=50", AccessPolicy(clients_max=50)),
        ("?subject=builder", AccessPolicy(subjects=("builder",))),
        ("?subject=a&subject=b%26c&issuer=My%20CA", AccessPolicy(subjects=("a", "b&c"), issuers=("My CA",))),
        ("?read-only&issuer=CA", AccessPolicy(is_read_only=True, issuers=("CA",))),
        ("?read-only&anonymous", AccessPolicy(is_read_only=True, is_anonymous=True)),
    ],
)
@pytest.mark.parametrize("place", ["tls:[::1]:8443", "tls:example.org:1"])
def test_a_policy_follows_an_address_and_is_printed_as_it_is_written(
    place: str, text: str, policy: AccessPolicy
) -> None:
    address = parse_listen_address(place + text)
    assert address.policy == policy
    assert str(address) == place + text


@pytest.mark.parametrize("address", ["tcp:127.0.0.1:8080?read-only", "unix:/run/scoop.sock?read-only"])
def test_every_kind_of_address_can_be_read_only(address: str) -> None:
    assert parse_listen_address(address).policy.is_read_only
    assert str(parse_listen_address(address)) == address


INVALID = "readonly read-only=yes read-only& subject subject= subject=% subject=%FF cn=x a?b max-clients=0"


@pytest.mark.parametrize("options", ["", *INVALID.split()])
def test_an_invalid_option_is_rejected(options: str) -> None:
    with pytest.raises(ValueError, match=r"^expected read-only, anonymous, subject=NAME, issuer=NAME or max"):
        split_policy(f"tls:[::]:8443?{options}")


@pytest.mark.parametrize("place", ["tcp:127.0.0.1:8080", "unix:/run/scoop.sock"])
@pytest.mark.parametrize("option", ["subject=builder", "issuer=CA", "anonymous"])
def test_options_about_certificates_need_a_tls_address(place: str, option: str) -> None:
    with pytest.raises(ValueError, match=r"^expected tls:HOST:PORT before anonymous, subject and issuer, got "):
        parse_listen_address(f"{place}?{option}")


def test_anonymous_clients_have_no_subject() -> None:
    with pytest.raises(ValueError, match=r"^expected anonymous without subject and issuer, got "):
        parse_listen_address("tls:[::]:8443?anonymous&subject=builder")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    return CertificateFiles.make(tmp_path_factory.mktemp("policy") / "certificates")


def test_names_of_certificates_need_authorities_of_clients(files: CertificateFiles) -> None:
    certificates = Certificates(files.server_cert, files.server_key, None)
    with pytest.raises(ListenError, match="need TLS with client certificates; name their authorities with --tls-cl"):
        bind(parse_listen_address("tls:127.0.0.1:0?subject=builder"), certificates)


# Certificates

BUILDER = {
    "subject": ((("organizationName", "Example"),), (("commonName", "builder"),)),
    "issuer": ((("commonName", "Build authority"),),),
    "subjectAltName": (
        ("DNS", "build.example.org"),
        ("URI", "spiffe://example.org/builder"),
        ("IP Address", "::1"),
    ),
}
"""A certificate as ssl returns it."""


@pytest.mark.parametrize(
    ("options", "is_accepted"),
    [
        ("read-only", True),
        ("subject=builder", True),
        ("subject=other&subject=builder", True),
        ("subject=build.example.org", True),
        ("subject=spiffe://example.org/builder", True),
        ("subject=other", False),
        ("subject=build", False),
        ("subject=Build authority", False),
        ("issuer=Build authority", True),
        ("issuer=builder", False),
        ("subject=builder&issuer=Build authority", True),
        ("subject=builder&issuer=Other", False),
    ],
)
def test_one_subject_and_one_issuer_must_match_completely(options: str, is_accepted: bool) -> None:
    policy = split_policy(f"tls:[::]:1?{options}")[1]
    assert (rejection(BUILDER, policy) == "") == is_accepted
    if policy.requires_certificate:
        assert rejection({}, policy)


def test_names_are_read_with_their_kinds() -> None:
    assert names_in(BUILDER) == ("CN=builder", "DNS=build.example.org", "URI=spiffe://example.org/builder")
    assert names_in({}) == ()


def handshake(files: CertificateFiles, client: ssl.SSLContext, options: str) -> tuple[str, ...]:
    """Shake hands with a listener that has these options; return the names in the client's certificate."""
    certificates = Certificates(files.server_cert, files.server_key, files.authority)
    with closing(bind(parse_listen_address(f"tls:127.0.0.1:0?{options}"), certificates)) as listener:
        listener.listen()
        listener.socket.setblocking(True)
        with socket.create_connection(listener.socket.getsockname()) as far:
            stream, remote = listener.accept()
            assert not isinstance(stream, socket.socket)
            assert remote.policy == split_policy(f"?{options}")[1]
            with closing(stream):
                peer = TlsPeer(far, client)
                far.sendall(peer.begin())
                while stream.handshake():
                    peer.feed(far.recv(100_000))
                    peer.continue_handshake()
                    far.sendall(peer.encrypt(b""))
                return remote.names


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_handshake_accepts_a_certificate_that_matches_and_fails_for_any_other(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    authority = trustme.CA()
    files = CertificateFiles.make(tmp_path / "certificates", authority)
    context = files.client_context()
    context.maximum_version = version
    certificate = authority.issue_cert("builder@example.org", common_name="builder")
    certificate.configure_cert(context)
    assert handshake(files, context, "subject=builder&read-only")[0] == "CN=builder"
    assert handshake(files, context, "subject=builder@example.org")[0] == "CN=builder"
    assert handshake(files, files.client_context(), "read-only&anonymous") == ()
    with pytest.raises(ConnectionAbortedError, match=r"^the subject of the client's certificate \(CN=builder\) is not"):
        handshake(files, context, "subject=other")
    with pytest.raises(ConnectionAbortedError, match=r"^the issuer of the client's certificate \(no name\) is not"):
        handshake(files, context, "issuer=Other%20authority")
