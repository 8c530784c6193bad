"""The forms of the packages: pure Python, and compiled by mypyc."""

from typing import Final

import pytest

import scoop_core.graph_state

IS_COMPILED: Final = not str(scoop_core.graph_state.__file__).endswith(".py")

needs_docstrings: Final = pytest.mark.skipif(IS_COMPILED, reason="compiled functions have no docstrings")
needs_slots: Final = pytest.mark.skipif(IS_COMPILED, reason="compiled classes have fields of their own, not __slots__")
needs_patching: Final = pytest.mark.skipif(IS_COMPILED, reason="compiled code calls the methods it was compiled with")
