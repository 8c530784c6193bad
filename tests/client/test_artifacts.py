"""``--artifact``: the name and the dependencies of a .deb, a wheel and an npm tarball."""

import sys
from pathlib import Path

import pytest

from scoop_client import InvalidInput
from scoop_client.ecosystems.artifacts import Artifact, read_artifact
from scoop_client.ecosystems.debian import import_debian, parse_packages_file

from tests.support.artifacts import make_deb, make_npm_tarball, make_wheel
from tests.support.command import Scoop

DATA = Path(__file__).parent / "data"

VIM = """Package: vim
Version: 2:9.1
Provides: editor
Pre-Depends: dpkg (>= 1.19)
Depends: libc6 (>= 2.39), vim-common | vim-tiny:any, editor | nano,
 default-mta | editor | exim4
Description: an editor
"""


class TestDeb:
    def test_alternatives_and_what_the_package_provides_itself(self, tmp_path: Path) -> None:
        artifact = read_artifact(str(make_deb(tmp_path / "vim.deb", VIM)))
        assert artifact.package == "vim"
        assert artifact.names() == ("dpkg", "libc6", "vim-common", "vim-tiny", "default-mta")
        for indexed, chosen in (
            ({"dpkg", "libc6", "vim-common", "vim-tiny"}, ("dpkg", "libc6", "vim-common")),
            ({"dpkg", "libc6", "vim-tiny", "nano", "default-mta"}, ("dpkg", "libc6", "vim-tiny", "default-mta")),
            ({"dpkg", "exim4"}, ("dpkg", "libc6", "vim-common")),
        ):
            assert artifact.choose(indexed) == chosen

    def test_each_package_of_a_list_has_the_dependencies_of_its_import(self, tmp_path: Path) -> None:
        path = DATA / "Packages"
        imported = import_debian([str(path)], virtual=False).packages
        text = path.read_text()
        for stanza in text.split("\n\n"):
            if not stanza.strip():
                continue
            [(name, _)] = parse_packages_file(stanza, "list")
            artifact = read_artifact(str(make_deb(tmp_path / "package.deb", f"{stanza.strip()}\n")))
            chosen = artifact.choose(imported.keys())
            assert artifact.package == name
            assert set(imported[name]) == {each for each in chosen if each in imported}

    def test_it_is_published(self, scoop: Scoop, address: str, tmp_path: Path) -> None:
        file = str(make_deb(tmp_path / "vim.deb", VIM))
        run = ("--server", address, "publish", "--artifact", file, "--", "true")
        assert scoop(*run).out == "vim FAIL: dpkg, libc6, vim-common are not indexed; true was not run\n"
        for name in ("dpkg", "libc6", "vim-tiny"):
            scoop("--server", address, "index", name)
        assert scoop(*run).status == 0
        assert scoop("--server", address, "remove", "vim-tiny").status == 1

    def test_a_failed_deletion_restores_its_dependencies(self, scoop: Scoop, address: str, tmp_path: Path) -> None:
        file = str(make_deb(tmp_path / "isl.deb", "Package: isl\nDepends: gmp | mpir\n"))
        scoop("--server", address, "index", "mpir")
        scoop("--server", address, "index", "isl", "mpir")
        result = scoop("--server", address, "withdraw", "--artifact", file, "--", "false")
        assert result.status == 4
        assert scoop("--server", address, "remove", "mpir").status == 1


class TestWheel:
    def test_markers_extras_and_names(self, tmp_path: Path) -> None:
        metadata = (
            "Metadata-Version: 2.1\nName: Foo.Bar\nVersion: 1.0\n"
            "Requires-Dist: Requests[socks,use_chardet]>=2\nRequires-Dist: attrs (>=20)\n"
            f"Requires-Dist: tomli; python_version < '3.0'\nRequires-Dist: exceptiongroup; sys_platform == "
            f"'{sys.platform}'\nRequires-Dist: pytest; extra == 'test'\nProvides-Extra: test\n\nRequires-Dist: no\n"
        )
        artifact = read_artifact(str(make_wheel(tmp_path / "foo_bar-1.0-py3-none-any.whl", metadata)))
        assert (artifact.package, artifact.choose(set())) == (
            "foo-bar",
            ("requests~5Bsocks~5D", "requests~5Buse-chardet~5D", "attrs", "exceptiongroup"),
        )

    def test_an_invalid_requirement(self, tmp_path: Path) -> None:
        path = make_wheel(tmp_path / "foo-1.0-py3-none-any.whl", "Name: foo\nRequires-Dist: ???\n")
        with pytest.raises(InvalidInput, match="invalid requirement '\\?\\?\\?'"):
            read_artifact(str(path))


class TestNpm:
    def test_optional_and_peer_dependencies_and_aliases(self, tmp_path: Path) -> None:
        manifest = {
            "name": "@scope/app",
            "version": "1.0.0",
            "dependencies": {"debug": "^4.0.0", "fsevents": "2", "strip": "npm:@types/strip@1", "old": "npm:older"},
            "optionalDependencies": {"fsevents": "2", "bufferutil": "4"},
            "peerDependencies": {"react": ">=18", "canvas": "*"},
            "peerDependenciesMeta": {"canvas": {"optional": True}},
            "devDependencies": {"eslint": "9"},
        }
        artifact = read_artifact(str(make_npm_tarball(tmp_path / "app.tgz", manifest, directory="any")))
        assert artifact.package == "@scope/app"
        assert artifact.choose(set()) == ("debug", "@types/strip", "older", "react")
        assert artifact.choose({"fsevents", "canvas"}) == (
            "debug",
            "fsevents",
            "@types/strip",
            "older",
            "react",
            "canvas",
        )


class TestErrors:
    @pytest.mark.parametrize("suffix", [".deb", ".whl", ".tgz"])
    def test_a_file_that_is_missing_or_broken_is_one_line(self, scoop: Scoop, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"file{suffix}"
        missing = scoop("publish", "--artifact", str(path), "--", "true")
        assert missing == (2, "", f"scoop: cannot read {path}: no such file or directory\n")
        path.write_bytes(b"no archive")
        broken = scoop("publish", "--artifact", str(path), "--", "true")
        assert (broken.status, broken.err.count("\n")) == (2, 1)
        assert broken.err.startswith(f"scoop: cannot read {path}: broken {suffix}: ")

    def test_a_file_without_a_name_or_of_another_kind(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="it has no name"):
            read_artifact(str(make_npm_tarball(tmp_path / "app.tgz", {})))
        with pytest.raises(InvalidInput, match=r"expected one package\.json in a directory, got 0"):
            read_artifact(str(make_npm_tarball(tmp_path / "app.tgz", {}, directory="a/b")))
        with pytest.raises(InvalidInput, match=r"expected one of \.deb, \.whl, \.tgz; name the package"):
            read_artifact("app.zip")

    def test_an_extra_that_is_not_installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        deb = make_deb(tmp_path / "vim.deb", VIM)
        monkeypatch.setitem(sys.modules, "debian.debfile", None)
        with pytest.raises(InvalidInput, match=r"a \.deb needs an extra: pip install 'scoop-client\[debian\]'"):
            read_artifact(str(deb))
        wheel = make_wheel(tmp_path / "foo-1.0-py3-none-any.whl", "Name: foo\n")
        monkeypatch.setitem(sys.modules, "packaging.metadata", None)
        with pytest.raises(InvalidInput, match=r"a wheel needs an extra: pip install 'scoop-client\[python\]'"):
            read_artifact(str(wheel))


def test_an_artifact_without_dependencies() -> None:
    assert Artifact("gmp", ()).choose({"isl"}) == ()
