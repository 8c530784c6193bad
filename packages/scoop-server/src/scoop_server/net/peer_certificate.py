"""The certificate of a TLS client: its names, and whether a listener's policy accepts it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from scoop_server.config.access import AccessPolicy

_ALTERNATIVE_NAMES: Final = frozenset({"DNS", "email", "URI"})
"""The kinds of subject alternative names that a policy can name."""


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """The content of a verified client certificate."""

    common_names: tuple[str, ...] = ()
    alternative_names: tuple[str, ...] = ()
    issuer_names: tuple[str, ...] = ()
    """Common names of the issuer."""

    @classmethod
    def from_ssl(cls, certificate: Mapping[str, object] | None) -> Self:
        """Return the names in the dictionary of :meth:`ssl.SSLObject.getpeercert`; None means no certificate."""
        certificate = certificate or {}
        return cls(
            _common_names(certificate.get("subject")),
            _alternative_names(certificate.get("subjectAltName")),
            _common_names(certificate.get("issuer")),
        )

    @property
    def subject(self) -> str:
        """One name for the log: ``CN=NAME``, an alternative name, or empty."""
        if self.common_names:
            return f"CN={self.common_names[0]}"
        return self.alternative_names[0] if self.alternative_names else ""

    def rejection(self, policy: AccessPolicy) -> str:
        """Return why ``policy`` rejects the certificate; empty if it accepts it."""
        if policy.subjects and not {*self.common_names, *self.alternative_names}.intersection(policy.subjects):
            return f"the subject of the client's certificate ({self.subject or 'no name'}) is not accepted here"
        if policy.issuers and not set(self.issuer_names).intersection(policy.issuers):
            issuer = ", ".join(self.issuer_names) or "no name"
            return f"the issuer of the client's certificate ({issuer}) is not accepted here"
        return ""


def _common_names(name: object) -> tuple[str, ...]:
    """Return the common names in a distinguished name, which is a tuple of tuples of pairs."""
    parts = name if isinstance(name, tuple) else ()
    return tuple(value for part in parts for key, value in part if key == "commonName")


def _alternative_names(names: object) -> tuple[str, ...]:
    pairs = names if isinstance(names, tuple) else ()
    return tuple(value for kind, value in pairs if kind in _ALTERNATIVE_NAMES)
