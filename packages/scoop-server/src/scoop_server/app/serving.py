"""The index of a run as the application uses it: stored in a directory, in memory, or replicated."""

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from scoop_server.config.settings import Settings
from scoop_server.loop.client import Client
from scoop_server.loop.ports import Index
from scoop_server.telemetry.health import Health
from scoop_server.telemetry.meter import Meter


@dataclass(frozen=True, slots=True)
class Serving:
    """The part of an open index that the event loop needs."""

    index: Index[Client]
    meter: Meter
    tick: Callable[[], None]
    """To be called at each tick."""
    tick_seconds_max: float = math.inf
    use_timer: Callable[[Callable[[float, Callable[[], None]], None]], None] = lambda _: None
    """To be called with the function that calls another one after so many seconds."""


class OpenIndex(Protocol):
    """An index that has been loaded. Its length is the number of packages."""

    def __len__(self) -> int: ...

    @property
    def place(self) -> str:
        """The place of the index, for the log."""

    @property
    def recovery_seconds(self) -> float:
        """The duration of loading it."""

    def serve(self, settings: Settings, health: Health, resources: ExitStack) -> Serving:
        """Return what answers requests, and show its state in ``health``."""

    def request_compaction(self) -> None:
        """Write a new snapshot soon."""

    def save(self, progress: Callable[[str, int], None]) -> None:
        """Write a snapshot, unless nothing has changed; ``progress`` may raise to interrupt it."""
