"""A wakeup without a descriptor."""


class SimulatedWakeup:
    """The descriptor of an index that answers later."""

    def __init__(self) -> None:
        self.is_set = False

    def set(self) -> None:
        """Make it readable."""
        self.is_set = True

    def clear(self) -> None:
        """Make it unreadable."""
        self.is_set = False

    def fileno(self) -> int:
        """Return the descriptor."""
        return 4

    def close(self) -> None:
        """Do nothing."""
