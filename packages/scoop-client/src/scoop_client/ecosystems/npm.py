"""package-lock.json, versions 2 and 3: each package is ``name@version``, or ``name`` if it has no version.

- A dependency is looked up as Node.js does: in the ``node_modules`` of the package, then of each directory above it.
- Dependencies, optional and peer dependencies count, and the development dependencies of the project itself.
  An optional dependency or an optional peer that is not installed does not count.
- A package that is installed at several places has the dependencies of all of them.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from scoop_client.ecosystems.imported import Imported, Paths, build, listed_paths
from scoop_client.ecosystems.values import Table, table, text
from scoop_client.errors import InvalidInput
from scoop_client.inputs import STDIN, load_json, read_bytes

_MODULES: Final = "node_modules/"

_VERSIONS: Final = (2, 3)


def import_npm(paths: Paths = (), *, names: bool = False) -> Imported:
    """Return the packages of ``package-lock.json`` files or their directories, as Node.js resolves them.

    Without ``paths``, of the current directory. With ``names``, each name without its version is a package too, which
    depends on all of its versions. Development dependencies of others than the project and its workspaces do not count,
    nor do optional ones that are not installed. Raises :exc:`~scoop_client.InvalidInput`.
    """
    dependencies: dict[str, list[str]] = {}
    for path in listed_paths(paths) or ["package-lock.json"]:
        file = f"{path}/package-lock.json" if path != STDIN and Path(path).is_dir() else path
        for name, listed in _read(file):
            dependencies.setdefault(name, []).extend(listed)
    if names:
        versions: dict[str, list[str]] = {}
        for full in dependencies:
            name = full.rpartition("@")[0]
            if name:  # not so without a version, of a project or in @scope/name
                versions.setdefault(name, []).append(full)
        dependencies = versions | dependencies
    return build(dependencies)


def _read(path: str) -> Iterator[tuple[str, list[str]]]:
    lock = table(load_json(read_bytes(path), path))
    if lock.get("lockfileVersion") not in _VERSIONS or "packages" not in lock:
        version = lock.get("lockfileVersion")
        raise InvalidInput(
            path, f"expected lockfileVersion 2 or 3, got {version!r}; npm install --lockfile-version 3 converts it"
        )
    entries = {place: table(entry) for place, entry in table(lock.get("packages")).items()}
    names = {place: _name(place, entry, lock, path) for place, entry in entries.items()}
    for place, entry in entries.items():
        if entry.get("link") is True:
            continue  # a link; its target is the package
        yield (
            names[place],
            [
                names[_target(found, entries)] if found is not None else wanted
                for wanted, is_optional in wanted_names(place, entry)
                if (found := _find(place, wanted, entries)) is not None or not is_optional
            ],
        )


def _name(place: str, entry: Table, lock: Table, path: str) -> str:
    """Return ``name@version``; the name is the last part of the place unless the entry has one."""
    name = text(entry.get("name")) or (place.rpartition(_MODULES)[2] if place else text(lock.get("name")))
    version = text(entry.get("version"))
    if not name and not place:
        name = Path(path).resolve().parent.name
    return f"{name}@{version}" if version else name


def wanted_names(place: str, entry: Table) -> Iterator[tuple[str, bool]]:
    """Yield the names on which a package depends, and whether each may be missing."""
    optional = table(entry.get("optionalDependencies"))
    peers_meta = table(entry.get("peerDependenciesMeta"))
    fields = ["dependencies", "peerDependencies", "optionalDependencies"]
    if _MODULES not in place:  # the project, and the packages of its workspaces
        fields.append("devDependencies")
    for field in fields:
        for name in table(entry.get(field)):
            is_optional_peer = field == "peerDependencies" and table(peers_meta.get(name)).get("optional") is True
            yield name, name in optional or is_optional_peer


def _find(place: str, name: str, entries: Mapping[str, Table]) -> str | None:
    """Return the place of ``name`` as seen from ``place``."""
    directory = place
    while True:
        candidate = f"{directory}/{_MODULES}{name}" if directory else f"{_MODULES}{name}"
        if candidate in entries:
            return candidate
        if not directory:
            return None
        # Up to the directory that holds this node_modules, or the parent directory of a workspace.
        above, found, _ = directory.rpartition(f"/{_MODULES}")
        directory = above if found else "" if directory.startswith(_MODULES) else directory.rpartition("/")[0]


def _target(place: str, entries: Mapping[str, Table]) -> str:
    entry = entries[place]
    target = text(entry.get("resolved"))
    return target if entry.get("link") is True and target in entries else place
