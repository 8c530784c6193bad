"""The expiry of certificates, read from their DER encoding: the standard library parses only those of peers."""

import re
import ssl
from datetime import UTC, datetime
from typing import Final

_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)

_VERSION_TAG: Final = 0xA0
_UTC_TIME_TAG: Final = 0x17

_LONG_FORM: Final = 0x80
"""Lengths from here on are encoded in several bytes."""


def first_expiry(pem: str) -> float:
    """Return the Unix time at which the first of the certificates in ``pem`` expires. Raises ValueError."""
    certificates = _CERTIFICATE.findall(pem)
    if not certificates:
        raise ValueError("expected a certificate in PEM")
    try:
        return min(_expiry(ssl.PEM_cert_to_DER_cert(certificate)) for certificate in certificates)
    except IndexError as error:
        raise ValueError("the certificate is truncated") from error


def _expiry(certificate: bytes) -> float:
    """Return the end of the validity: RFC 5280, section 4.1."""
    _, to_be_signed, _ = _read(certificate)
    _, fields, _ = _read(to_be_signed)
    tag, _, rest = _read(fields)  # the version, or the serial number of a certificate of version 1
    if tag == _VERSION_TAG:
        _, _, rest = _read(rest)
    for _ in ("signature algorithm", "issuer"):
        _, _, rest = _read(rest)
    _, validity, _ = _read(rest)
    _, _, not_after = _read(validity)
    tag, value, _ = _read(not_after)
    text = value.decode("ascii")
    if tag == _UTC_TIME_TAG:  # two digits of the year: 1950 to 2049
        text = f"{'20' if text < '50' else '19'}{text}"
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _read(data: bytes) -> tuple[int, bytes, bytes]:
    """Return tag and content of the first DER element in ``data``, and what follows it."""
    length, start = data[1], 2
    if length >= _LONG_FORM:
        start += length - _LONG_FORM
        length = int.from_bytes(data[2:start])
    return data[0], data[start : start + length], data[start + length :]
