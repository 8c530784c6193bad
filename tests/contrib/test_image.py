"""The image definition of contrib/container, built by buildah, and its server."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contrib.container import pins

from tests.support.container_image import COMPILES, IS_AVAILABLE, Builder
from tests.support.pages import ROOT
from tests.support.process import ServerProcess

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.skipif(not IS_AVAILABLE, reason="this needs root, buildah, and Debian's python3-venv"),
]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with everything that the build takes from the network."""
    directory = tmp_path_factory.mktemp("wheels")
    subprocess.run(["/usr/bin/python3", "-m", "venv", directory / "env"], check=True)
    pip = str(directory / "env" / "bin" / "pip")
    subprocess.run([pip, "install", "--quiet", "--require-hashes", "--requirement", pins.BUILD_OF_BUILD], check=True)
    for file in pins.required():
        command = [pip, "download", "--quiet", "--no-build-isolation", f"--dest={directory}", "--require-hashes"]
        subprocess.run([*command, f"--requirement={file}"], check=True)
    return directory


@pytest.fixture(scope="module")
def image(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Build the image; return the directory with its files, and its configuration."""
    with Builder(tmp_path_factory.mktemp("buildah")) as builder:
        try:
            builder.make_base("base")
            builder.try_base("base")
        except (AssertionError, subprocess.SubprocessError) as error:  # such as no netavark, overlays, mounts or chroot
            pytest.skip(f"buildah cannot make an image here: {error}")
        yield builder.unpack(builder.build(ROOT, ROOT / "contrib/container/Dockerfile", "localhost/base", wheels))


def test_the_built_image_serves_and_is_healthy(image: tuple[Path, dict[str, Any]]) -> None:
    root, config = image
    in_image = [shutil.which("chroot") or "", f"--userspec={config['User']}", str(root)]
    variables = dict(each.split("=", 1) for each in config["Env"]) | {
        "SCOOP_HOST": "127.0.0.1",
        "SCOOP_ADMIN": "127.0.0.1:0",
    }
    with ServerProcess(command=[*in_image, *config["Entrypoint"]], variables=variables) as server:
        admin = server.wait_for_log(r"serving the admin endpoint at http://127\.0\.0\.1:(\d+)")
        with server.connect() as client:
            assert client.ask("INDEX|gmp|", "QUERY|gmp|") == ["OK", "OK"]
        _, *check = config["Healthcheck"]["Test"]
        done = subprocess.run(
            [*in_image, *check],
            env={"SCOOP_ADMIN": f"127.0.0.1:{admin[1]}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "200 ready\n"), done.stderr
    with ServerProcess(command=[*in_image, *config["Entrypoint"]], variables=variables) as server:
        assert server.package_count == 1
    version = subprocess.run(
        [*in_image, *config["Entrypoint"], "--version"], capture_output=True, text=True, check=True
    )
    assert version.stdout.endswith("(compiled)\n" if COMPILES else "(pure)\n")


def test_the_built_image_has_the_explorer_and_no_pip(image: tuple[Path, dict[str, Any]]) -> None:
    root, _ = image
    programs = {path.name for path in (root / "opt" / "scoop" / "bin").iterdir()}
    assert not {"source", "built", "build", "pins"} & {path.name for path in root.iterdir()}
    assert {"scoop-server", "scoop-explorer"} <= programs
    assert not {"pip", "pip3"} & programs
