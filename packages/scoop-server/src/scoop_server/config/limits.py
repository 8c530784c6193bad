"""Every limit of the server, with its reason. The limits of lines and names are those of scoop_core."""

from dataclasses import dataclass
from math import ceil
from typing import Final, NamedTuple

from scoop_core import MAX_LINE_LENGTH

from scoop_server.config.options import SERVE, Group, option
from scoop_server.config.values import GIB, KIB, MIB, duration, integer, size

COMPACTION_BYTES_MIN: Final = 64 * MIB
"""Size of the changes since the last snapshot below which they are not compacted. Fewer are read in seconds, so a
compaction would save nothing. Above it, changes as large as their snapshot double the time of a start."""

_READ_BYTES_MAX: Final = GIB
"""More than a machine should spend on one line."""

_COUNT_MAX: Final = 1_000_000

SHARE_BYTES_MIN: Final = 512
"""Bytes that a turn reads from a client, and executes for it, however many are ready: less would cost more calls than
it saves, and nearly every line is shorter."""


def _timeout(default: float, name: str, meaning: str, group: Group = Group.LIMITS) -> float:
    """Declare a time-out; 0 disables one that is disabled by default."""
    return option(default, duration(or_zero=not default), group, meaning, name=name)


_DIVISOR_MAX: Final = 64


class Shares(NamedTuple):
    """The limits of one turn, for each ready client and in total."""

    read_bytes: int
    """Bytes that a turn reads from one client."""
    small_bytes: int
    """Lines of a client that are not longer need not be counted."""
    uncounted_bytes: int
    """Bytes of all clients that need not be counted."""
    text_bytes: int
    """Bytes of lines that a turn executes for one client."""
    lines: int
    turn_text_bytes: int
    """Bytes of all clients after which a line that is longer than a share waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one server. Sizes are in bytes, times in seconds."""

    line_bytes_max: int = option(
        MAX_LINE_LENGTH,
        size(1, _READ_BYTES_MAX),
        Group.LIMITS,
        "longest message, without its newline",
        name="max_line",
        commands=(SERVE, "restore"),
    )
    """The limit of the library. A line that is too long is answered ERROR, and its rest is skipped."""

    clients_max: int = option(
        10_000, integer(1, _COUNT_MAX), Group.LIMITS, "most connections at a time", name="max_clients"
    )
    """An idle connection costs about 1 kB; a misbehaving one at most a line, a read and the output high-water mark."""

    clients_per_peer_max: int = option(
        0,
        integer(0, _COUNT_MAX),
        Group.LIMITS,
        "most connections of one address, one network of IPv6, or one named identity; 0 is a quarter of --max-clients",
        name="max_clients_per_peer",
    )
    """One peer alone must not keep the others out. Behind a proxy all clients have its address."""

    output_seconds_max: float = _timeout(
        60.0, "output_timeout", "disconnect a client that accepts none of its unsent responses for this long"
    )
    """A network that recovers is rarely silent for a minute, and unsent responses occupy memory."""

    incomplete_line_seconds_max: float = _timeout(
        30.0, "line_timeout", "disconnect a client that does not complete a message for this long"
    )
    """Far longer than a network needs, and short enough that abandoned halves of lines do not accumulate."""

    idle_seconds_max: float = _timeout(
        0.0, "idle_timeout", "disconnect a client that is silent for this long; 0 disables the time-out"
    )
    """Disabled, because an idle connection costs next to nothing."""

    drain_seconds_max: float = _timeout(
        10.0, "drain_timeout", "longest wait of a shutdown for clients that do not accept their responses"
    )
    """Longer than any client needs that reads its responses, and shorter than service managers wait."""

    handshake_seconds_max: float = _timeout(
        10.0, "tls_handshake_timeout", "disconnect a client whose TLS handshake takes this long", Group.TLS
    )
    """A handshake takes a few round trips, and until it ends the client is not authenticated."""

    compaction_bytes_min: int = option(
        COMPACTION_BYTES_MIN,
        size(0, 1_024 * GIB),
        Group.DATA,
        "size of the changes since the last snapshot below which they are not compacted into a new one",
        name="compaction_threshold",
    )
    """See :data:`COMPACTION_BYTES_MIN`."""

    history_seconds: float = _timeout(
        0.0,
        "history",
        "time for which superseded journals and snapshots are kept in history/; 0 keeps none",
        Group.DATA,
    )
    """None are kept by default: they take space, and hold the names of whoever changed the index."""
    history_bytes_max: int = option(
        0,
        size(0, 1_024 * GIB),
        Group.DATA,
        "size of the history above which its oldest part is deleted; 0 leaves that to the space on the disk",
        name="history_size",
    )
    """History is given up before changes are refused, so a full disk limits it too."""

    accepts_per_turn_max: int = 256
    """Connections that a turn accepts at each listener: about 5 ms, so that a flood of connections does not delay the
    responses to the other clients. The rest waits in the backlog."""

    read_bytes_max: int = 64 * KIB
    """Bytes that a turn reads from one client, so that one that sends without pause delays the others by one such batch
    at most. Larger reads gain nothing: a batch of this size amortises every fixed cost."""

    output_bytes_high_water: int = MIB
    """Unsent responses of one client above which it is not read (backpressure). The responses to a full read fit below
    it: the shortest line is one byte, its response has six. So it only stops a client that does not read."""

    output_bytes_max: int = 16 * MIB
    """Unsent responses of one client above which it is disconnected. Reading stops long before, so only a defect of the
    server could exceed it; then it protects the memory."""

    turn_bytes_max: int = 2 * MIB
    """Bytes that a turn reads, in equal shares for the clients that are ready, so that a turn stays short however many
    clients send without pause. Less would split the batches of tens of clients that pipeline deeply."""

    turn_lines_max: int = 16_384
    """Lines that a turn executes, in equal shares for the clients that are ready; the rest waits for the next turn.
    Most lines take less than a microsecond."""

    turn_text_bytes_max: int = 512 * KIB
    """Bytes of lines that a turn executes, in equal shares. A line that is longer than the share of its client waits
    until the other long ones of the turn leave room. The names of a long list cost as much as short lines, and all of
    the text may have to be synced: with twice as much, a turn of the longest lists took 11 ms instead of 5."""

    long_line_bytes: int = 4 * KIB
    """Bytes of an incomplete line above which its client is not read in a turn that has no room for the line any more.
    To complete one of 64 KiB takes 30 µs, and hundreds that arrive together would become complete in one turn."""

    uncounted_bytes_max: int = 128 * KIB
    """Bytes that a turn reads without counting their lines: counting takes 5% of a deeply pipelined QUERY. They hold at
    most 0.05 s of the shortest lines, after which the shares adapt to :attr:`turn_cpu_seconds_max`."""

    turn_cpu_seconds_max: float = 0.01
    """Processor time above which a turn was too long: the next ones read and execute that much less, until they take
    less than half of it. So expensive lines delay the other clients no more than cheap ones."""

    handshakes_max: int = 1_024
    """TLS handshakes in progress. They do not count as clients; once there are this many, each new one takes the place
    of the oldest one of the address that has most. So a flood from one address keeps out only others from there."""

    handshakes_per_turn_max: int = 8
    """TLS handshakes advanced in one turn. The most expensive step takes about 1 ms, so a flood of handshakes
    delays the other clients by 8 ms at most."""

    drain_bytes_max: int = 64 * MIB
    """Bytes that a shutdown still reads from one client. No system buffers that much of a connection, so everything
    that had arrived is read, and a client that sends without pause is cut off."""

    linger_seconds_max: float = 1.0
    """Time that a client with all its responses has to close its side."""

    handover_seconds_max: float = 5.0
    """Time that a server with a successor waits for the first request of clients that have just connected. A slow
    network and a TLS handshake before it take that long at most."""

    tick_seconds: float = 1.0
    """Interval of periodic work: syncing, watching the disk and a compaction, counting repeated log lines, accepting
    again after a shortage of file descriptors, ending a handover."""

    def shares(self, ready: int, divisor: int) -> "Shares":
        """Return the shares of each of ``ready`` clients, in a turn that does the part 1 / ``divisor``."""
        parts = ready * divisor
        lines = max(self.turn_lines_max // parts, 1)
        text_bytes = max(self.turn_text_bytes_max // parts, SHARE_BYTES_MIN)
        return Shares(
            min(self.read_bytes_max, max(self.turn_bytes_max // parts, SHARE_BYTES_MIN)),
            min(lines, text_bytes),
            self.uncounted_bytes_max // divisor,
            text_bytes,
            lines,
            self.turn_text_bytes_max // divisor,
        )

    def adapted_divisor(self, divisor: int, cpu_seconds: float) -> int:
        """Return the divisor of the next turn after one with ``divisor`` that took ``cpu_seconds``."""
        factor = cpu_seconds / self.turn_cpu_seconds_max
        if factor > 1:
            return min(divisor * ceil(factor), _DIVISOR_MAX)
        return divisor // 2 if divisor > 1 and factor < 1 / 2 else divisor
