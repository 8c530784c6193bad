"""The public API as a whole: its samples run, every docstring shows an example, importing it has no side effects."""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import scoop_core

from tests.library import api_samples
from tests.support.forms import needs_docstrings

SAMPLES = [value for name, value in vars(api_samples).items() if name.startswith("sample_")]


def public_objects() -> Iterator[tuple[str, object]]:
    """Yield each public class, method, property and function, with its dotted name."""
    for name in scoop_core.__all__:
        value = getattr(scoop_core, name)
        if inspect.isfunction(value):
            yield name, value
        elif inspect.isclass(value):
            yield name, value
            for attribute, member in inspect.getmembers_static(value):
                function = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
                function = function.fget if isinstance(function, property) else function
                is_ours = inspect.isfunction(function) and (function.__module__ or "").startswith("scoop_core.")
                if is_ours and not attribute.startswith("_"):
                    yield f"{name}.{attribute}", function


PUBLIC = dict(public_objects())


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.__name__)
def test_a_sample_of_the_api_runs(sample: Callable[[], None]) -> None:
    sample()


def test_the_samples_use_every_public_name() -> None:
    tree = ast.parse(inspect.getsource(api_samples))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    # MalformedResponse and UnsupportedFormat add nothing to the errors that they derive from.
    assert set(scoop_core.__all__) - used == {"MalformedResponse", "UnsupportedFormat"}


@needs_docstrings
def test_the_public_objects_are_found() -> None:
    assert {
        "DependencyGraph.from_mapping",
        "DependencyGraph.find_path",
        "Connection.receive",
        "Request.of",
    } <= PUBLIC.keys()
    assert {"ClientConnection.unanswered", "parse_request", "Changes.clear", "PeerViolation"} <= PUBLIC.keys()
    assert len(PUBLIC) > 60


@needs_docstrings
@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_docstring_shows_an_example(name: str) -> None:
    assert ">>> " in (inspect.getdoc(PUBLIC[name]) or "")


def test_importing_it_does_nothing_else_and_loads_little() -> None:
    program = """
import sys, threading, warnings
warnings.simplefilter("error")
before = set(sys.modules)
import scoop_core
print(*sorted({name.partition(".")[0].lstrip("_") for name in set(sys.modules) - before}))
assert threading.active_count() == 1
"""
    run = subprocess.run([sys.executable, "-I", "-c", program_for(program)], capture_output=True, text=True, check=True)
    assert run.stderr == ""
    # Nothing that reads files, and none of what makes an import slow, as dataclasses with its inspect does.
    costly = {"asyncio", "ast", "dataclasses", "inspect", "json", "logging", "pathlib", "socket", "subprocess"}
    assert "scoop" in run.stdout
    assert not costly & set(run.stdout.split())


def program_for(program: str) -> str:
    """Return ``program`` so that it finds the package that is tested, in an isolated interpreter too."""
    return f"import sys; sys.path.insert(0, {str(Path(scoop_core.__file__).parent.parent)!r})\n{program}"


def test_no_example_needs_anything_private() -> None:
    root = Path(__file__).parent.parent.parent
    sources = [*(root / "examples").glob("*.py"), *(root / "packages" / "scoop-server" / "src").rglob("*.py")]
    assert len(sources) > 10
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scoop_core"):
                if node.module == "scoop_core.compilation":  # it changes nothing, and a program may do without
                    continue
                assert node.module == "scoop_core", source.name
                assert {alias.name for alias in node.names} <= set(scoop_core.__all__), source.name
            if isinstance(node, ast.Import):
                assert not any(alias.name.startswith("scoop_core.") for alias in node.names), source.name


def test_the_reference_lists_every_public_name() -> None:
    index = Path(__file__).parent.parent.parent / "docs" / "reference" / "index.rst"
    listed = re.findall(r"^\.\. (?:auto|py:)\w+:: (\w+)$", index.read_text("utf-8"), flags=re.MULTILINE)
    assert sorted(listed) == sorted(scoop_core.__all__)
