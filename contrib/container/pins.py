"""Pin what the image installs: ``nox -s pins`` runs this after a change of requirements, and for newer releases.

It writes three files beside it, with exact versions and the hashes of each: what the packages of the image require at
run time, what their builds require, and what a build of those requires, because argparse-manpage has no wheel.
"""

import subprocess
import tomllib
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
PACKAGES: Final = HERE.parents[1] / "packages"

CONTENTS: Final = {"scoop-core": (), "scoop-server": ("metrics",), "scoop-etcd": (), "scoop-explorer": ()}
"""The packages in the image, with their extras."""

RUNTIME: Final = HERE / "requirements.txt"
BUILD: Final = HERE / "build-requirements.txt"
BUILD_OF_BUILD: Final = HERE / "setuptools.txt"


def required() -> dict[Path, list[str]]:
    """Return the requirements on other projects that each file must satisfy."""
    runtime: set[str] = set()
    build: set[str] = set()
    for name, extras in CONTENTS.items():
        declared = tomllib.loads((PACKAGES / name / "pyproject.toml").read_text())
        build.update(declared["build-system"]["requires"])
        hooks = declared["tool"]["hatch"]["build"].get("targets", {}).get("wheel", {}).get("hooks", {})
        for hook in hooks.values():  # of the compiled form
            build.update(hook["dependencies"])
        runtime.update(declared["project"].get("dependencies", ()))
        for extra in extras:
            runtime.update(declared["project"]["optional-dependencies"][extra])
    own = {each for each in runtime if each.startswith("scoop-")}
    return {RUNTIME: sorted(runtime - own), BUILD: sorted(build), BUILD_OF_BUILD: ["setuptools"]}


def main() -> None:
    """Write the files."""
    for file, requirements in required().items():
        command = ["uv", "pip", "compile", "--quiet", "--upgrade", "--universal", "--python-version=3.11"]
        command += ["--generate-hashes", "--no-header", "--no-annotate", f"--output-file={file}", "-"]
        subprocess.run(command, input="\n".join(requirements), text=True, stdout=subprocess.DEVNULL, check=True)  # noqa: S603


if __name__ == "__main__":
    main()
