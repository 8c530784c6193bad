"""Exit statuses."""

import enum

from scoop_core import Response, ScoopError, UnknownPackage

from scoop_client.errors import ConnectionFailed, ConnectionLost


class ExitStatus(enum.IntEnum):
    """The exit status of the command; of several the largest counts."""

    OK = 0
    FAIL = 1
    """A request was answered FAIL, or the answer to a question is no."""
    ERROR = 2
    """A request was answered ERROR, or the command line or its input is invalid."""
    NO_CONNECTION = 3
    """No server could be connected, or the connection was lost."""
    INTERRUPTED = 130

    @classmethod
    def of(cls, response: Response) -> "ExitStatus":
        """Return the status of a response.

        >>> ExitStatus.of(Response.FAIL)
        <ExitStatus.FAIL: 1>
        """
        return {Response.OK: cls.OK, Response.FAIL: cls.FAIL, Response.ERROR: cls.ERROR}[response]

    @classmethod
    def of_error(cls, error: ScoopError) -> "ExitStatus":
        """Return the status of an error.

        >>> ExitStatus.of_error(UnknownPackage("gmp"))
        <ExitStatus.FAIL: 1>
        """
        if isinstance(error, ConnectionFailed | ConnectionLost):
            return cls.NO_CONNECTION
        return cls.FAIL if isinstance(error, UnknownPackage) else cls.ERROR
