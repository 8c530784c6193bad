"""Fair shares of the places: who holds how many, and who holds most."""

from collections import Counter


class Places:
    """Counts the places of each holder.

    >>> places = Places()
    >>> for holder in ("a", "b", "a", "c"):
    ...     places.take(holder)
    >>> places["a"], places.largest_holder
    (2, 'a')
    >>> places.release("a")
    >>> places["a"], places.largest_holder
    (1, 'b')
    """

    def __init__(self) -> None:
        self._counts = Counter[str]()
        self._holders: dict[int, dict[str, None]] = {}
        """The holders by the number of their places, each set in the order in which they came to have so many."""

    def __getitem__(self, holder: str) -> int:
        """Return the number of places of ``holder``."""
        return self._counts[holder]

    def take(self, holder: str) -> None:
        """Give ``holder`` one place more."""
        self._change(holder, 1)

    def release(self, holder: str) -> None:
        """Take a place from ``holder``."""
        self._change(holder, -1)

    @property
    def largest_holder(self) -> str:
        """The holder of most places, of several the one that has had so many for longest."""
        return next(iter(self._holders[max(self._holders)]))

    def _change(self, holder: str, step: int) -> None:
        # All counts below the largest one are common, so the holders of each are found without a search: a flood from
        # thousands of addresses asks for the largest at each of its connections.
        before = self._counts[holder]
        if before:
            holders = self._holders[before]
            del holders[holder]
            if not holders:
                del self._holders[before]
        self._counts[holder] = after = before + step
        if after:
            self._holders.setdefault(after, {})[holder] = None
        else:
            del self._counts[holder]
