"""Images that buildah builds without a registry: their base is made of packages that are installed on this machine."""

import json
import os
import resource
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final, Self

from tests.support.process import WAIT_SECONDS

_PYTHON: Final = Path("/usr/bin/python3")

IS_AVAILABLE: Final = (
    os.geteuid() == 0
    and None not in map(shutil.which, ("buildah", "apt-cache", "dpkg-query", "chroot"))
    and subprocess.run([_PYTHON, "-c", "import ensurepip"], capture_output=True, check=False).returncode == 0
)

_VERSION: Final = _PYTHON.resolve().name  # such as python3.13

COMPILES: Final = all(map(os.path.exists, ("/usr/bin/gcc", f"/usr/include/{_VERSION}/Python.h")))
"""True if the base can have a compiler: it is installed here."""

_BASE: Final = """
set -euo pipefail
root=$1
shift
python=$(readlink /usr/bin/python3)
mkdir -p "$root"/usr/{bin,lib,lib64,sbin} "$root"/{tmp,var/lib,etc/ssl/certs}
for directory in bin lib lib64 sbin; do ln -s "usr/$directory" "$root/$directory"; done
packages=$(apt-cache depends --recurse --installed --no-{recommends,suggests,conflicts,breaks,replaces,enhances} \
    "$python-venv" coreutils base-files libstdc++6 "$@" | grep -v '^[ <|]' | sort --unique)
dpkg-query --listfiles $packages | sort --unique | grep -vE '^/(bin|lib|lib64|sbin|[.])?$|/(doc|man|locale)/' |
    while read -r file; do if [ ! -d "$file" ] && [ -e "$file" ]; then echo "${file#/}"; fi; done |
    tar --create --directory / --files-from - | tar --extract --directory "$root" --keep-directory-symlink
cp --dereference /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
ln -s "$python" "$root/usr/bin/python"
"""
"""A script that fills a directory with Python, its venv module and coreutils, from packages of Debian."""


class Builder:
    """buildah with a storage of its own, which ends with the ``with`` block."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def run(self, *arguments: str) -> str:
        """Run a command of buildah and return its output."""
        done = subprocess.run(
            ["buildah", f"--root={self._directory}/storage", f"--runroot={self._directory}/run", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS * 4,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def make_base(self, name: str) -> None:
        """Make an image of this machine's Python."""
        container = self.run("from", "scratch")
        compiler = ("gcc", "libc6-dev", f"lib{_VERSION}-dev") if COMPILES else ()
        subprocess.run(
            ["bash", "-c", _BASE, "bash", self.run("mount", container), *compiler],
            check=True,
            timeout=WAIT_SECONDS,
            text=True,
        )
        self.run("commit", "--quiet", container, name)

    def try_base(self, name: str) -> None:
        """Run Python in an image. Raises AssertionError where that is not permitted."""
        container = self.run("from", *_limits(), name)
        self.run("run", "--isolation=chroot", container, "--", "python", "-c", "import ensurepip, ssl")

    def build(self, context: Path, file: Path, base: str, wheels: Path) -> str:
        """Build ``file`` on ``base``, with ``wheels`` instead of a network; return the id of the image."""
        (self._directory / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
        return self.run(
            "build",
            "--quiet",
            "--isolation=chroot",
            "--format=docker",
            *_limits(),
            f"--build-arg=BASE={base}",
            f"--build-arg=HATCH_BUILD_HOOK_ENABLE_MYPYC={int(COMPILES) or ''}",
            f"--volume={self._directory}/pip.conf:/etc/pip.conf:ro",
            f"--volume={wheels}:/wheels:ro",
            f"--file={file}",
            str(context),
        )

    def unpack(self, image: str) -> tuple[Path, dict[str, Any]]:
        """Return the directory with the files of ``image``, and its configuration."""
        container = self.run("from", image)
        inspected = json.loads(self.run("inspect", "--type=image", image))
        return Path(self.run("mount", container)), inspected["Docker"]["config"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.run("rm", "--all")


def _limits() -> list[str]:
    """Return arguments that keep the limits of this process: buildah raises them, which is not allowed everywhere."""
    limits = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
    hard = {name: resource.getrlimit(number)[1] for name, number in limits.items()}
    return [f"--ulimit={name}={limit}:{limit}" for name, limit in hard.items()]
