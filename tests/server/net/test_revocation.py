"""The identities of certificates, and the lists that revoke them."""

import contextlib
import ssl
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from scoop_server.errors import CertificateError
from scoop_server.net.tls import Certificates
from scoop_server.net.x509 import identify, revoked_certificates

from tests.support.certificates import CertificateFiles, revocation_list


def der(certificate: trustme.LeafCert) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def test_a_list_revokes_the_certificates_that_it_names_and_no_others(authority: trustme.CA) -> None:
    lost, kept = authority.issue_cert("a.test"), authority.issue_cert("b.test")
    stranger = trustme.CA().issue_cert("a.test")
    revoked = revoked_certificates(revocation_list(authority, lost) + revocation_list(authority))
    assert [identify(der(each)) in revoked for each in (lost, kept, stranger)] == [True, False, False]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_certificate_or_a_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert identify(data)


@given(st.integers(0, 300), st.binary(min_size=1, max_size=3))
def test_a_damaged_list_is_read_or_a_value_error(position: int, noise: bytes) -> None:
    pem = revocation_list(AUTHORITY, LOST)
    damaged = pem[:position] + noise.decode("latin-1") + pem[position + len(noise) :]
    with contextlib.suppress(ValueError):
        assert len(revoked_certificates(damaged)) <= 1


AUTHORITY = trustme.CA()
LOST = AUTHORITY.issue_cert("lost.test")


def test_a_file_that_is_no_list_is_rejected(tmp_path: Path, authority: trustme.CA) -> None:
    files = CertificateFiles.make(tmp_path / "certificates", authority)
    for content in ("", files.server_cert.read_text(), "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"):
        path = tmp_path / "crl.pem"
        path.write_text(content)
        with pytest.raises(CertificateError, match=r"^cannot use the revocation list .*crl.pem: .*; it must be PEM, "):
            Certificates(files.server_cert, files.server_key, files.authority, path)
