"""A wakeup without a descriptor."""


class SimulatedWakeup:
    """The descriptor of an index that answers later."""

    def __init__(self) -> None:
        self.is_set = False

    def set(self, is_set: bool, /) -> None:
        """Make it readable, or not."""
        self.is_set = is_set

    def fileno(self) -> int:
        """Return the descriptor."""
        return 4

    def close(self) -> None:
        """Do nothing."""
