"""What the optional compiled form needs to know about classes; the pure one ignores it."""

from typing import TYPE_CHECKING

__all__ = ["mypyc_attr"]

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr
else:

    def mypyc_attr(**_attributes):
        """Return a decorator that leaves a class unchanged."""
        return lambda cls: cls
