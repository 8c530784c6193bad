"""The state that the parts of the event loop share."""

from dataclasses import dataclass
from selectors import BaseSelector

from scoop_server.config.limits import Limits
from scoop_server.loop.timers import Timers
from scoop_server.telemetry.logs import RepeatLimit
from scoop_server.telemetry.statistics import Statistics


@dataclass(frozen=True, slots=True)
class Context:
    """The selector, the timers with the time of the turn, the limits, and where events are counted and logged."""

    selector: BaseSelector
    timers: Timers
    limits: Limits
    statistics: Statistics
    repeat_limit: RepeatLimit
