"""Exit statuses."""

import enum
import signal

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
    COMMAND_FAILED = 4
    """The command of ``publish`` or ``withdraw`` failed, and the index is as before."""
    COMMAND_KILLED = 5
    """It was killed by a signal, so its outcome is unknown; the index is as before."""
    UNKNOWN = 6
    """The connection was lost during the change of ``publish`` or ``withdraw``; the command was not run."""
    NOT_UNDONE = 7
    """The command failed or was killed, and the change of the index could not be undone."""
    HISTORY_GONE = 8
    """Changes that ``log`` or ``watch`` should print are no longer there."""
    HUNG_UP = 129
    INTERRUPTED = 130
    QUIT = 131
    TERMINATED = 143

    @classmethod
    def of_signal(cls, number: signal.Signals) -> "ExitStatus":
        """Return the status of an end by a signal: 128 and its number.

        >>> ExitStatus.of_signal(signal.SIGTERM)
        <ExitStatus.TERMINATED: 143>
        """
        return cls(128 + number)

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
