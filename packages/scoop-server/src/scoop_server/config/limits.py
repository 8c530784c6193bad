"""Every limit of the server, with its reason. The line and name limits are the protocol's: scoop_core.messages."""

from dataclasses import dataclass, replace
from typing import Final

from scoop_core import MAX_LINE_LENGTH

JOURNAL_BYTES_MIN: Final = 67_108_864
"""The journal before compaction: smaller, a compaction would save no one anything; recovery reads this much in
seconds. Above it, a journal as large as its snapshot doubles the time that recovery takes."""

COSTLY_TURN_BYTES_MAX: Final = 4_096
"""What a turn reads from all clients where cycles are rejected, and a read more at most. A search for a cycle walks all
that a package needs, ten milliseconds for a chain of tens of thousands, and these are some hundreds of lines. A message
from each of a hundred clients still fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one server allows. Sizes are in bytes, times in seconds."""

    line_bytes_max: int = MAX_LINE_LENGTH
    """A message before its newline."""

    clients_max: int = 10_000
    """Connections at a time. Each costs about 1 kB when idle and at most a line, a read and the output
    high-water mark when it misbehaves."""

    idle_seconds_max: float = 0.0
    """How long a client may be silent; 0 is for ever, because an idle connection costs next to nothing."""

    incomplete_line_seconds_max: float = 30.0
    """How long a line may take to arrive: far longer than any network needs, short enough that
    abandoned halves of lines do not add up."""

    handshake_seconds_max: float = 10.0
    """How long a TLS handshake may take: a few round trips, so seconds are many, and until it is done
    no one knows who holds the connection."""

    read_bytes_max: int = 65_536
    """What one turn reads from one client, so that a client that sends without pause delays the others
    by one such batch at most. Larger reads gain nothing: a batch this long amortises every fixed cost."""

    turn_bytes_max: int = 1_048_576
    """What one turn reads from all clients, and a read more at most. Who is ready beyond that is the first of the next
    turn; so however many send without pause, answers leave, and signals and deadlines are seen to, all the time."""

    output_bytes_high_water: int = 1_048_576
    """Unsent answers of one client above which nothing more is read from it."""

    output_bytes_max: int = 16_777_216
    """Unsent answers of one client above which it is disconnected. Reading stops long before, so only an
    error in the server could get here; the limit keeps such an error from taking the memory of all."""

    output_seconds_max: float = 60.0
    """How long a client may take nothing of its unsent answers: a minute is longer than a network is ever silent
    that will speak again, and what is unsent is memory that others may need."""

    accepts_per_turn_max: int = 256
    """New connections a turn takes, so that a flood of them does not hold back the answers of the others."""

    handshakes_per_turn_max: int = 8
    """TLS handshakes that one turn takes a step further, so that a flood of them does not hold back the answers of
    the others: the longest step takes about 1 ms."""

    accept_pause_seconds: float = 1.0
    """How long accepting rests when the process is out of file descriptors, unless a client leaves earlier."""

    drain_bytes_max: int = 67_108_864
    """How much a shutdown goes on reading from a client that never stops sending: no system keeps that much
    of one connection. So whatever had arrived is read, and a flood comes to an end."""

    linger_seconds_max: float = 1.0
    """How long a client that has all its answers may take to close its side."""

    drain_seconds_max: float = 10.0
    """How long a shutdown waits for clients that do not take their answers."""

    journal_bytes_min: int = JOURNAL_BYTES_MIN
    """See :data:`JOURNAL_BYTES_MIN`."""

    handover_seconds_max: float = 5.0
    """How long a server that others go on for waits for the first request of those who have just connected:
    a slow network, and a TLS handshake before it, take that long at most."""

    handover_tick_seconds: float = 0.05
    """How often it looks whether they all have asked."""

    tick_seconds: float = 1.0
    """How often the deadlines above are looked at, while there is any."""

    def of_costly_lines(self) -> "Limits":
        """Return these limits for a server on which one line may cost as much as thousands: a turn reads less."""
        return replace(
            self,
            read_bytes_max=min(self.read_bytes_max, COSTLY_TURN_BYTES_MAX),
            turn_bytes_max=min(self.turn_bytes_max, COSTLY_TURN_BYTES_MAX),
        )

    @property
    def drain_reads_max(self) -> int:
        """How many reads of full length :attr:`drain_bytes_max` is."""
        return -(-self.drain_bytes_max // self.read_bytes_max)
