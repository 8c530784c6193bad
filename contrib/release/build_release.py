"""Build a release of the commit that is checked out: ``nox -s release`` runs this.

It requires one version for all packages, builds wheels and sdists twice from clean exports of the commit, and requires
both builds to be equal byte for byte. If a C compiler is installed, compiled wheels for the Python that runs it are
among them; pip prefers these to the pure ones. Then it lists all packages and their dependencies in an SBOM
(CycloneDX), and writes the checksums of all files. With ``--sign KEY`` it signs them with this OpenPGP key. With
``--tag`` it tags the commit, once everything has succeeded; with both, the tag is signed too.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

PINS: Final = ROOT / "contrib" / "container" / "requirements.txt"

EVERYTHING: Final = ("scoop-core", "scoop-server[metrics,etcd]", "scoop-etcd", "scoop-client[all]", "scoop-explorer")
"""All packages, with their extras."""

COMPILED: Final = ("scoop-core", "scoop-server")
"""The packages that have a compiled form too."""

_PIN: Final = re.compile(r'"(scoop-\w+)==([^"]+)"')


class ReleaseError(Exception):
    """The commit cannot be released."""


def run(*command: str | Path, cwd: Path = ROOT, environment: Mapping[str, str] | None = None, umask: int = -1) -> str:
    """Run a command that must succeed; return its output."""
    done = subprocess.run(  # noqa: S603  # the commands are those below
        command, cwd=cwd, env=environment, umask=umask, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        raise ReleaseError(f"{' '.join(map(str, command))} ended with status {done.returncode}\n{done.stdout}")
    return done.stdout


def packages(tree: Path) -> list[Path]:
    """Return the directories of all packages."""
    return sorted(project.parent for project in tree.glob("packages/*/pyproject.toml"))


def common_version(tree: Path) -> str:
    """Return the version that all packages in ``tree`` carry and require of each other. Raises ReleaseError."""
    versions = {}
    for package in packages(tree):
        [module] = package.glob("src/*/__init__.py")
        found = re.search(r'^__version__ = "(.+)"$', module.read_text(), re.MULTILINE)
        versions[package.name] = found[1] if found else "none"
        for required, version in _PIN.findall((package / "pyproject.toml").read_text()):
            versions[f"{required} in {package.name}"] = version
    if len(set(versions.values())) != 1:
        raise ReleaseError(f"expected one version, got {versions}")
    return next(iter(versions.values()))


def export(commit: str, directory: Path) -> Path:
    """Write the files of a commit into a new directory; return it."""
    directory.mkdir()
    archive = directory.with_suffix(".tar")
    run("git", "archive", "--output", archive, commit)
    run("tar", "--extract", "--file", archive, cwd=directory)
    return directory


def build(tree: Path, dist: Path, epoch: str, zone: str, umask: int) -> None:
    """Build the sdist of each package, and its wheel from the sdist. Zone and umask must make no difference."""
    environment = os.environ | {"SOURCE_DATE_EPOCH": epoch, "TZ": zone, "LC_ALL": "C.UTF-8"}
    for package in packages(tree):
        command = (sys.executable, "-m", "build", "--installer", "uv", "--outdir", dist, package)
        run(*command, environment=environment, umask=umask)


def build_compiled(tree: Path, dist: Path, epoch: str, umask: int) -> None:
    """Build the compiled wheels, with the tools of this environment; the server needs the types of this core."""
    for name in COMPILED:
        objects = tree.parent / f"{tree.name}-{name}"
        objects.mkdir()
        environment = os.environ | {
            "HATCH_BUILD_HOOK_ENABLE_MYPYC": "1",
            "HATCH_MYPYC_BUILD_DIR": str(objects),
            "MYPYPATH": str(tree / "packages" / "scoop-core" / "src"),
            "SOURCE_DATE_EPOCH": epoch,
            # Otherwise the wheels depend on the directory of the build, and on the order of sets.
            "CFLAGS": f"-g0 -ffile-prefix-map={objects}=.",
            "LDFLAGS": "-s",
            "PYTHONHASHSEED": "0",
        }
        command = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--skip-dependency-check")
        run(*command, "--outdir", dist, tree / "packages" / name, environment=environment, umask=umask)


def require_equal(first: Path, second: Path) -> None:
    """Raise ReleaseError if the files of two directories differ."""
    files = sorted(path.name for path in first.iterdir())
    if files != sorted(path.name for path in second.iterdir()):
        raise ReleaseError(f"two builds of one commit made different files: {files} and others")
    different = [name for name in files if (first / name).read_bytes() != (second / name).read_bytes()]
    if different:
        raise ReleaseError(f"two builds of one commit differ: {', '.join(different)}")


def write_sbom(dist: Path, version: str, work: Path) -> None:
    """List all that is installed with every wheel and its extras, at the versions that the image pins."""
    target = work / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", target)
    python = target / "bin" / "python"
    install = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check")
    run(*install, "--require-hashes", "--requirement", PINS)
    run(*install, "--find-links", dist, *(f"{name}=={version}" for name in EVERYTHING))
    sbom = dist / f"scoop-{version}.cdx.json"
    options = ("--output-reproducible", "--of", "JSON", "--output-file", sbom)
    run(sys.executable, "-m", "cyclonedx_py", "environment", *options, python)


def write_checksums(dist: Path) -> None:
    """Write SHA256SUMS, which ``sha256sum --check`` reads."""
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(dist.iterdir())]
    (dist / "SHA256SUMS").write_text("".join(sums))


def sign(dist: Path, key: str) -> None:
    """Sign the checksums with an OpenPGP key: with all files, because they cover each of them."""
    run("gpg", "--batch", "--yes", "--armor", "--local-user", key, "--detach-sign", dist / "SHA256SUMS")


def require_free_tag(tag: str, commit: str) -> None:
    """Raise ReleaseError if the tag is on another commit."""
    if run("git", "tag", "--list", tag) and run("git", "rev-list", "-n", "1", tag).strip() != commit:
        raise ReleaseError(f"the tag {tag} is on another commit; raise the version of all packages")


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the release into ``dist``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--tag", action="store_true", help="tag the commit as well")
    parser.add_argument("--sign", metavar="KEY", help="sign the checksums, and the tag, with this key of gpg")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="directory for the files, replaced")
    options = parser.parse_args(arguments)
    commit = run("git", "rev-parse", "HEAD").strip()
    epoch = run("git", "log", "-1", "--format=%ct", commit).strip()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        trees = [export(commit, work / each) for each in ("first", "another-directory")]
        version = common_version(trees[0])
        require_free_tag(f"v{version}", commit)
        builds = [work / f"{tree.name}-dist" for tree in trees]
        build(trees[0], builds[0], epoch, "UTC", 0o022)
        build(trees[1], builds[1], epoch, "Asia/Tokyo", 0o077)
        if shutil.which(os.environ.get("CC", "cc")):
            build_compiled(trees[0], builds[0], epoch, 0o022)
            build_compiled(trees[1], builds[1], epoch, 0o077)
        require_equal(*builds)
        write_sbom(builds[0], version, work)
        write_checksums(builds[0])
        if options.sign:
            sign(builds[0], options.sign)
        shutil.rmtree(options.dist, ignore_errors=True)
        shutil.copytree(builds[0], options.dist)
    if options.tag and not run("git", "tag", "--list", f"v{version}"):
        kind = ("--sign", "--local-user", options.sign) if options.sign else ("--annotate",)
        run("git", "tag", *kind, "--message", f"Scoop {version}", f"v{version}", commit)
    print(f"Scoop {version}, commit {commit}, in {options.dist}:")
    print((options.dist / "SHA256SUMS").read_text(), end="")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ReleaseError as error:
        sys.exit(f"build_release: {error}")
