"""Words that depend on a number."""


def noun(number: int, one: str, many: str = "") -> str:
    """Return the noun that goes with ``number``; ``many`` where more than one of it is not ``one`` and an s.

    >>> noun(1, "package"), noun(2, "package"), noun(0, "batch", "batches")
    ('package', 'packages', 'batches')
    """
    return one if number == 1 else many or f"{one}s"


def counted(number: int, one: str, many: str = "") -> str:
    """Return ``number`` with the noun that goes with it.

    >>> counted(1, "package"), counted(2, "package")
    ('1 package', '2 packages')
    """
    return f"{number} {noun(number, one, many)}"
