"""What the server reads of X.509 certificates and revocation lists: names, expiry, and who is revoked.

The standard library parses the certificates of verified peers alone, so expiry and revocation are read from DER here.
OpenSSL rejects revoked certificates in handshakes, and does not tell which connections are to be closed. A certificate
is identified by its issuer, in DER, and its serial number (RFC 5280, section 5.3.3).
"""

import base64
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self

from scoop_server.config.access import AccessPolicy
from scoop_server.config.peer import quote_name

_ALTERNATIVE_NAMES: Final = frozenset({"DNS", "email", "URI"})
"""The kinds of subject alternative names that a policy can name."""


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """The content of a verified client certificate."""

    names: tuple[str, ...] = ()
    """The names of the client with their kinds: ``CN=``, ``DNS=``, ``email=`` or ``URI=``."""
    issuer_names: tuple[str, ...] = ()
    """Common names of the issuer."""

    @classmethod
    def from_ssl(cls, certificate: Mapping[str, object] | None) -> Self:
        """Return the names in the dictionary of :meth:`ssl.SSLObject.getpeercert`; None means no certificate."""
        certificate = certificate or {}
        common = tuple(f"CN={name}" for name in _common_names(certificate.get("subject")))
        return cls(
            common + _alternative_names(certificate.get("subjectAltName")), _common_names(certificate.get("issuer"))
        )

    def rejection(self, policy: AccessPolicy) -> str:
        """Return why ``policy`` rejects the certificate; empty if it accepts it."""
        if policy.subjects and not {name.partition("=")[2] for name in self.names}.intersection(policy.subjects):
            subject = quote_name(self.names[0]) if self.names else "no name"
            return f"the subject of the client's certificate ({subject}) is not accepted here"
        if policy.issuers and not set(self.issuer_names).intersection(policy.issuers):
            issuer = ", ".join(map(quote_name, self.issuer_names)) or "no name"
            return f"the issuer of the client's certificate ({issuer}) is not accepted here"
        return ""


def _common_names(name: object) -> tuple[str, ...]:
    """Return the common names in a distinguished name, which is a tuple of tuples of pairs."""
    parts = name if isinstance(name, tuple) else ()
    return tuple(value for part in parts for key, value in part if key == "commonName")


def _alternative_names(names: object) -> tuple[str, ...]:
    pairs = names if isinstance(names, tuple) else ()
    return tuple(f"{kind}={value}" for kind, value in pairs if kind in _ALTERNATIVE_NAMES)


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


_LIST: Final = re.compile(r"-----BEGIN X509 CRL-----(.*?)-----END X509 CRL-----", re.DOTALL)

_INTEGER: Final = 0x02
_SEQUENCE: Final = 0x30
_LONG_FORM: Final = 0x80


def identify(certificate: bytes) -> bytes:
    """Return the issuer and the serial number of a certificate in DER. Raises ValueError."""
    # version (tagged, optional), serial number, signature algorithm, issuer, ...
    fields = [element for tag, element in _parts(_first_part(certificate)) if tag in {_INTEGER, _SEQUENCE}]
    if len(fields) < 3:
        raise ValueError("the certificate is not complete")
    return fields[2] + fields[0]


def revoked_certificates(pem: str) -> frozenset[bytes]:
    """Return the identities of all certificates that the lists in ``pem`` revoke. Raises ValueError."""
    lists = _LIST.findall(pem)
    if not lists:
        raise ValueError("expected a revocation list in PEM, which begins with BEGIN X509 CRL")
    return frozenset(identity for each in lists for identity in _revoked(base64.b64decode(each)))


def _revoked(revocation_list: bytes) -> Iterator[bytes]:
    # version (optional), signature algorithm, issuer, one or two times, revoked certificates (optional), ...
    sequences = [element for tag, element in _parts(_first_part(revocation_list)) if tag == _SEQUENCE]
    if len(sequences) < 2:
        raise ValueError("the revocation list is not complete")
    for entries in sequences[2:3]:
        for _, entry in _parts(entries):
            yield sequences[1] + _first_part(entry)


def _first_part(element: bytes) -> bytes:
    """Return the first element in the content of ``element``. Raises ValueError."""
    for _, part in _parts(element):
        return part
    raise ValueError("expected an element in DER")


def _parts(element: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the tag and the encoding of each element in the content of ``element``. Raises ValueError."""
    position, end = _bounds(element, 0)
    while position < end:
        start, position = position, _bounds(element, position)[1]
        yield element[start], element[start:position]


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
