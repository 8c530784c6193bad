"""Cargo.lock: each package is ``name@version``.

Versions 1 to 4 of the format are read. Packages with the same name and version from several sources are
``name@version@source``.
"""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from scoop_client.ecosystems.imported import Imported, Paths, build, listed_paths
from scoop_client.ecosystems.values import Table, tables, text, texts
from scoop_client.errors import InvalidInput
from scoop_client.inputs import STDIN, load_toml, read_bytes


class _Crate(NamedTuple):
    name: str
    version: str
    source: str


def import_cargo(paths: Paths = ()) -> Imported:
    """Return the packages of ``Cargo.lock`` files or their directories; without ``paths``, of the current directory.

    All dependencies count; features and platforms are not in the file. Raises :exc:`~scoop_client.InvalidInput`.
    """
    dependencies: dict[str, list[str]] = {}
    for path in listed_paths(paths) or ["Cargo.lock"]:
        file = f"{path}/Cargo.lock" if path != STDIN and Path(path).is_dir() else path
        entries = tables(load_toml(read_bytes(file), file).get("package"))
        if not entries:
            raise InvalidInput(file, "expected [[package]] tables")
        for name, listed in _packages(entries).items():
            dependencies.setdefault(name, []).extend(listed)
    return build(dependencies)


def _packages(entries: list[Table]) -> dict[str, list[str]]:
    crates = [_Crate(text(each.get("name")), text(each.get("version")), text(each.get("source"))) for each in entries]
    count = Counter((crate.name, crate.version) for crate in crates)
    names = {
        crate: f"{crate.name}@{crate.version}" + (f"@{crate.source}" if count[crate.name, crate.version] > 1 else "")
        for crate in crates
    }
    # A dependency is "name", "name version" or "name version (source)", as long as it must be to be unambiguous.
    known: dict[str, str] = {}
    for crate, name in names.items():
        known[crate.name] = known[f"{crate.name} {crate.version}"] = name
        known[f"{crate.name} {crate.version} ({crate.source})"] = name
    return {
        names[crate]: [known.get(each, each) for each in texts(entry.get("dependencies"))]
        for crate, entry in zip(crates, entries, strict=True)
    }
