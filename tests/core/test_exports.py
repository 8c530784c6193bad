"""The public names of scoop_core."""

import importlib
import inspect
import pkgutil
from types import ModuleType

import scoop_core
from scoop_core import ScoopError

MODULES = sorted(module.name for module in pkgutil.iter_modules(scoop_core.__path__, "scoop_core."))


def test_all_lists_exactly_the_public_names() -> None:
    public = {
        name
        for name, value in vars(scoop_core).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public == set(scoop_core.__all__)


def test_every_exception_is_exported() -> None:
    for module in map(importlib.import_module, MODULES):
        for name, value in vars(module).items():
            if inspect.isclass(value) and issubclass(value, ScoopError):
                assert name in scoop_core.__all__


def test_the_version_has_three_numbers() -> None:
    assert [part.isdecimal() for part in scoop_core.__version__.split(".")] == [True, True, True]
