"""The errors of gRPC and etcd as the error codes of the port."""

import re
from typing import Final

from scoop_etcd.client.api import ErrorCode

_BY_STATUS: Final = {
    "DEADLINE_EXCEEDED": ErrorCode.TIMED_OUT,
    "UNAUTHENTICATED": ErrorCode.UNAUTHENTICATED,
    "PERMISSION_DENIED": ErrorCode.PERMISSION_DENIED,
    "INVALID_ARGUMENT": ErrorCode.INVALID,
    "FAILED_PRECONDITION": ErrorCode.INVALID,
    "OUT_OF_RANGE": ErrorCode.INVALID,
    "NOT_FOUND": ErrorCode.INVALID,
    "UNIMPLEMENTED": ErrorCode.INVALID,
}
"""By the name of gRPC's status code. Any other leaves the outcome unknown, and so counts as unavailable."""

_BY_DETAILS: Final = (
    ("INVALID_ARGUMENT", "request is too large", ErrorCode.TOO_LARGE),
    ("INVALID_ARGUMENT", "authentication failed", ErrorCode.UNAUTHENTICATED),
    ("INVALID_ARGUMENT", "user name is empty", ErrorCode.UNAUTHENTICATED),
    ("INVALID_ARGUMENT", "revision of auth store is old", ErrorCode.UNAUTHENTICATED),
    ("RESOURCE_EXHAUSTED", "message larger than max", ErrorCode.TOO_LARGE),
    ("RESOURCE_EXHAUSTED", "database space exceeded", ErrorCode.NO_SPACE),
    ("OUT_OF_RANGE", "has been compacted", ErrorCode.COMPACTED),
    ("NOT_FOUND", "lease not found", ErrorCode.LEASE_NOT_FOUND),
)
"""Status, part of the details, code: etcd uses one status for several reasons that a node tells apart."""

_LAYERS: Final = re.compile(
    r"(failed to connect to all addresses; )?last error: [A-Z_]+: (ipv[46]:\S+: )?(Failed to connect to remote host: )?"
)
"""The words before the reason. The address in them is not needed: the message begins with the endpoint."""

_EXPLANATIONS: Final = (
    (
        re.compile("CERTIFICATE_VERIFY_FAILED(: [^:]+)?|(?=Hostname Verification)"),
        r"cannot verify the certificate of etcd\1; check --etcd-ca, and the names and the expiry of that certificate",
    ),
    # A watch is cancelled where another request got no response.
    (re.compile("Deadline Exceeded|Locally cancelled"), "no response in time"),
    # A member closes a connection of TLS 1.3, and gRPC does not say so.
    (
        re.compile(r"Unwrap failed \(TSI_DATA_CORRUPTED\)"),
        "etcd rejects the client certificate, or requires one; check --etcd-cert and the date of its expiry",
    ),
)

_NOT_SENT: Final = ("failed to connect to all addresses", "DNS resolution failed")
"""Details with which gRPC fails a request that it has had no connection to send on."""


def error_code(status: str, details: str) -> ErrorCode:
    """Return the code for the name of a gRPC status and its details.

    >>> error_code("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded")
    <ErrorCode.NO_SPACE: 'no space'>
    >>> error_code("UNKNOWN", "")
    <ErrorCode.UNAVAILABLE: 'unavailable'>
    """
    for of_status, part, code in _BY_DETAILS:
        if status == of_status and part in details:
            return code
    return _BY_STATUS.get(status, ErrorCode.UNAVAILABLE)


def explained(details: str) -> str:
    """Return the details for an operator, without the layers of gRPC, and with what to check.

    >>> explained("failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: "
    ...           "Failed to connect to remote host: Connection refused")
    'Connection refused'
    >>> explained("last error: UNAVAILABLE: ipv4:127.0.0.1:2379: Unwrap failed (TSI_DATA_CORRUPTED)")
    'etcd rejects the client certificate, or requires one; check --etcd-cert and the date of its expiry'
    """
    details = _LAYERS.sub("", details)
    for pattern, explanation in _EXPLANATIONS:
        if match := pattern.search(details):
            return match.expand(explanation)
    return details


def was_not_sent(status: str, details: str) -> bool:
    """Return whether it is certain that no byte of the request was sent."""
    return status == "UNAVAILABLE" and any(part in details for part in _NOT_SENT)
