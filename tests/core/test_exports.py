"""What scoop_core offers, and what it stays away from."""

import ast
import importlib
import importlib.resources
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest

import scoop_core
from scoop_core import ScoopError

MODULES = sorted(module.name for module in pkgutil.iter_modules(scoop_core.__path__, "scoop_core."))
SOURCES = sorted(Path(scoop_core.__path__[0]).glob("*.py"))

# Nothing of it does I/O or knows a clock, chance, the environment, threads or a log.
PURE = {"abc", "bisect", "collections", "dataclasses", "enum", "functools", "heapq", "itertools", "operator", "re"}
PURE |= {"json", "scoop_core", "types", "typing", "xml", "zlib"}


def test_all_is_sorted_and_names_nothing_twice() -> None:
    # Constants first, then classes, then functions, as the linter sorts them.
    def rank(name: str) -> tuple[int, str]:
        return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)

    assert scoop_core.__all__ == sorted(set(scoop_core.__all__), key=rank)


def test_all_is_exactly_what_is_public() -> None:
    public = {
        name
        for name, value in vars(scoop_core).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public == set(scoop_core.__all__)


@pytest.mark.parametrize("name", scoop_core.__all__)
def test_every_export_can_be_imported_and_is_documented(name: str) -> None:
    value = getattr(importlib.import_module("scoop_core"), name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value)
        assert value.__module__.startswith("scoop_core.")


def test_every_exception_is_exported() -> None:
    for module in map(importlib.import_module, MODULES):
        for name, value in vars(module).items():
            if inspect.isclass(value) and issubclass(value, ScoopError):
                assert name in scoop_core.__all__


def test_the_version_has_three_numbers() -> None:
    assert [part.isdecimal() for part in scoop_core.__version__.split(".")] == [True, True, True]


def test_the_package_says_that_it_is_typed() -> None:
    assert importlib.resources.files("scoop_core").joinpath("py.typed").is_file()


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_module_imports_nothing_but_what_is_pure(source: Path) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module
            assert not node.level
            imported.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Name):
            assert node.id not in {"open", "print", "input", "__import__", "exec", "eval"}
    assert imported <= PURE
