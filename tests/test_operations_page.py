"""docs/operations.md: the flags, metrics and files that it names exist, and its commands do what it says."""

import re
import socket
import ssl
import subprocess
import sys
import tomllib
from argparse import ArgumentParser
from pathlib import Path
from typing import Final

import pytest

from scoop_server.cli.commands import COMMANDS
from scoop_server.cli.parser import build_parsers
from scoop_server.config.addresses import parse_listen_address

from tests.support.messages import is_message
from tests.support.pages import code_blocks, code_spans, prose, table_rows
from tests.support.process import WAIT_SECONDS, ServerProcess, run_to_end, server_environment
from tests.support.settings import TABLE

pytestmark = pytest.mark.any_python

DOCS: Final = Path(__file__).parents[1] / "docs"
PAGE: Final = DOCS / "operations.md"
TLS_PAGE: Final = DOCS / "howto-tls.md"

_PLACES: Final = ("/opt/scoop", "/etc/scoop", "/var/lib/scoop", "/var/backups", "/run/scoop")
"""Directories of an operator's machine, which a test has under a directory of its own."""


def flags_of(parser: ArgumentParser) -> set[str]:
    return {flag for action in parser._actions for flag in action.option_strings}


def commands() -> list[str]:
    """Return every command line of the page, continuation lines joined."""
    indented = re.findall(r"^    (\S.*)$", prose(PAGE), re.MULTILINE)
    blocks = "".join(code_blocks(PAGE, "sh")).replace("\\\n", "")
    return [*indented, *blocks.splitlines()]


def moved(text: str, root: Path) -> str:
    """Return ``text`` with the page's directories under ``root``, free ports, and no commands that need users."""
    for place in _PLACES:
        text = text.replace(place, f"{root}{place}")
    text = text.replace("sudo bash", "bash").replace("-o root -g scoop ", "")
    return re.sub(r"(tcp|tls):(?:\[::\]|[0-9.]+):\d+", r"\1:127.0.0.1:0", text)


def run_block(root: Path, text: str, *, check: bool = True) -> None:
    """Run the one block of commands that holds ``text``."""
    [block] = [block for block in code_blocks(PAGE, "sh") if text in block]
    done = subprocess.run(
        ["bash", "-c", moved(block, root)],
        cwd=root,
        env=server_environment(),
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert (done.returncode == 0) == check, done.stderr


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a directory with what the page's commands expect."""
    for place in _PLACES[1:]:
        Path(f"{tmp_path}{place}").mkdir(parents=True)
    program = Path(f"{tmp_path}/opt/scoop/current/bin/scoop-server")
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m scoop_server "$@"\n')
    program.chmod(0o755)
    return tmp_path


# Names


def test_every_flag_in_its_commands_exists() -> None:
    known = flags_of(build_parsers(TABLE)[0])
    given = {
        flag
        for command in commands()
        if re.search(r"(^|/)scoop-server\"? ", command)
        for flag in re.findall(r"(?<=\s)--[a-z-]+", command.partition("scoop-server")[2])
    }
    assert given >= {"--config", "--show-config", "--version"}
    assert given <= known


def test_every_flag_in_its_sentences_exists() -> None:
    spans = [span for line in prose(PAGE).splitlines() if not line.startswith("    ") for span in code_spans(line)]
    given = {flag for span in spans if span.startswith("--") for flag in re.findall(r"--[a-z-]+", span)}
    assert given >= {"--listen", "--tls-client-ca", "--max-clients", "--admin"}
    assert given <= flags_of(build_parsers(TABLE)[0])


def test_every_command_on_a_data_directory_is_named_and_every_named_command_exists() -> None:
    named = set(re.findall(r"scoop-server ([a-z]+)\b", PAGE.read_text()))
    assert {name for name, command in COMMANDS.items() if command.has_directory} <= named <= COMMANDS.keys()


def test_every_metric_that_it_names_is_documented() -> None:
    named = set(re.findall(r"`?(scoop_[a-z_]+)`?", prose(PAGE)))
    assert len(named) >= 2
    known = set(re.findall(r"`(scoop_[a-z_]+)`", (DOCS / "monitoring.md").read_text()))
    assert named <= known


def test_every_message_that_it_quotes_exists() -> None:
    spans = [
        span
        for symptom, _, _ in table_rows(PAGE, "symptom", "cause", "what to do")
        for span in code_spans(symptom)
        if not re.fullmatch(r"[A-Z_]+|stuck|watchdog|/\w+|systemctl .*", span)
    ]
    quoted = [*spans, *(span for span in code_spans(prose(PAGE)) if "…" in span)]
    assert len(spans) >= 5
    assert [message for message in quoted if not is_message(message)] == []
    assert not is_message("is in use by another process, which only reads it"), "no message has these words"


def test_every_file_of_contrib_that_it_names_exists() -> None:
    named = set(re.findall(r"(contrib/[\w./*-]*[\w*])", PAGE.read_text()))
    assert named
    for path in named:
        assert list(DOCS.parent.glob(path)), path


# Commands; tests/contrib/test_booted_systemd.py runs all of it


def test_every_block_of_commands_stops_at_its_first_error() -> None:
    for block in code_blocks(PAGE, "sh"):
        lines = block.splitlines()
        assert len(lines) == 1 or (lines[0], lines[-1]) == ("sudo bash -euo pipefail <<'END'", "END"), block


def test_a_server_with_the_certificates_and_settings_of_the_page_serves_its_client(root: Path) -> None:
    make_certificates = code_blocks(TLS_PAGE, "sh")[0]
    subprocess.run(
        ["sh", "-e", "-c", make_certificates], cwd=root, timeout=WAIT_SECONDS, check=True, capture_output=True
    )
    run_block(root, "/etc/scoop/tls")
    [settings] = code_blocks(PAGE, "toml")
    file = write_settings(root, settings)
    tls = Path(f"{root}/etc/scoop/tls")
    public = {path.name for path in tls.iterdir() if path.stat().st_mode & 0o007}
    assert public == {"authority.pem", "server.pem"}
    with (
        socket.create_server(("127.0.0.1", 0)) as secure,
        socket.create_server(("127.0.0.1", 0)) as plain,
        ServerProcess(
            "--config",
            str(file),
            "--data-dir",
            f"{root}/var/lib/scoop",
            sockets=[("tls", secure), ("scoop.socket", plain)],
        ) as server,
    ):
        context = ssl.create_default_context(cafile=tls / "authority.pem")
        with server.connect(tls=context) as stranger, pytest.raises((ssl.SSLError, ConnectionError)):
            stranger.socket.recv(1)
        context.load_cert_chain(root / "client.pem", root / "client-key.pem")
        with server.connect(tls=context) as client:
            assert client.ask("QUERY|gmp|") == ["FAIL"]
        server.wait_for_log("did not return a certificate")
    assert not [line for line in server.log_lines if " WARNING " in line]


def write_settings(root: Path, settings: str) -> Path:
    """Write a configuration file for a server under ``root``; return its path."""
    file = Path(f"{root}/etc/scoop/scoop.toml")
    file.write_text(moved(settings, root).replace("127.0.0.1:9180", "127.0.0.1:0"))
    return file


def test_the_addresses_of_the_page_are_valid(root: Path) -> None:
    [settings] = code_blocks(PAGE, "toml")
    [commented] = re.findall(r"^# (listen = .*)$", settings, re.MULTILINE)
    [with_policies] = re.findall(r"^    (listen = .*)$", PAGE.read_text(), re.MULTILINE)
    for listen in (commented, with_policies):
        shown = run_to_end("--config", str(write_settings(root, f"{listen}\n{settings}")), "--show-config")
        assert shown.returncode == 0, shown.stderr
        assert tomllib.loads(shown.stdout)["listen"] == tomllib.loads(moved(listen, root))["listen"]
    for _, listener, _ in table_rows(PAGE, "clients", "listener", "who can connect"):
        for span in code_spans(listener):
            if ":" in span:
                assert str(parse_listen_address(span)) == span


def test_a_backup_of_a_running_server_is_restored(root: Path) -> None:
    with ServerProcess("--data-dir", f"{root}/var/lib/scoop") as server, server.connect() as client:
        assert client.ask("INDEX|gmp|", "INDEX|isl|gmp") == ["OK", "OK"]
        run_block(root, "scoop-server dump /var/lib/scoop | gzip")
        assert client.ask("REMOVE|isl|") == ["OK"]
    run_block(root, "gunzip --stdout")
    with ServerProcess("--data-dir", f"{root}/var/lib/scoop.restored") as server, server.connect() as client:
        assert client.ask("QUERY|isl|") == ["OK"]


def test_a_dump_that_fails_leaves_no_backup(root: Path) -> None:
    run_block(root, "scoop-server dump /var/lib/scoop | gzip", check=False)
    assert [path.suffix for path in Path(f"{root}/var/backups/scoop").iterdir()] == [".new"]
