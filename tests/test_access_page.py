"""docs/howto-access.md: its commands, run word for word, print what it says."""

import re
import shlex
import signal
from pathlib import Path
from typing import Final

import pytest

from tests.support.pages import code_blocks, run_block
from tests.support.process import ServerProcess, run_to_end

pytestmark = pytest.mark.any_python

PAGE: Final = Path(__file__).parents[1] / "docs" / "howto-access.md"
TLS_PAGE: Final = PAGE.with_name("howto-tls.md")


def run(commands: str, directory: Path, ports: tuple[int, ...] = (0, 0)) -> str:
    """Run commands of the page, with the ports of the test's server; return their output."""
    for written, port in zip(("8443", "8444"), ports, strict=True):
        commands = commands.replace(f":{written}", f":{port}")
    return run_block(commands, directory)


def check_console(block: str, directory: Path, ports: tuple[int, ...] = (0, 0)) -> None:
    for command, expected in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", block, re.MULTILINE):
        assert run(command, directory, ports) == expected, command


def test_two_teams_and_a_mirror(tmp_path: Path) -> None:
    certificates, empty_list, start, revoke = code_blocks(PAGE, "sh")
    authority = code_blocks(TLS_PAGE, "sh")[0]
    [roles] = code_blocks(PAGE, "toml")
    ask_file, ask_server = code_blocks(PAGE, "console")
    run(authority + certificates + empty_list, tmp_path)
    (tmp_path / "access.toml").write_text(roles)
    check_console(ask_file, tmp_path)
    arguments = [re.sub(r":844[34]", ":0", word) for word in shlex.split(start)[1:]]
    arguments = [str(tmp_path / word) if word.endswith((".pem", ".toml")) else word for word in arguments]
    assert run_to_end(*arguments, "--check-config").returncode == 0
    with ServerProcess(*arguments) as server:
        ports = tuple(int(str(server.address_of(number)[1])) for number in (0, 1))
        check_console(ask_server, tmp_path, ports)
        [*commands, reload] = revoke.splitlines()
        run("\n".join(commands), tmp_path)
        assert reload.startswith("pkill -HUP")
        server.send_signal(signal.SIGHUP)
        server.wait_for_log("reloaded the roles")
        asked = next(line for line in ask_server.splitlines() if "team-b-key" in line)
        assert "OK" not in run(asked.removeprefix("$ "), tmp_path, ports)
        server.wait_for_log("certificate revoked")
