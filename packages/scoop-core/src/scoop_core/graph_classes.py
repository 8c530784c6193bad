"""The class of the graphs that a decoder makes: a type variable whose default only type checkers need.

This module is never compiled, because the compiler takes the branch of type checkers.
"""

from typing import TYPE_CHECKING, TypeVar

from scoop_core.graph import DependencyGraph

if TYPE_CHECKING:
    import typing_extensions  # for a type checker only: TypeVar of Python 3.11 has no default

    Made = typing_extensions.TypeVar("Made", bound=DependencyGraph, default=DependencyGraph)
else:
    Made = TypeVar("Made", bound=DependencyGraph)
