"""The certificate of a TLS client: its names, and whether a listener's policy accepts it."""

from collections.abc import Mapping
from dataclasses import dataclass
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
