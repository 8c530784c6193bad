"""The explorer uses scoop_core, and of the server its ports, settings, storage and history."""

import ast
from pathlib import Path

import scoop_explorer

ALLOWED = {
    "scoop_core",
    "scoop_explorer",
    "scoop_server.app.plugin",
    "scoop_server.config",
    "scoop_server.errors",
    "scoop_server.history",
    "scoop_server.ports",
    "scoop_server.storage",
}


def test_of_the_server_only_ports_settings_storage_and_history_are_used() -> None:
    found: set[str] = set()
    for path in Path(scoop_explorer.__file__).parent.glob("**/*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                found.add(node.module or "")
            elif isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
    ours = {name for name in found if name.startswith("scoop_")}
    assert {name for name in ours if not any(f"{name}.".startswith(f"{each}.") for each in ALLOWED)} == set()
