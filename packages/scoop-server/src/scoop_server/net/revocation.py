"""Revoked certificates: the lists of ``--tls-crl``, read from their DER encoding.

OpenSSL rejects revoked certificates in handshakes, and does not tell which connections are to be closed. A certificate
is identified by its issuer, in DER, and its serial number (RFC 5280, section 5.3.3).
"""

import base64
import re
from collections.abc import Iterator
from typing import Final

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
