"""Completion: in bash as bash does it; in zsh and fish by structure, and by the shell's own check of its syntax."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from scoop_server.cli.completion import SHELLS
from scoop_server.cli.maintenance import COMMAND_NAMES
from scoop_server.cli.usage import parsers
from scoop_server.config.options import OPTIONS

from tests.support.process import WAIT_SECONDS

BASH = shutil.which("bash")
ALL_FLAGS = {flag for action in parsers()[""]._actions for flag in action.option_strings}


def complete(directory: Path, *words: str) -> set[str]:
    """Return what bash offers in ``directory`` for the last of ``words``, which follow the command."""
    assert BASH is not None
    program = """
source /dev/stdin
COMP_WORDS=(scoop-server "$@")
COMP_CWORD=$#
_scoop_server
printf '%s\\n' "${COMPREPLY[@]}"
"""
    printed = subprocess.run(
        [BASH, "--norc", "-c", program, "bash", *words],
        input=SHELLS["bash"](parsers()),
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=True,
    )
    assert printed.stderr == ""
    return set(printed.stdout.splitlines()) - {""}


@pytest.mark.skipif(BASH is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["--log-l"], {"--log-level"}),
        (["--ho"], {"--host"}),
        (["--no-m"], {"--no-memory"}),
        (["c"], {"check", "completion"}),
        (["--memory", "c"], set()),
        (["--memory", "--show"], {"--show-config"}),
        (["--fsync", ""], {"always", "everysec", "never"}),
        (["--fsync", "=", "e"], {"everysec"}),
        (["--log-format", "="], {"text", "json"}),
        (["--port", ""], set()),
        (["--data-dir", ""], {"a directory"}),
        (["--tls-cert", ""], {"a directory", "server.pem"}),
        (["--config", "s"], {"server.pem"}),
        (["check", ""], {"a directory"}),
        (["dump", "-"], {"-h", "--help"}),
        (["completion", ""], {"bash", "zsh", "fish", "-h", "--help"}),
        (["manual", "--"], {"--help"}),
    ],
)
def test_bash_offers_what_fits(tmp_path: Path, words: list[str], offered: set[str]) -> None:
    (tmp_path / "a directory").mkdir()
    (tmp_path / "server.pem").touch()
    assert complete(tmp_path, *words) == offered


@pytest.mark.skipif(BASH is None, reason="bash is not installed")
def test_bash_offers_all_flags_and_commands_at_first(tmp_path: Path) -> None:
    assert complete(tmp_path, "") == ALL_FLAGS | COMMAND_NAMES | {"completion", "manual"}
    assert complete(tmp_path, "--memory", "") == ALL_FLAGS


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_can_read_its_script(shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    script = SHELLS[shell](parsers())
    read = subprocess.run(
        [program, "-n"], input=script, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
    )
    assert (read.returncode, read.stderr) == (0, "")


def test_zsh_knows_each_flag_its_help_and_its_words() -> None:
    script = SHELLS["zsh"](parsers())
    assert script.startswith("#compdef scoop-server\n")
    assert set(re.findall(r"^ +'\*?(--?[a-z-]+)\[", script, re.MULTILINE)) == ALL_FLAGS
    assert "'--fsync[when an answered change" in script
    assert ":WHEN:(always everysec never)'" in script
    assert ":DIR:_files -/'" in script
    assert "'*--listen[where to listen\\: tcp\\:HOST" in script
    assert "certificate authorities, in PEM, one of which a client'\\''s" in script
    for name in COMMAND_NAMES:
        assert re.search(rf"^        {name}\) .*'1:DIR:_files -/' ;;$", script, re.MULTILINE)
    assert "'1:SHELL:(bash zsh fish)'" in script


def test_fish_knows_each_flag_its_help_and_its_words() -> None:
    lines = SHELLS["fish"](parsers()).splitlines()[1:]
    assert all(line.startswith("complete -c scoop-server ") for line in lines)
    server = [line for line in lines if "'not __fish_seen_subcommand_from " in line]
    assert {f"--{name}" for line in server for name in re.findall(r" -l ([a-z-]+)", line)} == ALL_FLAGS - {"-h"}
    for option in OPTIONS:
        (line,) = (line for line in server if re.search(rf" -l {option.flag[2:]} ", line))
        assert option.help.replace("'", "'\\''")[:40] in line
        assert not option.words or f" -x -a '{' '.join(option.words)}' " in line
    for name in (*COMMAND_NAMES, "completion", "manual"):
        assert any(f"-n '__fish_is_first_token' -a {name} " in line for line in lines)
