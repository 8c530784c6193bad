"""The exceptions of the server, in one tree.

The message of each is one line for the operator: "cannot DO THING: REASON; WAY OUT".
"""

from typing import ClassVar


class ServerError(Exception):
    """A failure that ends the server or a command."""

    exit_status: ClassVar[int] = 1
    """The exit status of the process."""


class ConfigurationError(ServerError):
    """Settings are invalid or contradict each other. The arguments are the problems, a line each."""

    exit_status = 2

    def __str__(self) -> str:
        return str(self.args[0])


class ListenError(ServerError):
    """An address cannot be listened on."""


class CertificateError(ServerError):
    """A certificate or a private key cannot be used."""


class DataDirectoryError(ServerError):
    """The data directory cannot be read, written or locked."""


class HistoryGoneError(DataDirectoryError):
    """Changes that were asked for are no longer there."""

    exit_status = 8


class DirectoryInUseError(DataDirectoryError):
    """Another process has locked the data directory."""


class JournalError(DataDirectoryError):
    """A write may or may not be on disk, so the process must exit."""


class ReadOnlyError(DataDirectoryError):
    """Changes are refused while queries are answered: no space, a read-only file system, a directory that is gone."""


class ResourceError(ServerError):
    """The system has no descriptor, memory or thread for something without which there is no server."""


class StandardStreamError(ServerError):
    """Standard input or output cannot be used."""
