"""The expiry of certificates, compared with another parser."""

from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scoop_server.net.x509 import first_expiry


def certificate(expires_at: datetime) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x" * 60)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, datetime(2020, 1, 1, tzinfo=UTC), expires_at)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize("year", [2021, 2049, 2050, 2999])
def test_the_expiry_is_the_end_of_the_validity(year: int) -> None:
    expires_at = datetime(year, 2, 28, 23, 59, 58, tzinfo=UTC)
    assert first_expiry(certificate(expires_at)) == expires_at.timestamp()


def test_the_first_expiry_of_a_chain_counts() -> None:
    day = datetime(2030, 1, 1, tzinfo=UTC)
    chain = "".join(certificate(day + timedelta(days=days)) for days in (2, 1, 3))
    assert first_expiry(f"comment\n{chain}") == (day + timedelta(days=1)).timestamp()


def test_a_common_chain_is_parsed() -> None:
    issued = trustme.CA().issue_cert("localhost")
    pem = issued.private_key_and_cert_chain_pem.bytes()
    assert first_expiry(pem.decode()) == x509.load_pem_x509_certificates(pem)[0].not_valid_after_utc.timestamp()


@pytest.mark.parametrize("pem", ["", "no PEM", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"])
def test_anything_else_is_an_error(pem: str) -> None:
    with pytest.raises(ValueError, match="certificate"):
        first_expiry(pem)
