"""The exceptions of the server, in one tree.

The message of each is one line for the operator: what failed, where, why, and the way out.
"""

from typing import ClassVar


class ServerError(Exception):
    """A condition that ends a run of the server or a command."""

    exit_status: ClassVar[int] = 1


class ConfigurationError(ServerError):
    """A setting is invalid or contradicts another."""

    exit_status = 2


class ListenError(ServerError):
    """An address cannot be listened on."""


class CertificateError(ServerError):
    """A certificate or a private key cannot be used."""


class DataDirectoryError(ServerError):
    """The data directory cannot be read, written or locked."""


class JournalError(DataDirectoryError):
    """A write may or may not be on disk, so the process must end."""


class ReadOnlyError(DataDirectoryError):
    """Changes are refused while queries are answered: no space, a read-only file system, a directory that is gone."""
