"""Debian's package lists (``Packages`` files, as apt keeps them and mirrors serve them).

- A package depends on what ``Depends`` and ``Pre-Depends`` name, without versions and architectures.
- Of alternatives (``a | b``) the first that can be satisfied counts, as for a package builder.
- A virtual package is replaced by the first package, by name, that provides it: an index has real packages only.
  Without ``virtual``, dependencies on virtual packages are left out instead.
- Of several versions of a package, in one or several lists, the highest counts.
"""

import gzip
import lzma
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

from scoop_client.ecosystems.imported import Imported, LeftOut, Paths, build, listed_paths
from scoop_client.errors import InvalidInput
from scoop_client.inputs import read_bytes

APT_LISTS: Final = Path("/var/lib/apt/lists")

_CONTINUATION: Final = frozenset({" ", "\t"})
"""The first characters of a line that continues a field."""

_CLAUSE_NOISE: Final = re.compile(r"\([^)]*\)|\[[^\]]*\]|<[^>]*>|:[a-z0-9-]+|\s+")
"""Versions, architectures, build profiles and architecture qualifiers."""

_MAGIC: Final = {b"\x1f\x8b": "gz", b"\xfd7zXZ": "xz", b"\x04\x22\x4d\x18": "lz4", b"\x28\xb5\x2f\xfd": "zst"}


class Stanza(NamedTuple):
    """One version of a package."""

    version: str
    dependencies: tuple[tuple[str, ...], ...]
    """Each as its alternatives."""
    provides: tuple[str, ...]


def import_debian(paths: Paths = (), *, recommends: bool = False, virtual: bool = True) -> Imported:
    """Return the packages of ``Packages`` files; without ``paths``, of the lists that apt has on this machine.

    Versions and architectures do not count, nor do suggestions, conflicts, alternatives after the first that can be
    satisfied, and, without ``recommends``, recommendations. A virtual package is replaced by the first that provides
    it; without ``virtual``, dependencies on it do not count. Raises :exc:`~scoop_client.InvalidInput`.
    """
    chosen = listed_paths(paths) or find_apt_lists()
    stanzas: dict[str, Stanza] = {}
    for path in chosen:
        for name, stanza in parse_packages_file(decompress(read_bytes(path), path), path, recommends=recommends):
            known = stanzas.get(name)
            if known is None or compare_versions(stanza.version, known.version) > 0:
                stanzas[name] = stanza
    return resolve(stanzas, virtual=virtual)


def find_apt_lists(directory: Path = APT_LISTS) -> list[str]:
    """Return the package lists that apt has downloaded. Raises InvalidInput if it has downloaded none."""
    found = sorted(str(path) for path in directory.glob("*_Packages*") if path.is_file())
    if not found:
        raise InvalidInput(str(directory), "no package list: run apt-get update, or name a Packages file")
    return found


def decompress(data: bytes, path: str) -> str:
    """Return the text of a package list, which its first bytes show to be plain, gz, xz, lz4 or zst."""
    kind = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), "")
    try:
        match kind:
            case "gz":
                data = gzip.decompress(data)
            case "xz":
                data = lzma.decompress(data)
            case "lz4":
                import lz4.frame  # noqa: PLC0415  # an extra

                data = lz4.frame.decompress(data)
            case "zst":
                data = b"".join(_zstd_frames(data))
        return data.decode("utf-8", "replace")
    except ImportError as error:
        raise InvalidInput(path, f"{kind} needs an extra: pip install 'scoop-client[debian]'") from error
    except Exception as error:  # each module has exceptions of its own
        raise InvalidInput(path, f"broken {kind}: {error}") from error


def _zstd_frames(data: bytes) -> Iterator[bytes]:
    """Yield the content of each frame. Raises EOFError if the last one is truncated."""
    import zstandard  # noqa: PLC0415  # an extra

    while data:
        frame = zstandard.ZstdDecompressor().decompressobj()
        yield frame.decompress(data)
        if not frame.eof:
            raise EOFError("truncated")
        data = frame.unused_data


def parse_packages_file(text: str, path: str, *, recommends: bool = False) -> Iterator[tuple[str, Stanza]]:
    r"""Yield the packages of a list with their names. Raises InvalidInput for a list without packages.

    >>> text = "Package: vim\nVersion: 2:9.1\nDepends: libc6 (>= 2.39), vim-common | vim-tiny:any\n"
    >>> dict(parse_packages_file(text, "list"))["vim"].dependencies
    (('libc6',), ('vim-common', 'vim-tiny'))
    """
    found = False
    for block in f"\n{text}".split("\n\n"):
        stanza = f"\n{block}\n"
        name = _field(stanza, "Package")
        if not name:
            continue
        found = True
        wanted = f"{_field(stanza, 'Pre-Depends')},{_field(stanza, 'Depends')}"
        if recommends:
            wanted += f",{_field(stanza, 'Recommends')}"
        provides = _field(stanza, "Provides")
        yield (
            name,
            Stanza(
                _field(stanza, "Version"),
                tuple(_parse_relations(wanted)),
                tuple(chain.from_iterable(_parse_relations(provides))) if provides else (),
            ),
        )
    if not found and text.strip():
        raise InvalidInput(path, "expected a package list with the field Package")


def _field(stanza: str, name: str) -> str:
    """Return the value of a field, or nothing. A find is many times as fast as a regular expression for all fields."""
    start = stanza.find(f"\n{name}:")
    if start < 0:
        return ""
    start += len(name) + 2
    end = stanza.find("\n", start)
    while stanza[end + 1 : end + 2] in _CONTINUATION:
        end = stanza.find("\n", end + 1)
    return stanza[start:end].strip()


def _parse_relations(text: str) -> Iterator[tuple[str, ...]]:
    """Yield the relations of a field, each as its alternatives."""
    for relation in _CLAUSE_NOISE.sub("", text).split(","):
        if names := tuple(filter(None, relation.split("|"))):
            yield names


def resolve(stanzas: Mapping[str, Stanza], *, virtual: bool = True) -> Imported:
    """Return the packages with the dependencies that were chosen among alternatives and providers."""
    providers: dict[str, list[str]] = {}
    for name, stanza in stanzas.items():
        for provided in stanza.provides:
            providers.setdefault(provided, []).append(name)
    provider_of = {name: min(names) for name, names in providers.items()}
    chosen: dict[str, list[str]] = {}
    unsatisfied: list[LeftOut] = []
    virtual_count = 0
    for name, stanza in stanzas.items():
        chosen[name] = []
        for alternatives in stanza.dependencies:
            usable = [each for each in alternatives if each in stanzas or each in provider_of]
            found = next((each for each in usable if virtual or each in stanzas), None)
            if found is None and usable:
                virtual_count += 1
            elif found is None:
                reason = f"{name} depends on it, and no package of the lists satisfies that"
                unsatisfied.append(LeftOut(" | ".join(alternatives), reason))
            elif found in stanzas:
                chosen[name].append(found)
            # A package may provide what it depends on, and then needs no other.
            elif name not in providers[found]:
                chosen[name].append(provider_of[found])
    imported = build(chosen)
    imported.left_out += unsatisfied
    if virtual_count:
        imported.notes.append(f"dependencies on virtual packages, left out on request: {virtual_count:,}")
    return imported


def compare_versions(left: str, right: str) -> int:
    """Return a number below, equal to or above 0, as ``left`` is older than, equal to or newer than ``right``.

    The order is that of Debian's policy, section 5.6.12.

    >>> compare_versions("1.0~rc1", "1.0") < 0 < compare_versions("1:0.9", "1.10")
    True
    >>> compare_versions("1.10-1", "1.9-3") > 0, compare_versions("1.0", "1.00")
    (True, 0)
    """
    first, second = _sort_key(left), _sort_key(right)
    return (first > second) - (first < second)


def _sort_key(version: str) -> tuple[int, list[tuple[list[int], int]], list[tuple[list[int], int]]]:
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
    return int(epoch) if epoch.isdecimal() else 0, _part_key(upstream), _part_key(revision)


def _part_key(text: str) -> list[tuple[list[int], int]]:
    """Return text and number, in turn; "~" sorts before the end, and letters before everything else."""
    pieces = re.findall(r"([^0-9]*)([0-9]*)", text)
    return [([*map(_character_rank, piece), 0], int(digits or "0")) for piece, digits in pieces]


def _character_rank(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256
