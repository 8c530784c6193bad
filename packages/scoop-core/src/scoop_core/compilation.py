"""Declarations of classes for the optional compiled form; the pure one ignores them."""

from typing import TYPE_CHECKING

__all__ = ["mypyc_attr"]

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr
else:

    def mypyc_attr(**_attributes):
        """Return a decorator that leaves a class unchanged."""
        return lambda cls: cls
