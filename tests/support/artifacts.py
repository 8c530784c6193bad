"""Files that are published: a .deb, a wheel and an npm tarball, each with the metadata that a test gives."""

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path


def make_deb(path: Path, control: str) -> Path:
    """Write a Debian package without content."""
    parts = {
        "debian-binary": b"2.0\n",
        "control.tar.gz": _tarball({"./control": control.encode()}),
        "data.tar.gz": _tarball({}),
    }
    with path.open("wb") as file:
        file.write(b"!<arch>\n")
        for name, data in parts.items():
            file.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode())
            file.write(data + b"\n" * (len(data) % 2))
    return path


def make_wheel(path: Path, metadata: str) -> Path:
    """Write a wheel that holds only its metadata."""
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{path.stem}.dist-info/METADATA", metadata)
        wheel.writestr("vendored/other.dist-info/METADATA", "Name: other\n")
    return path


def make_npm_tarball(path: Path, manifest: Mapping[str, object], directory: str = "package") -> Path:
    """Write a tarball as npm pack does."""
    files = {f"{directory}/package.json": json.dumps(manifest).encode(), f"{directory}/test/package.json": b"{}"}
    path.write_bytes(_tarball(files))
    return path


def _tarball(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()
