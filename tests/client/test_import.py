"""The adapters of the ecosystems, on excerpts of real data and on what this machine has."""

import bz2
import gzip
import inspect
import json
import lzma
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import assert_type

import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from scoop_core import MAX_NAME_LENGTH, DependencyGraph, parse_name

from scoop_client import InvalidInput, ecosystems
from scoop_client.ecosystems import (
    Imported,
    LeftOut,
    Paths,
    decode_name,
    encode_name,
    import_cargo,
    import_debian,
    import_homebrew,
    import_npm,
    import_python,
    read_graph,
)
from scoop_client.ecosystems.debian import APT_LISTS, compare_versions
from scoop_client.ecosystems.imported import build

from tests.support.command import Scoop
from tests.support.process import WAIT_SECONDS, ServerProcess

DATA = Path(__file__).parent / "data"


class TestLibrary:
    def test_every_public_name_is_documented_and_in_order(self) -> None:
        assert ecosystems.__all__ == sorted(ecosystems.__all__)
        public = {name for name, value in vars(ecosystems).items() if name[0] != "_" and not inspect.ismodule(value)}
        assert public == set(ecosystems.__all__)
        for name in public - {"Paths"}:
            assert inspect.getdoc(getattr(ecosystems, name))

    @pytest.mark.parametrize("several", [False, True])
    @pytest.mark.parametrize("kind", [str, Path])
    def test_one_path_or_several(self, tmp_path: Path, kind: type[str] | type[Path], several: bool) -> None:
        contents: dict[str, tuple[Callable[[Paths], Imported], str, str]] = {
            "Packages": (import_debian, "Package: isl\nVersion: 1\nDepends: ppl\n", "isl"),
            "formula.json": (import_homebrew, '[{"name": "isl", "dependencies": ["ppl"]}]', "isl"),
            "pylock.toml": (
                import_python,
                "lock-version = '1.0'\n[[packages]]\nname = 'isl'\ndependencies = [{name = 'ppl'}]\n",
                "isl",
            ),
            "package-lock.json": (
                import_npm,
                '{"lockfileVersion": 3, "packages": {"": {"name": "isl", "dependencies": {"ppl": "1"}}}}',
                "isl",
            ),
            "Cargo.lock": (
                import_cargo,
                "[[package]]\nname = 'isl'\nversion = '1'\ndependencies = ['ppl']\n",
                "isl@1",
            ),
        }
        for name, (read, text, package) in contents.items():
            file = tmp_path / name
            file.write_text(text)
            imported = read([kind(file)] if several else kind(file))
            assert_type(imported, Imported)
            assert list(imported.to_graph()) == [package]
            [left_out] = imported.left_out
            assert_type(left_out, LeftOut)
            assert left_out.name == "ppl"

    def test_a_graph_is_read_from_a_path(self, tmp_path: Path) -> None:
        (tmp_path / "list").write_text("isl: gmp\n")
        assert_type(read_graph(tmp_path / "list"), DependencyGraph)
        assert read_graph(tmp_path / "list", "list") == read_graph(str(tmp_path / "list"))


class TestNames:
    @given(st.text())
    def test_the_mapping_is_reversible(self, name: str) -> None:
        name = name.encode("utf-8", "ignore").decode()
        assert decode_name(encode_name(name)) == name

    @given(st.lists(st.text(st.characters(codec="utf-8")), unique=True))
    def test_different_names_stay_different_and_valid(self, names: list[str]) -> None:
        encoded = list(map(encode_name, names))
        assert len(set(encoded)) == len(names)
        for text in filter(None, encoded):
            assert len(text) > MAX_NAME_LENGTH or parse_name(text) == text

    def test_half_of_a_surrogate_pair_in_json_is_left_out(self, scoop: Scoop, tmp_path: Path) -> None:
        text = rb'[{"name": "\ud800"}, {"name": "gmp"}]'
        result = scoop("import", "homebrew", stdin=text)
        assert (result.status, result.out) == (1, "INDEX|gmp|\n")  # something was left out
        assert "left out '\\ud800': the name is not valid Unicode\n" in result.err
        assert scoop("import", "homebrew", "--left-out", str(tmp_path / "file"), stdin=text).status == 1
        assert (tmp_path / "file").read_text() == "\\ud800: the name is not valid Unicode\n"

    @pytest.mark.parametrize("ecosystem", ["npm", "cargo", "homebrew", "python"])
    def test_an_input_that_is_missing_or_no_lock_file_is_one_line(
        self, scoop: Scoop, tmp_path: Path, ecosystem: str
    ) -> None:
        path = tmp_path / ("pylock.toml" if ecosystem == "python" else "file")
        missing = scoop("import", ecosystem, str(path))
        reason = "no installed distribution" if ecosystem == "python" else "no such file or directory"
        assert (missing.status, missing.err) == (2, f"scoop: cannot read {path}: {reason}\n")
        for content in (b"a = " + b"[" * 100_000, b"[" * 100_000, b"\xff"):
            path.write_bytes(content)
            broken = scoop("import", ecosystem, str(path))
            assert broken.status == 2
            assert broken.err.startswith(f"scoop: cannot read {path}: invalid ")

    def test_names_that_the_protocol_cannot_represent_are_left_out_with_a_reason(self) -> None:
        imported = build({"": [], "long" * 100: [], "a": ["b", "long" * 100]})
        assert imported.packages == {"a": []}
        assert [reason for _, reason in imported.left_out] == [
            "the name is empty",
            "the name has 400 characters (limit 255)",
            "a depends on it, and it is not among the packages",
            "a depends on it, and it is not among the packages",
        ]


DEBIAN = {
    "base-files": ["mawk"],  # the first package, by name, that provides awk
    "gcc-14-base": [],
    "libc6": ["libgcc-s1"],
    "libgcc-s1": ["gcc-14-base", "libc6"],
    "libterm-readkey-perl": ["perl", "perl-base", "libc6"],
    "mawk": ["libc6"],
    "original-awk": ["libc6"],
    "perl": ["perl-base"],
    "perl-base": ["libc6"],
    "exim4-base": ["systemd-sysv", "perl", "libc6"],  # the first alternative that exists
    "systemd-sysv": [],
}


def _plain(data: bytes) -> bytes:
    return data


class TestDebian:
    @pytest.mark.parametrize(
        "compress",
        [_plain, gzip.compress, lzma.compress, lz4.frame.compress, zstandard.compress],
        ids=["plain", "gz", "xz", "lz4", "zst"],
    )
    def test_every_compression(self, tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
        (tmp_path / "list").write_bytes(compress((DATA / "Packages").read_bytes()))
        assert import_debian([str(tmp_path / "list")]).packages == DEBIAN

    def test_recommended_packages(self) -> None:
        imported = import_debian([str(DATA / "Packages")], recommends=True)
        assert [name for name, _ in imported.left_out] == ["libidn2-0", "netbase"]

    def test_without_virtual_packages(self) -> None:
        imported = import_debian([str(DATA / "Packages")], virtual=False)
        assert imported.packages == DEBIAN | {"base-files": [], "libterm-readkey-perl": ["perl", "libc6"]}
        assert imported.left_out == []
        assert imported.notes == ["dependencies on virtual packages, left out on request: 2"]

    def test_of_several_versions_the_highest_counts(self) -> None:
        paths = [str(DATA / "Packages"), str(DATA / "Packages-security")]
        expected = DEBIAN | {"mawk": ["libc6", "libgcc-s1"]}
        assert import_debian(paths).packages == import_debian(reversed(paths)).packages == expected

    @pytest.mark.parametrize(
        ("older", "newer"),
        [
            ("1.0~rc1", "1.0"),
            ("1.0~~", "1.0~"),
            ("1.9", "1.10"),
            ("9", "1:0"),
            ("1.0", "1.0-1"),
            ("1.0-1", "1.0-1+b1"),
            ("1.0a", "1.0+"),
            ("1.0", "1.0a"),
            ("2.41-12+deb13u4", "2.41-12+deb13u5"),
        ],
    )
    def test_the_order_of_versions(self, older: str, newer: str) -> None:
        assert compare_versions(older, newer) < 0 < compare_versions(newer, older)
        assert compare_versions(older, older) == 0

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"no package list", "expected a package list with the field Package"),
            (gzip.compress(b"x")[:-4], "broken gz: "),
            (b"\xfd7zXZ\0", "broken xz: "),
            (b"\x28\xb5\x2f\xfd?", "broken zst: "),
            (bz2.compress(b"x"), "expected a package list"),
        ],
        ids=["text", "gz", "xz", "zst", "bz2"],
    )
    def test_invalid_files(self, tmp_path: Path, data: bytes, reason: str) -> None:
        (tmp_path / "list").write_bytes(data)
        with pytest.raises(InvalidInput) as caught:
            import_debian([str(tmp_path / "list")])
        assert reason in str(caught.value)

    @pytest.mark.campaign
    @pytest.mark.skipif(not list(APT_LISTS.glob("*_Packages*")), reason="this machine has no package lists of apt")
    def test_the_lists_of_this_machine(self) -> None:
        imported = import_debian()
        graph = imported.to_graph()
        assert len(graph) == len(imported.packages) > 0
        assert graph.to_requests()


FORMULAE = {
    "gmp": [],
    "isl": ["gmp"],
    "mpfr": ["gmp"],
    "python@3.13": ["openssl@3"],
    "openssl@3": [],
    "pkgconf": [],
    "gcc": ["gmp", "isl", "mpfr"],
}


class TestHomebrew:
    def test_formulae(self) -> None:
        imported = import_homebrew([str(DATA / "formula.json")])
        assert imported.packages == FORMULAE
        assert [name for name, _ in imported.left_out] == ["zstd"]

    def test_build_dependencies_and_aliases(self) -> None:
        imported = import_homebrew([str(DATA / "formula.json")], build_dependencies=True)
        assert imported.packages["gcc"] == ["gmp", "isl", "mpfr", "python@3.13"]
        assert imported.packages["python@3.13"] == ["openssl@3", "pkgconf"]

    def test_the_form_of_brew_info(self, tmp_path: Path) -> None:
        formulae = json.loads((DATA / "formula.json").read_text())
        (tmp_path / "info").write_text(json.dumps({"formulae": formulae, "casks": []}))
        (tmp_path / "one").write_text(json.dumps(formulae[0]))
        assert import_homebrew([str(tmp_path / "info")]).packages == FORMULAE
        assert import_homebrew([str(tmp_path / "one")]).packages == {"gmp": []}

    @pytest.mark.parametrize("text", ["", "[]", '[{"full_name": "gmp"}]', "1"])
    def test_invalid_files(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "file").write_text(text)
        with pytest.raises(InvalidInput):
            import_homebrew([str(tmp_path / "file")])


def make_distribution(directory: Path, name: str, *requires: str) -> None:
    """Install the metadata of a distribution."""
    metadata = directory / f"{name}-1.0.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *(f"Requires-Dist: {each}" for each in requires)]
    metadata.write_text("\n".join(lines) + "\n")


class TestPython:
    def test_extras_and_markers(self, tmp_path: Path) -> None:
        make_distribution(tmp_path, "My.App", "Requests[SOCKS,use-chardet]>=2", 'tomli; python_version < "3"')
        make_distribution(
            tmp_path,
            "requests",
            "idna>=2.5",
            'PySocks!=1.5.7; extra == "socks"',
            'requests[proxies]; extra == "use_chardet"',
            'idna[all]; extra == "proxies"',
            'never; extra == "unused"',
        )
        make_distribution(tmp_path, "PySocks")
        make_distribution(tmp_path, "idna", 'PySocks; extra == "all"')
        imported = import_python([str(tmp_path)])
        assert {decode_name(name): list(map(decode_name, names)) for name, names in imported.packages.items()} == {
            "my-app": ["requests[socks]", "requests[use-chardet]"],
            "requests": ["idna"],
            "pysocks": [],
            "idna": [],
            "requests[socks]": ["requests", "pysocks"],
            "requests[use-chardet]": ["requests", "requests[proxies]"],
            "requests[proxies]": ["requests", "idna[all]"],
            "idna[all]": ["idna", "pysocks"],
        }
        assert imported.left_out == []

    def test_packages_that_are_not_installed_are_left_out(self, tmp_path: Path) -> None:
        make_distribution(tmp_path / "lib/python3.11/site-packages", "app", "missing[extra]")
        imported = import_python([str(tmp_path)])
        assert imported.packages == {"app": []}
        assert [name for name, _ in imported.left_out] == ["missing[extra]"]

    def test_this_environment(self) -> None:
        packages = import_python().packages
        assert "scoop-core" in packages["scoop-client"]
        assert "pluggy" in packages["pytest"]

    def test_a_lock_file(self) -> None:
        imported = import_python([str(DATA / "pylock.toml")])
        assert imported.packages == {
            "attrs": [],
            "cattrs": ["attrs"],
            "numpy@2.2.3": [],
            "numpy@2.3.1": [],
            "typing-extensions": ["cattrs", "numpy@2.3.1"],
        }
        assert imported.notes == []

    def test_a_lock_file_without_dependencies(self, tmp_path: Path) -> None:
        path = tmp_path / "pylock.toml"
        path.write_text('lock-version = "1.0"\n[[packages]]\nname = "attrs"\n')
        imported = import_python([str(path)])
        assert (imported.packages, len(imported.notes)) == ({"attrs": []}, 1)

    @pytest.mark.parametrize("text", ["=", "x = 1", 'lock-version = "1.0"\n[[packages]]\nname = "a"\nmarker = "x"\n'])
    def test_invalid_lock_files(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "pylock.toml").write_text(text)
        with pytest.raises(InvalidInput):
            import_python([str(tmp_path / "pylock.toml")])

    def test_an_environment_without_distributions(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="no installed distribution"):
            import_python([str(tmp_path)])


NPM = {
    "demo@1.0.0": ["chalk@4.1.2", "debug@4.4.3", "ms@2.0.0"],
    "ansi-styles@4.3.0": ["color-convert@2.0.1"],
    "chalk@4.1.2": ["ansi-styles@4.3.0", "supports-color@7.2.0"],
    "color-convert@2.0.1": ["color-name@1.1.4"],
    "color-name@1.1.4": [],
    "debug@4.4.3": ["ms@2.1.3"],
    "ms@2.1.3": [],
    "has-flag@4.0.0": [],
    "ms@2.0.0": [],
    "supports-color@7.2.0": ["has-flag@4.0.0"],
    "@demo/tool@0.2.0": ["color-convert@1.9.3"],
    "color-convert@1.9.3": ["color-name@1.1.3"],
    "color-name@1.1.3": [],
}


class TestNpm:
    @pytest.mark.parametrize("version", [2, 3])
    def test_a_lock_file_with_a_workspace(self, tmp_path: Path, version: int) -> None:
        lock = json.loads((DATA / "package-lock.json").read_text()) | {"lockfileVersion": version}
        (tmp_path / "package-lock.json").write_text(json.dumps(lock))
        assert import_npm([str(tmp_path)]).packages == NPM

    def test_names_beside_versions(self, scoop: Scoop, address: str) -> None:
        path = str(DATA / "package-lock.json")
        packages = import_npm([path], names=True).packages
        assert packages["color-convert"] == ["color-convert@2.0.1", "color-convert@1.9.3"]
        assert packages["@demo/tool"] == ["@demo/tool@0.2.0"]
        assert {name: listed for name, listed in packages.items() if "@" in name[1:]} == NPM
        assert scoop("import", "npm", path, "--names", "--into", address).status == 0
        for request, status in (
            ("index app color-convert", 0),
            ("remove color-convert@1.9.3", 1),
            ("remove color-convert", 1),
            ("index color-convert color-convert@2.0.1", 0),
            ("remove color-convert@1.9.3", 1),  # the workspace needs this version
            ("index @demo/tool@0.2.0 color-convert", 0),
            ("remove color-convert@1.9.3", 0),
        ):
            assert scoop("--server", address, *request.split()).status == status, request

    def test_optional_and_linked_packages(self, tmp_path: Path) -> None:
        lock = {
            "name": "demo",
            "lockfileVersion": 3,
            "packages": {
                "": {
                    "dependencies": {"alias": "npm:real@1", "@demo/tool": "*"},
                    "optionalDependencies": {"fsevents": "*"},
                },
                "node_modules/alias": {"name": "real", "version": "1.0.0", "peerDependencies": {"needed": "*"}},
                "node_modules/@demo/tool": {"resolved": "tool", "link": True},
                "tool": {"name": "@demo/tool", "version": "2.0.0", "dependencies": {"alias": "*"}},
            },
        }
        (tmp_path / "package-lock.json").write_text(json.dumps(lock))
        imported = import_npm([str(tmp_path / "package-lock.json")])
        assert imported.packages == {
            "demo": ["real@1.0.0", "@demo/tool@2.0.0"],
            "real@1.0.0": [],
            "@demo/tool@2.0.0": ["real@1.0.0"],
        }
        assert [name for name, _ in imported.left_out] == ["needed"]

    @pytest.mark.parametrize("text", ["", "[]", '{"lockfileVersion": 1, "dependencies": {}}'])
    def test_invalid_files(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "package-lock.json").write_text(text)
        with pytest.raises(InvalidInput):
            import_npm([str(tmp_path)])


class TestCargo:
    def test_a_lock_file(self) -> None:
        jemalloc = "tikv-jemalloc-sys@0.7.1+5.3.1-0-g81034ce1f1373e37dc865038e1bc8eeecf559ce8"
        assert import_cargo([str(DATA / "Cargo.lock")]).packages == {
            "memchr@2.8.3": [],
            "proc-macro2@1.0.107": [],
            "serde@1.0.229": ["serde_derive@1.0.229"],
            "serde_derive@1.0.229": ["proc-macro2@1.0.107", "syn@3.0.3"],
            "syn@2.0.119": ["proc-macro2@1.0.107"],
            "syn@3.0.3": ["proc-macro2@1.0.107"],
            jemalloc: [],
            "ripgrep@15.2.0": ["memchr@2.8.3", "serde@1.0.229", "syn@2.0.119", jemalloc],
        }

    def test_the_same_version_from_several_sources(self, tmp_path: Path) -> None:
        entries = "".join(
            f'[[package]]\nname = "a"\nversion = "1.0.0"\nsource = "{source}"\n'
            for source in ("git+x?rev=1", "registry+y")
        )
        (tmp_path / "Cargo.lock").write_text(
            f'{entries}[[package]]\nname = "b"\nversion = "1.0.0"\ndependencies = ["a 1.0.0 (git+x?rev=1)"]\n'
        )
        packages = import_cargo([str(tmp_path)]).packages
        assert {decode_name(name): list(map(decode_name, names)) for name, names in packages.items()} == {
            "a@1.0.0@git+x?rev=1": [],
            "a@1.0.0@registry+y": [],
            "b@1.0.0": ["a@1.0.0@git+x?rev=1"],
        }

    @pytest.mark.parametrize("text", ["=", "version = 4\n"])
    def test_invalid_files(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "Cargo.lock").write_text(text)
        with pytest.raises(InvalidInput):
            import_cargo([str(tmp_path)])


class TestCommand:
    def test_requests_on_standard_output(self, scoop: Scoop) -> None:
        result = scoop("import", "homebrew", stdin=(DATA / "formula.json").read_bytes())
        assert result.status == 1  # something was left out
        assert result.out.startswith("INDEX|gmp|\nINDEX|isl|gmp\nINDEX|mpfr|gmp\nINDEX|gcc|gmp,isl,mpfr\n")
        assert result.err.splitlines() == [
            "left out zstd: gcc depends on it, and it is not among the packages",
            "7 packages, 6 dependencies, 0 cyclic groups",
            "7 requests printed, 0 rejected",
        ]

    def test_into_a_server_and_the_difference_later(self, scoop: Scoop, address: str, tmp_path: Path) -> None:
        lists = [str(DATA / "Packages"), str(DATA / "Packages-security")]
        first = scoop("import", "debian", lists[0], "--into", address)
        assert (first.status, first.err.splitlines()[-1]) == (0, "12 requests answered: 12 OK, 0 failed")
        (tmp_path / "old").write_text(scoop("import", "debian", lists[0]).out)
        second = scoop("import", "debian", *lists, "--since", str(tmp_path / "old"))
        assert second.out == "INDEX|mawk|libc6,libgcc-s1\n"
        assert scoop("import", "debian", *lists, "--since", str(tmp_path / "old"), "--into", address).status == 0

    def test_json(self, scoop: Scoop) -> None:
        result = scoop("import", "cargo", str(DATA), "--json")
        assert result.json()[0] == {"command": "INDEX", "package": "memchr@2.8.3", "dependencies": []}

    def test_all_that_was_left_out_can_be_written_to_a_file(self, scoop: Scoop, tmp_path: Path) -> None:
        scoop("import", "homebrew", str(DATA / "formula.json"), "--left-out", str(tmp_path / "out"))
        assert (tmp_path / "out").read_text() == "zstd: gcc depends on it, and it is not among the packages\n"

    def test_the_index_is_that_of_the_packages(self, scoop: Scoop, tmp_path: Path) -> None:
        with ServerProcess("--data-dir", str(tmp_path / "data")) as server:
            address = f"127.0.0.1:{server.port}"
            assert scoop("import", "debian", str(DATA / "Packages"), "--into", address).status == 0
        assert {name: sorted(names) for name, names in read_graph(str(tmp_path / "data")).to_mapping().items()} == {
            name: sorted(names) for name, names in DEBIAN.items()
        }


@pytest.mark.campaign
@pytest.mark.skipif(not list(APT_LISTS.glob("*_main_*_Packages*")), reason="this machine has no package lists of apt")
def test_the_archive_of_this_machine_is_imported_by_one_command() -> None:
    with ServerProcess("--memory") as server:
        command = [
            sys.executable,
            "-m",
            "scoop_client.cli.main",
            "import",
            "debian",
            "--into",
            f"127.0.0.1:{server.port}",
        ]
        finished = subprocess.run(
            command, env=dict(os.environ), capture_output=True, text=True, timeout=WAIT_SECONDS, check=True
        )
    assert finished.stderr.splitlines()[-1].endswith(" 0 failed")
