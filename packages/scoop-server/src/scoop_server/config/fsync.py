"""The durability policy of commits."""

import enum


class Fsync(enum.StrEnum):
    """The sync policy of commits. Under each policy, every acknowledged change survives the death of the process."""

    ALWAYS = "always"
    """Every commit waits: every answered change survives a power loss."""
    EVERYSEC = "everysec"
    """Once per second: a power loss may lose the last second."""
    NEVER = "never"
    """The operating system decides."""
