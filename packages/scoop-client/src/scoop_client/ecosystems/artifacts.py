"""The name and the dependencies of one file that is to be published: a .deb, a wheel or an npm tarball.

They are read as the imports read them. What an import finds in its input, such as which of several alternatives exists,
is asked of the index here:

- A .deb: ``Depends`` and ``Pre-Depends``, without versions and architectures. Of alternatives the first one that is
  indexed counts. What the package provides itself needs no other. Which packages provide a virtual one is not in the
  file, so that is not indexed, unless it is an alternative to one that is.
- A wheel: requirements whose markers hold for the running interpreter, without versions. The requirement of an extra
  is one of the package ``name[extra]``. The extras that the wheel offers are not read.
- An npm tarball: dependencies and peer dependencies, without versions; optional ones only if they are indexed.
"""

import re
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from itertools import takewhile
from pathlib import Path
from typing import Final, NamedTuple

from scoop_client.ecosystems.debian import parse_packages_file
from scoop_client.ecosystems.imported import encode_name
from scoop_client.ecosystems.npm import wanted_names
from scoop_client.ecosystems.python import active_names, normalize, parse_requirements
from scoop_client.ecosystems.values import table, text
from scoop_client.errors import InvalidInput
from scoop_client.inputs import load_json


class Need(NamedTuple):
    """A dependency, as the names of the protocol that satisfy it."""

    alternatives: tuple[str, ...]
    is_optional: bool = False


class Artifact(NamedTuple):
    """The content of a file."""

    package: str
    needs: tuple[Need, ...]

    def names(self) -> tuple[str, ...]:
        """Return the names that :meth:`choose` must know to be indexed or not."""
        return tuple(dict.fromkeys(name for need in self.needs for name in need.alternatives))

    def choose(self, indexed: AbstractSet[str]) -> tuple[str, ...]:
        """Return the dependencies in an index with these packages; one that is missing by its first alternative.

        >>> needs = (Need(("exim4", "postfix")), Need(("fsevents",), is_optional=True), Need(("libc6",)))
        >>> Artifact("mailx", needs).choose({"postfix"})
        ('postfix', 'libc6')
        """
        chosen: dict[str, None] = {}
        for alternatives, is_optional in self.needs:
            found = next((name for name in alternatives if name in indexed), None)
            if found is not None or not is_optional:
                chosen[found or alternatives[0]] = None
        return tuple(chosen)


def read_artifact(path: str) -> Artifact:
    """Return the content of a file, whose suffix tells its kind. Raises InvalidInput."""
    read = _READERS.get(Path(path).suffix)
    if read is None:
        raise InvalidInput(path, f"expected one of {', '.join(_READERS)}; name the package and --needs instead")
    try:
        artifact = read(path)
    except OSError as error:
        raise InvalidInput(path, (error.strerror or str(error)).lower()) from error
    except InvalidInput:
        raise
    except Exception as error:  # each library has exceptions of its own
        raise InvalidInput(path, f"broken {Path(path).suffix}: {' '.join(str(error).split())}") from error
    if not artifact.package:
        raise InvalidInput(path, "it has no name")
    return artifact


def _read_deb(path: str) -> Artifact:
    try:
        from debian.debfile import DebFile  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise InvalidInput(path, "a .deb needs an extra: pip install 'scoop-client[debian]'") from error
    with DebFile(path) as deb:
        control = deb.control.get_content("control")
    assert isinstance(control, bytes)  # noqa: S101  # no encoding was given
    [(name, stanza)] = parse_packages_file(control.decode("utf-8", "replace").strip(), path)
    own = {name, *stanza.provides}
    needs = []
    for alternatives in stanza.dependencies:
        # After what the package provides itself, no alternative counts, and none of those before it is necessary.
        before = tuple(map(encode_name, takewhile(lambda name: name not in own, alternatives)))
        needs.append(Need(before, is_optional=len(before) < len(alternatives)))
    return Artifact(encode_name(name), tuple(needs))


def _read_wheel(path: str) -> Artifact:
    try:
        from packaging.metadata import parse_email  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise InvalidInput(path, "a wheel needs an extra: pip install 'scoop-client[python]'") from error
    with zipfile.ZipFile(path) as wheel:
        file = _only(filter(re.compile(r"[^/]+\.dist-info/METADATA").fullmatch, wheel.namelist()), "METADATA", path)
        metadata, _ = parse_email(wheel.read(file))
    names = active_names(parse_requirements(metadata.get("requires_dist", ()), path), "", {})
    needs = tuple(Need((encode_name(name),)) for name in names)
    return Artifact(encode_name(normalize(metadata.get("name", ""))), needs)


def _read_npm(path: str) -> Artifact:
    with tarfile.open(path, "r:gz") as tarball:
        # npm ignores the name of the directory.
        found = filter(re.compile(r"[^/]+/package\.json").fullmatch, tarball.getnames())
        file = tarball.extractfile(_only(found, "package.json", path))
        assert file is not None  # noqa: S101  # it is a file
        manifest = table(load_json(file.read(), path))
    specs = {
        name: text(spec)
        for field in ("dependencies", "peerDependencies", "optionalDependencies")
        for name, spec in table(manifest.get(field)).items()
    }
    return Artifact(
        encode_name(text(manifest.get("name"))),
        tuple(
            Need((encode_name(_target(name, specs[name])),), is_optional)
            for name, is_optional in wanted_names("node_modules/", manifest)
        ),
    )


def _only(found: Iterable[str], what: str, path: str) -> str:
    names = list(found)
    if len(names) != 1:
        raise InvalidInput(path, f"expected one {what} in a directory, got {len(names)}")
    return names[0]


def _target(name: str, spec: str) -> str:
    """Return the package that is installed as ``name``.

    >>> _target("strip", "npm:@scope/strip-ansi@^6.0.1"), _target("debug", "^4.0.0")
    ('@scope/strip-ansi', 'debug')
    """
    alias = spec.removeprefix("npm:")
    if alias == spec:
        return name
    package, at, _ = alias.rpartition("@")
    return package if at and package else alias


_READERS: Final[Mapping[str, Callable[[str], Artifact]]] = {".deb": _read_deb, ".whl": _read_wheel, ".tgz": _read_npm}
