"""Python: the distributions of an installed environment, or the packages of a ``pylock.toml`` (PEP 751).

- Names are normalised (PEP 503): ``Foo.Bar`` is ``foo-bar``.
- An extra is a package of its own, ``name[extra]``, which depends on ``name`` and on what the extra adds. It is there
  if something depends on it. The protocol's name for it is ``name~5Bextra~5D``.
- A requirement whose marker is false for the running interpreter does not count.
- In a lock file, a package that is locked in several versions is ``name@version``.
"""

import importlib.metadata
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from scoop_client.ecosystems.imported import Imported, Paths, build, listed_paths
from scoop_client.ecosystems.values import Table, tables, text
from scoop_client.errors import InvalidInput
from scoop_client.inputs import load_toml, read_bytes

if TYPE_CHECKING:
    from packaging.requirements import Requirement


def import_python(paths: Paths = ()) -> Imported:
    """Return the packages of environments and lock files; without ``paths``, of the running environment.

    A path is a ``pylock.toml``, an environment or a directory of distributions. A requirement whose marker is false for
    the running interpreter does not count, nor does an extra that nothing needs. Raises
    :exc:`~scoop_client.InvalidInput`, also if the extra ``python`` of this package is not installed.
    """
    dependencies: dict[str, list[str]] = {}
    notes: list[str] = []
    chosen = listed_paths(paths)
    for path in chosen:
        if Path(path).is_file():
            locked = _read_lock(path)
            if not any(locked.values()):
                notes.append(f"{path} records no dependencies: the tool that wrote it leaves them out")
            dependencies |= locked
        else:
            dependencies |= read_environment(_site_directories(path), path)
    imported = build(dependencies if chosen else read_environment(sys.path, "the running environment"))
    imported.notes += notes
    return imported


def normalize(name: str) -> str:
    """Return the normalised name of PEP 503.

    >>> normalize("Foo._Bar")
    'foo-bar'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def _site_directories(path: str) -> list[str]:
    """Return the directories of distributions of an environment, or ``path`` itself."""
    found = sorted({*Path(path).glob("lib/python3*/site-packages"), *Path(path).glob("Lib/site-packages")})
    return [str(each) for each in found] or [path]


def read_environment(directories: Iterable[str], source: str) -> dict[str, list[str]]:
    """Return the dependencies of each distribution in ``directories``, and of each extra that is used."""
    distributions = {
        normalize(distribution.metadata["Name"]): distribution
        for distribution in reversed(list(importlib.metadata.distributions(path=list(directories))))
        if distribution.metadata["Name"]
    }
    if not distributions:
        raise InvalidInput(source, "no installed distribution")
    requirements = {name: parse_requirements(each.requires or (), source) for name, each in distributions.items()}
    packages: dict[str, list[str]] = {}
    extras: dict[str, None] = {}
    for name, listed in requirements.items():
        packages[name] = list(active_names(listed, "", extras))
    pending = list(extras)
    for full in pending:  # grows while extras use further extras
        name, _, extra = full.removesuffix("]").partition("[")
        if name in requirements:
            added = active_names(requirements[name], extra, extras)
            packages[full] = [name, *(each for each in dict.fromkeys(added) if each != full)]
        pending += [each for each in extras if each not in pending]
    return packages


def parse_requirements(lines: Iterable[str], source: str) -> list["Requirement"]:
    """Return the parsed requirements. Raises InvalidInput."""
    try:
        from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise InvalidInput(source, "markers need an extra: pip install 'scoop-client[python]'") from error
    found = []
    for line in lines:
        try:
            found.append(Requirement(line))
        except InvalidRequirement as error:
            raise InvalidInput(source, f"invalid requirement {line!r}: {error}") from error
    return found


def active_names(requirements: Iterable["Requirement"], extra: str, extras: dict[str, None]) -> Iterator[str]:
    """Yield the packages that ``requirements`` name for ``extra``; note the extras among them."""
    for requirement in requirements:
        is_active = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
        if not is_active or (extra and (requirement.marker is None or requirement.marker.evaluate({"extra": ""}))):
            continue
        name = normalize(requirement.name)
        if not requirement.extras:
            yield name
        for each in sorted(requirement.extras):
            full = f"{name}[{normalize(each)}]"
            extras[full] = None
            yield full


def _read_lock(path: str) -> dict[str, list[str]]:
    lock = load_toml(read_bytes(path), path)
    entries = tables(lock.get("packages"))
    if "lock-version" not in lock:
        raise InvalidInput(path, "expected a lock file with lock-version and [[packages]]")
    entries = [entry for entry in entries if _is_active_entry(entry, path)]
    count = Counter(normalize(text(entry.get("name"))) for entry in entries)

    def name_of(entry: Table) -> str:
        name, version = normalize(text(entry.get("name"))), text(entry.get("version"))
        return f"{name}@{version}" if count[name] > 1 and version else name

    return {
        name_of(entry): [
            next((name_of(each) for each in entries if _matches(each, wanted)), text(wanted.get("name")))
            for wanted in tables(entry.get("dependencies"))
        ]
        for entry in entries
    }


def _matches(entry: Table, wanted: Table) -> bool:
    """Return whether ``entry`` has all that ``wanted`` says of it, as PEP 751 defines a dependency."""
    return all(
        normalize(text(entry.get(key))) == normalize(text(value)) if key == "name" else entry.get(key) == value
        for key, value in wanted.items()
    )


def _is_active_entry(entry: Table, path: str) -> bool:
    marker = text(entry.get("marker"))
    if not marker:
        return True
    try:
        from packaging.markers import InvalidMarker, Marker  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise InvalidInput(path, "markers need an extra: pip install 'scoop-client[python]'") from error
    try:
        return Marker(marker).evaluate({"extras": frozenset(), "dependency_groups": frozenset()}, context="lock_file")
    except InvalidMarker as error:
        raise InvalidInput(path, f"invalid marker {marker!r}: {error}") from error
