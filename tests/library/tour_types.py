"""Check the blocks of the guided tour with mypy, strict: the session of the types runs this."""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.pages import ROOT, code_blocks


def main() -> int:
    """Check the server of the tour, and the other blocks as one program; return the worst exit status."""
    blocks = code_blocks(ROOT / "docs" / "library.md", "python")
    servers = [block for block in blocks if "asyncio.run" in block]
    statuses = []
    with tempfile.TemporaryDirectory() as directory:
        for name, program in (("server", servers), ("tour", [block for block in blocks if block not in servers])):
            file = Path(directory, f"{name}.py")
            file.write_text("".join(program))
            command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={directory}"]
            statuses.append(subprocess.run([*command, file], check=False).returncode)
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main())
