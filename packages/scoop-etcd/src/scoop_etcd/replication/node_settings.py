"""The settings of one node."""

from collections.abc import Callable
from dataclasses import dataclass

from scoop_etcd.formats.entries import Keys
from scoop_etcd.formats.records import Config
from scoop_etcd.replication.compactor import ENTRIES_MAX


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """The settings of one node."""

    node: str
    """Fresh for each start: hexadecimal digits."""
    keys: Keys
    config: Config
    has_local_reads: bool = False
    answer_seconds_max: float = 10.0
    """A request without a response for this long closes its connection."""
    addresses: tuple[str, ...] = ()
    version: str = ""
    access_digest: Callable[[], str] = lambda: ""
    """Returns the digest of the access rules, which a reload may change."""
    wall_clock: Callable[[], int] = lambda: 0
    """Returns the time that entries get, in milliseconds since 1970."""
    entry_bytes_min: int = 64 * 1024 * 1024
    """Entries are compacted when they have at least this size, and that of the last snapshot."""
    entries_max: int = ENTRIES_MAX
    turn_bytes_max: int = 256 * 1024
    """Entries taken and applied in one turn, so that a node serves clients while it catches up; one may have more."""
    turn_visits_max: int = 4_096
    """Packages and dependencies that searches for cycles visit in one turn: about 5 ms."""
