"""The result of an import: packages under names that the protocol can hold, and all that was left out, with reasons.

Names are mapped reversibly: each byte (of UTF-8) that is not allowed, and ``~`` itself, becomes ``~`` and two
hexadecimal digits. A name that is empty or too long is rejected.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from scoop_core import MAX_NAME_LENGTH, NAME_CHARACTERS, DependencyGraph

Paths: TypeAlias = str | Path | Iterable[str | Path]
"""One path, or several; ``-`` is standard input."""

_ESCAPED: Final = re.compile(f"[^{re.escape(NAME_CHARACTERS.replace('~', ''))}]")
_ESCAPE: Final = re.compile("~([0-9A-F]{2})")


def encode_name(name: str) -> str:
    """Return the name under which ``name`` is indexed.

    >>> encode_name("requests[socks]"), encode_name("@types/node"), encode_name("a~b")
    ('requests~5Bsocks~5D', '@types/node', 'a~7Eb')
    """
    return _ESCAPED.sub(lambda match: "".join(f"~{byte:02X}" for byte in match[0].encode()), name)


def decode_name(name: str) -> str:
    """Return the name that :func:`encode_name` encoded.

    >>> decode_name("requests~5Bsocks~5D")
    'requests[socks]'
    """
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), name).encode("latin-1").decode()


def listed_paths(paths: Paths) -> list[str]:
    """Return the paths as texts."""
    return [str(path) for path in ((paths,) if isinstance(paths, str | Path) else paths)]


class LeftOut(NamedTuple):
    """A package or a dependency that was not imported, by its name in the ecosystem, and the reason."""

    name: str
    reason: str


@dataclass(slots=True)
class Imported:
    """The packages of an ecosystem."""

    packages: dict[str, list[str]] = field(default_factory=dict)
    """The dependencies of each, by the names of :func:`encode_name`; every dependency is a package."""
    left_out: list[LeftOut] = field(default_factory=list)
    """What the input has or names, but ``packages`` has not."""
    notes: list[str] = field(default_factory=list)
    """What a person should know of the whole input."""

    def to_graph(self) -> DependencyGraph:
        """Return the graph of the packages.

        >>> Imported({"isl": ["gmp"], "gmp": []}).to_graph()
        <DependencyGraph: 2 packages: isl, gmp>
        """
        return DependencyGraph.from_mapping(self.packages)


def build(dependencies: Mapping[str, Iterable[str]]) -> Imported:
    """Return the packages with mapped names. Dependencies that are no packages are left out.

    >>> build({"a b": ["c", "a b"], "": []}).packages
    {'a~20b': ['a~20b']}
    """
    imported = Imported()
    encoded: dict[str, str] = {}
    for name in dependencies:
        try:
            text = encode_name(name)
        except UnicodeEncodeError:  # JSON can hold half of a surrogate pair
            imported.left_out.append(LeftOut(name, "the name is not valid Unicode"))
            continue
        if not text:
            imported.left_out.append(LeftOut(name, "the name is empty"))
        elif len(text) > MAX_NAME_LENGTH:
            imported.left_out.append(LeftOut(name, f"the name has {len(text)} characters (limit {MAX_NAME_LENGTH})"))
        else:
            encoded[name] = text
    for name, text in encoded.items():
        listed: dict[str, None] = {}
        for dependency in dependencies[name]:
            if (known := encoded.get(dependency)) is not None:
                listed[known] = None
            else:
                imported.left_out.append(LeftOut(dependency, f"{name} depends on it, and it is not among the packages"))
        imported.packages[text] = list(listed)
    return imported
