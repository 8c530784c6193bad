"""The program that builds a release; ``nox -s release_trial`` runs all of it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from contrib.release.build_release import PINS, ReleaseError, common_version, packages, require_equal, write_checksums

from tests.support.pages import ROOT, code_blocks


def test_all_packages_carry_one_version() -> None:
    assert {package.name for package in packages(ROOT)} >= {"scoop-core", "scoop-server"}
    assert common_version(ROOT)


@pytest.mark.parametrize(("own", "required"), [("1.1", "1.0"), ("1.0", "1.1")])
def test_another_version_or_requirement_is_rejected(tmp_path: Path, own: str, required: str) -> None:
    for name, version, pins in (("scoop-core", "1.0", ""), ("scoop-server", own, f'"scoop-core=={required}"')):
        source = tmp_path / "packages" / name / "src" / name.replace("-", "_")
        source.mkdir(parents=True)
        (source / "__init__.py").write_text(f'__version__ = "{version}"\n')
        (tmp_path / "packages" / name / "pyproject.toml").write_text(f"dependencies = [{pins}]\n")
    with pytest.raises(ReleaseError, match="expected one version, got"):
        common_version(tmp_path)


@pytest.mark.parametrize("second", [{"a": b"1"}, {"a": b"1", "b": b"3"}])
def test_builds_that_differ_are_rejected(tmp_path: Path, second: dict[str, bytes]) -> None:
    for name, files in (("first", {"a": b"1", "b": b"2"}), ("second", second)):
        (tmp_path / name).mkdir()
        for file, content in files.items():
            (tmp_path / name / file).write_bytes(content)
    require_equal(tmp_path / "first", tmp_path / "first")
    with pytest.raises(ReleaseError, match="two builds of one commit"):
        require_equal(tmp_path / "first", tmp_path / "second")


def test_the_checksums_cover_every_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    write_checksums(tmp_path)
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert (tmp_path / "SHA256SUMS").read_text() == f"{empty}  a\n"


@pytest.mark.campaign
@pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not installed")
def test_a_commit_is_released_signed_and_tagged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*command: str, status: int = 0) -> str:
        done = subprocess.run(command, cwd=tmp_path / "clone", capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    monkeypatch.setenv("GNUPGHOME", str(tmp_path))
    user = "Trial <trial@example.invalid>"
    subprocess.run(["gpg", "--batch", "--passphrase", "", "--quick-generate-key", user, "ed25519"], check=True)
    release = (sys.executable, "contrib/release/build_release.py", "--tag", "--sign", "trial@example.invalid")
    subprocess.run(["git", "clone", "--quiet", "--no-tags", ROOT, tmp_path / "clone"], check=True)
    for name, value in (("user.name", "Trial"), ("user.email", "trial@example.invalid")):
        run("git", "config", name, value)
    version, commit = common_version(tmp_path / "clone"), run("git", "rev-parse", "HEAD")
    assert f"Scoop {version}, commit {commit.strip()}, in " in run(*release)
    assert run("git", "rev-list", "-n", "1", f"v{version}") == commit
    assert run("git", "cat-file", "-t", f"v{version}") == "tag\n"
    assert f"scoop-{version}.cdx.json: OK\n" in run("sh", "-c", "cd dist && sha256sum --check SHA256SUMS")
    compiled = {path.name.partition("-")[0] for path in (tmp_path / "clone" / "dist").glob("*-linux_*.whl")}
    assert compiled == ({"scoop_core", "scoop_server"} if shutil.which("cc") else set())
    components = json.loads((tmp_path / "clone" / "dist" / f"scoop-{version}.cdx.json").read_text())["components"]
    found = {canonicalize_name(component["name"]): component["version"] for component in components}
    assert {name for name in found if name.startswith("scoop-")} == {package.name for package in packages(ROOT)}
    pinned = dict(re.findall(r"^([\w-]+)==([\w.]+) \\$", PINS.read_text(), re.MULTILINE))
    assert len(pinned) > 5
    assert found.items() >= pinned.items()
    [commands] = [block for block in code_blocks(ROOT / "docs" / "operations.md", "sh") if "SHA256SUMS.asc" in block]
    assert "Good signature" in run("sh", "-euc", f"cd dist\n{commands}")
    assert "Good signature" in run("git", "tag", "--verify", f"v{version}")
    with (tmp_path / "clone" / "dist" / "SHA256SUMS").open("a") as sums:
        sums.write("\n")
    run("sh", "-euc", f"cd dist\n{commands}", status=1)
    run("git", "commit", "--quiet", "--allow-empty", "--message", "Change something")
    assert f"the tag v{version} is on another commit" in run(*release, status=1)


def test_no_document_installs_a_package_by_an_unpublished_name() -> None:
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("packages/*/README.md")):
        for line in page.read_text().splitlines():
            words = line.split("pip install")[1].split("&&")[0].split() if "pip install" in line else []
            assert not [word for word in words if word.strip("'\"`").startswith("scoop")], f"{page}: {line}"
