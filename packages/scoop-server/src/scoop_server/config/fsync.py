"""The durability policy of commits."""

import enum


class Fsync(enum.StrEnum):
    """When a commit waits for the disk. Whatever is chosen survives the death of the process."""

    ALWAYS = "always"
    """Every commit does: what has been answered survives a power loss."""
    EVERYSEC = "everysec"
    """Once a second: a power loss may take back the last second."""
    NEVER = "never"
    """The operating system decides."""
