"""The index of a run as the application uses it: stored in a directory, in memory, or replicated."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from scoop_server.loop.client import Client
from scoop_server.loop.ports import Index
from scoop_server.telemetry.meter import Meter


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIndex:
    """An index that has been loaded, and everything that is done with it until the process ends."""

    index: Index[Client]
    package_count: Callable[[], int]
    place: str
    """The place of the index, for the log."""
    recovery_seconds: float
    """The duration of loading it."""
    meter: Meter
    tick: Callable[[], None]
    """To be called at each tick."""
    tick_seconds_max: float = math.inf
    use_timer: Callable[[Callable[[float, Callable[[], None]], None]], None] = lambda _: None
    """To be called with the function that calls another one after so many seconds."""
    request_compaction: Callable[[], None]
    """Write a new snapshot soon."""
    save: Callable[[Callable[[str, int], None]], None]
    """Write a snapshot, unless nothing has changed. The argument reports progress, and may raise to interrupt it."""
