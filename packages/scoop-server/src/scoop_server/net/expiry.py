"""The expiry of certificates, read from their DER encoding: the standard library parses only those of peers."""

import re
import ssl
from datetime import UTC, datetime
from typing import Final

_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)

_VALIDITY: Final = re.compile(rb"0[\x1e-\x22]" + 2 * rb"(?:\x17\r(\d{12}Z)|\x18\x0f(\d{14}Z))")
"""The first sequence of two times in a certificate (RFC 5280, section 4.1). Each is a UTCTime, whose year has two
digits, or a GeneralizedTime."""


def first_expiry(pem: str) -> float:
    """Return the Unix time at which the first of the certificates in ``pem`` expires. Raises ValueError."""
    return min(expiries(pem))


def expiries(pem: str) -> list[float]:
    """Return the Unix time at which each certificate in ``pem`` expires, in their order. Raises ValueError."""
    certificates = _CERTIFICATE.findall(pem)
    if not certificates:
        raise ValueError("expected a certificate in PEM")
    return [_expiry(ssl.PEM_cert_to_DER_cert(certificate)) for certificate in certificates]


def _expiry(certificate: bytes) -> float:
    validity = _VALIDITY.search(certificate)
    if validity is None:
        raise ValueError("the certificate has no validity")
    text = (validity[3] or validity[4]).decode()
    if validity[3]:  # two digits of the year: 1950 to 2049
        text = f"{'20' if text < '50' else '19'}{text}"
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
