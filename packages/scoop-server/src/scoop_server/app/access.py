"""The files that a reload reads again: certificates, revocations and roles."""

from pathlib import Path

from scoop_core import AccessRules

from scoop_server.config.access_file import read_access_file
from scoop_server.loop.server import Server
from scoop_server.net.tls import Certificates
from scoop_server.telemetry.logs import log


class Access:
    """The access rules of ``path``, if any, and the certificates, if any. Raises ConfigurationError."""

    def __init__(self, path: Path | None, certificates: Certificates | None) -> None:
        self._path = path
        self._certificates = certificates
        self.rules: AccessRules | None = None if path is None else read_access_file(path)

    def digest(self) -> str:
        """Return the digest of the access rules; empty without them."""
        return "" if self.rules is None else self.rules.digest

    def reload_certificates(self) -> None:
        """Read the certificates and the revocation list again. Raises CertificateError."""
        if self._certificates is not None:
            self._certificates.reload()
            log.info("reloaded the certificate %(path)s", {"path": self._certificates.path})

    def reload_rules(self) -> None:
        """Read the access rules again. Raises ConfigurationError."""
        if self._path is not None:
            self.rules = rules = read_access_file(self._path)
            log.info("reloaded the roles of %(path)s (%(digest)s)", {"path": self._path, "digest": rules.digest})

    def enforce(self, server: Server) -> None:
        """Let ``server`` admit clients by the current files, and close those that they do not admit any more."""
        if self.rules is not None or self._certificates is not None:
            is_revoked = self._certificates.is_revoked if self._certificates is not None else lambda _: False
            server.enforce(self.rules, is_revoked)
