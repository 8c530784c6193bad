"""Homebrew's formulae, as its API (``formula.json``) and ``brew info --json=v2`` return them.

- A formula depends on its ``dependencies``; with ``build``, also on its ``build_dependencies``.
- Recommended and optional dependencies, and what macOS provides (``uses_from_macos``), do not count.
- A dependency under an alias or an old name is one on the formula.
"""

from scoop_client.ecosystems.imported import Imported, Paths, build, listed_paths
from scoop_client.ecosystems.values import Table, table, tables, text, texts
from scoop_client.errors import InvalidInput
from scoop_client.inputs import load_json, read_bytes


def import_homebrew(paths: Paths, *, build_dependencies: bool = False) -> Imported:
    """Return the formulae in files that are as ``formula.json`` of the API or as ``brew info --json=v2`` prints them.

    Recommended and optional dependencies do not count, nor does what macOS provides, nor, without
    ``build_dependencies``, what only a build needs. Raises :exc:`~scoop_client.InvalidInput`.
    """
    formulae: dict[str, Table] = {}
    for path in listed_paths(paths):
        for formula in _read(path):
            formulae[text(formula.get("name"))] = formula
    names = {other: name for name, formula in formulae.items() for other in _other_names(formula)}
    names |= {name: name for name in formulae}
    dependencies: dict[str, list[str]] = {}
    for name, formula in formulae.items():
        listed = texts(formula.get("dependencies"))
        if build_dependencies:
            listed += texts(formula.get("build_dependencies"))
        dependencies[name] = [names.get(each, each) for each in listed]
    return build(dependencies)


def _other_names(formula: Table) -> list[str]:
    return [*texts(formula.get("aliases")), *texts(formula.get("oldnames")), text(formula.get("full_name"))]


def _read(path: str) -> list[Table]:
    value = load_json(read_bytes(path), path)
    if isinstance(value, dict):
        value = value.get("formulae", [value])
    formulae = tables(value)
    if not formulae or not all(text(table(formula).get("name")) for formula in formulae):
        raise InvalidInput(path, "expected formulae with names, as formula.json has them")
    return formulae
