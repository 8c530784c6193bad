"""The parts of X.509 certificates and revocation lists that the server reads: names, expiry, serial numbers.

The standard library parses the certificates of verified peers alone, so expiry and revocation are read from DER here.
OpenSSL rejects revoked certificates in handshakes, and does not tell which connections are to be closed. A certificate
is identified by its issuer, in DER, and its serial number (RFC 5280, section 5.3.3).
"""

import base64
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from scoop_server.config.access import AccessPolicy
from scoop_server.config.peer import quote_name

_ALTERNATIVE_NAMES: Final = frozenset({"DNS", "email", "URI"})
"""The kinds of subject alternative names that a policy can name."""

VerifiedCertificate = Mapping[str, Any]
"""A certificate as :meth:`ssl.SSLObject.getpeercert` returns it: empty if the client presented none."""


def names_in(certificate: VerifiedCertificate) -> tuple[str, ...]:
    """Return the names of the client with their kinds: ``CN=``, ``DNS=``, ``email=`` or ``URI=``."""
    alternatives = certificate.get("subjectAltName", ())
    names = [f"CN={name}" for name in _common_names(certificate.get("subject", ()))]
    return (*names, *(f"{kind}={name}" for kind, name in alternatives if kind in _ALTERNATIVE_NAMES))


def rejection(certificate: VerifiedCertificate, policy: AccessPolicy) -> str:
    """Return why ``policy`` rejects the certificate; empty if it accepts it."""
    names, issuers = names_in(certificate), _common_names(certificate.get("issuer", ()))
    if policy.subjects and not {name.partition("=")[2] for name in names}.intersection(policy.subjects):
        subject = quote_name(names[0]) if names else "no name"
        return f"the subject of the client's certificate ({subject}) is not accepted here"
    if policy.issuers and not set(issuers).intersection(policy.issuers):
        issuer = ", ".join(map(quote_name, issuers)) or "no name"
        return f"the issuer of the client's certificate ({issuer}) is not accepted here"
    return ""


def _common_names(name: tuple[tuple[tuple[str, str], ...], ...]) -> list[str]:
    return [value for part in name for key, value in part if key == "commonName"]


_INTEGER: Final = 0x02
_UTC_TIME: Final = 0x17
_SEQUENCE: Final = 0x30
_LONG_FORM: Final = 0x80


def expiries(pem: str) -> list[float]:
    """Return the Unix time at which each certificate in ``pem`` expires, in their order. Raises ValueError."""
    return [_expiry(each) for each in _decode(pem, "CERTIFICATE")]


def _expiry(certificate: bytes) -> float:
    _, _, validity, *_ = _signed_fields(certificate, _SEQUENCE)  # signature algorithm, issuer, validity, ...
    _, end = _parts(validity)
    text = end[2:].decode("ascii")
    if end[0] == _UTC_TIME:  # two digits of the year: 1950 to 2049
        text = f"{'20' if text < '50' else '19'}{text}"
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def identify(certificate: bytes) -> bytes:
    """Return the issuer and the serial number of a certificate in DER. Raises ValueError."""
    # version (tagged, optional), serial number, signature algorithm, issuer, ...
    serial_number, _, issuer, *_ = _signed_fields(certificate, _INTEGER, _SEQUENCE)
    return issuer + serial_number


def revoked_certificates(pem: str) -> frozenset[bytes]:
    """Return the identities of all certificates that the lists in ``pem`` revoke. Raises ValueError."""
    return frozenset(identity for each in _decode(pem, "X509 CRL") for identity in _revoked(each))


def _revoked(revocation_list: bytes) -> Iterator[bytes]:
    # version (optional), signature algorithm, issuer, one or two times, revoked certificates (optional), ...
    _, issuer, *others = _signed_fields(revocation_list, _SEQUENCE)
    for entry in _parts(others[0]) if others else ():
        serial_number, *_ = _parts(entry)
        yield issuer + serial_number


def _decode(pem: str, kind: str) -> list[bytes]:
    """Return what ``pem`` has of ``kind``, in DER. Raises ValueError if that is nothing."""
    encoded = re.findall(f"-----BEGIN {kind}-----(.*?)-----END {kind}-----", pem, re.DOTALL)
    if not encoded:
        raise ValueError(f"expected BEGIN {kind} and its end")
    return [base64.b64decode(each) for each in encoded]


def _signed_fields(document: bytes, *tags: int) -> list[bytes]:
    """Return the elements with one of ``tags`` in the signed part of a certificate or a list, which is its first."""
    signed, *_ = _parts(document)
    return [element for element in _parts(signed) if element[0] in tags]


def _parts(element: bytes) -> Iterator[bytes]:
    """Yield each element in the content of ``element``, beginning with its tag. Raises ValueError."""
    position, end = _bounds(element, 0)
    while position < end:
        start, position = position, _bounds(element, position)[1]
        yield element[start:position]


def _bounds(data: bytes, start: int) -> tuple[int, int]:
    """Return where the content of the element at ``start`` begins and ends. Raises ValueError."""
    if start + 2 > len(data):
        raise ValueError("expected an element in DER")
    length, begin = data[start + 1], start + 2
    if length & _LONG_FORM:  # its other bits are the number of bytes of the length
        size = length & ~_LONG_FORM
        length, begin = int.from_bytes(data[begin : begin + size]), begin + size
    if begin + length > len(data):
        raise ValueError("expected a complete element in DER")
    return begin, begin + length
