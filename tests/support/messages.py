"""The messages of the programs, as templates: each string of their sources, with ``…`` for fields."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.support.pages import ROOT

SERVER_SOURCES: Final = sorted(
    path for name in ("server", "etcd") for path in ROOT.glob(f"packages/scoop-{name}/src/**/*.py")
)


def template_of(expression: ast.expr) -> str:
    """Return the text of a string expression, with ``…`` for fields; empty if it is none."""
    match expression:
        case ast.Constant(value=str(text)):
            return re.sub(r"%(\(\w+\))?[.0-9]*[a-z]", "…", text)
        case ast.JoinedStr(values=parts):
            return "".join(map(template_of, parts))
        case ast.FormattedValue(value=ast.Call(func=ast.Name(id="noun"), args=[_, ast.Constant(value=str(one))])):
            return f"{one}s"  # as for most numbers
        case ast.FormattedValue():
            return "…"
        case _:
            return ""


def templates(sources: list[Path]) -> Iterator[str]:
    """Yield the template of each string but the docstrings."""
    for path in sources:
        tree = ast.parse(path.read_text())
        statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in statements:
                yield template_of(node)


def is_message(text: str) -> bool:
    """Return whether the server may print ``text``, in which ``…`` stands for any field."""
    pattern = re.compile(".*".join(map(re.escape, text.split("…"))), re.DOTALL)
    return any(map(pattern.search, templates(SERVER_SOURCES)))
