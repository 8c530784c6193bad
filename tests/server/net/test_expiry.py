"""The expiry of certificates, compared with another parser."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scoop_server.net.tls import Certificates
from scoop_server.net.x509 import expiries

from tests.support.certificates import CertificateFiles


def certificate(expires_at: datetime) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x" * 60)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, datetime(2020, 1, 1, tzinfo=UTC), expires_at)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize("year", [2021, 2049, 2050, 2999])
def test_the_expiry_is_the_end_of_the_validity(year: int) -> None:
    expires_at = datetime(year, 2, 28, 23, 59, 58, tzinfo=UTC)
    assert expiries(certificate(expires_at)) == [expires_at.timestamp()]


def test_each_certificate_of_a_chain_has_its_expiry() -> None:
    day = datetime(2030, 1, 1, tzinfo=UTC)
    chain = "".join(certificate(day + timedelta(days=days)) for days in (2, 1, 3))
    assert expiries(f"comment\n{chain}") == [(day + timedelta(days=days)).timestamp() for days in (2, 1, 3)]


def test_the_first_expiry_of_a_chain_counts(tmp_path: Path) -> None:
    files = CertificateFiles.make(tmp_path / "certificates")
    chain, expires_at = tmp_path / "chain.pem", datetime(2021, 1, 1, tzinfo=UTC)
    chain.write_text(files.server_cert.read_text() + certificate(expires_at))
    assert Certificates(chain, files.server_key, None).expires_at == expires_at.timestamp()


def test_a_common_chain_is_parsed() -> None:
    issued = trustme.CA().issue_cert("localhost")
    pem = issued.private_key_and_cert_chain_pem.bytes()
    parsed = x509.load_pem_x509_certificates(pem)
    assert expiries(pem.decode()) == [each.not_valid_after_utc.timestamp() for each in parsed]


@pytest.mark.parametrize("pem", ["", "no PEM", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"])
def test_anything_else_is_an_error(pem: str) -> None:
    with pytest.raises(ValueError, match=r"^expected BEGIN CERTIFICATE|^expected a complete element in DER"):
        expiries(pem)
