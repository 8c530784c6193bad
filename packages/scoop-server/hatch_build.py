"""Ship the shell completions and the manual page with the package."""

import sys
import tempfile
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ShellFilesHook(BuildHookInterface):
    """Generate the files in a checkout; an sdist holds them already."""

    def initialize(self, version: str, build_data: dict[str, dict[str, str]]) -> None:
        """Add the files to the wheel or the sdist."""
        if version == "editable":
            return
        root = Path(self.root)
        directory = root / "share"
        sources = [root.parent / name / "src" for name in ("scoop-core", "scoop-etcd")]
        if all(source.is_dir() for source in sources):
            self._temporary = tempfile.TemporaryDirectory()
            directory = Path(self._temporary.name) / "share"
            sys.path[:0] = [str(root), str(root / "src"), *map(str, sources)]
            from shell_files import shell_files  # noqa: PLC0415  # found by the path above

            for path, text in shell_files().items():
                file = directory.parent / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, "utf-8")
        build_data["shared_data" if self.target_name == "wheel" else "force_include"][str(directory)] = "share"
