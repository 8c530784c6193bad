"""The flags in docs/operations.md exist, and its commands work."""

import os
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

from scoop_server.cli.parser import COMMANDS, SERVE, build_parsers

from tests.support.pages import code_blocks, code_spans, prose
from tests.support.process import WAIT_SECONDS, ServerProcess, run_to_end, server_environment

DOCS: Final = Path(__file__).parents[1] / "docs"
PAGE: Final = DOCS / "operations.md"

_PLACES: Final = ("/opt/scoop", "/etc/scoop", "/var/lib/scoop", "/var/backups", "/run/scoop")
"""Directories of the page; a test has them under a directory of its own."""


def flags_of(parser: ArgumentParser) -> set[str]:
    return {flag for action in parser._actions for flag in action.option_strings}


def commands() -> list[str]:
    """Return the commands of the page, continued lines joined."""
    indented = re.findall(r"^    (\S.*)$", prose(PAGE), re.MULTILINE)
    blocks = "".join(code_blocks(PAGE, "sh")).replace("\\\n", "")
    return [*indented, *blocks.splitlines()]


def moved(text: str, root: Path) -> str:
    """Return ``text`` with the directories of the page under ``root`` and addresses with a free port of 127.0.0.1."""
    for place in _PLACES:
        text = text.replace(place, f"{root}{place}")
    return re.sub(r"(tcp|tls):(?:\[::\]|[0-9.]+):\d+", r"\1:127.0.0.1:0", text)


def run_blocks(root: Path, *texts: str, then: str = "") -> None:
    """Run the blocks of commands that contain ``texts``, in that order, and ``then``, as one script."""
    done = try_blocks(root, *texts, then=then)
    assert done.returncode == 0, done.stderr


def try_blocks(root: Path, *texts: str, then: str = "") -> "subprocess.CompletedProcess[str]":
    blocks = code_blocks(PAGE, "sh")
    chosen = []
    for text in texts:
        [block] = [each for each in blocks if text in each]
        chosen.append(block)
    script = moved("\n".join([*chosen, then]), root)
    return subprocess.run(
        ["bash", "-c", script],
        cwd=root,
        env=server_environment(),
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a directory with the files that the commands of the page need."""
    for place in _PLACES[1:]:
        Path(f"{tmp_path}{place}").mkdir(parents=True)
    program = Path(f"{tmp_path}/opt/scoop/bin/scoop-server")
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m scoop_server "$@"\n')
    program.chmod(0o755)
    return tmp_path


# Names


def test_flags_in_commands_exist() -> None:
    known = flags_of(build_parsers()[0])
    given = {
        flag
        for command in commands()
        if re.search(r"(^|/)scoop-server ", command)
        for flag in re.findall(r"(?<=\s)--[a-z-]+", command.partition("scoop-server")[2])
    }
    assert given >= {"--config", "--show-config", "--data-dir", "--port", "--version"}
    assert given <= known


def test_flags_in_the_text_exist() -> None:
    spans = [span for line in prose(PAGE).splitlines() if not line.startswith("    ") for span in code_spans(line)]
    given = {flag for span in spans if span.startswith("--") for flag in re.findall(r"--[a-z-]+", span)}
    assert given >= {"--listen", "--tls-client-ca", "--max-clients", "--admin"}
    assert given <= flags_of(build_parsers()[0])


def test_commands_of_the_server_exist() -> None:
    named = set(re.findall(r"scoop-server ([a-z]+)\b", PAGE.read_text()))
    assert named == COMMANDS.keys() - {SERVE}


def test_metrics_are_on_the_page_on_monitoring() -> None:
    named = set(re.findall(r"`?(scoop_[a-z_]+)`?", prose(PAGE)))
    assert len(named) >= 4
    known = set(re.findall(r"`(scoop_[a-z_]+)`", (DOCS / "monitoring.md").read_text()))
    assert named <= known


def test_files_of_contrib_exist() -> None:
    named = set(re.findall(r"(contrib/[\w./*-]*[\w*])", PAGE.read_text()))
    assert named
    for path in named:
        assert list(DOCS.parent.glob(path)), path


# Commands


def test_certificates_and_settings_serve_the_client_of_the_page(root: Path) -> None:
    run_blocks(root, "openssl req -x509")
    [settings] = code_blocks(PAGE, "toml")
    file = Path(f"{root}/etc/scoop/scoop.toml")
    file.write_text(moved(settings, root).replace("127.0.0.1:9180", "127.0.0.1:0"))
    shown = run_to_end("--config", str(file), "--show-config")
    assert shown.returncode == 0, shown.stderr
    tls = Path(f"{root}/etc/scoop/tls")
    assert {path.name for path in tls.iterdir() if path.stat().st_mode & 0o077} == {
        "ca.pem",
        "server.pem",
        "client.pem",
    }

    arguments = ("--config", str(file), "--data-dir", f"{root}/var/lib/scoop")
    with (
        socket.create_server(("127.0.0.1", 0)) as secure,
        socket.create_server(("127.0.0.1", 0)) as plain,
        ServerProcess(*arguments, sockets=[("tls", secure), ("scoop.socket", plain)]) as server,
    ):
        [program] = code_blocks(PAGE, "python")
        client = moved(program, root).replace("8443", str(server.port))
        done = subprocess.run(
            [sys.executable, "-c", client], capture_output=True, text=True, timeout=WAIT_SECONDS, check=True
        )
        assert done.stdout == "FAIL\n"
        without = ssl.create_default_context(cafile=tls / "ca.pem")
        with server.connect(tls=without) as stranger, pytest.raises((ssl.SSLError, ConnectionError)):
            stranger.socket.recv(1)
        server.wait_for_log("did not return a certificate")
    assert not [line for line in server.log_lines if " WARNING " in line]


def test_the_addresses_in_the_comment_of_the_settings_work_without_sockets(root: Path) -> None:
    run_blocks(root, "openssl req -x509")
    [settings] = code_blocks(PAGE, "toml")
    file = Path(f"{root}/etc/scoop/scoop.toml")
    file.write_text(moved(settings.replace("# listen = ", "listen = "), root).replace("127.0.0.1:9180", "127.0.0.1:0"))
    shown = run_to_end("--config", str(file), "--show-config")
    assert shown.returncode == 0, shown.stderr
    addresses = tomllib.loads(file.read_text())["listen"]
    flags = [word for address in addresses for word in ("--listen", address)]
    with ServerProcess("--config", str(file), "--data-dir", f"{root}/var/lib/scoop", *flags) as server:
        assert [address.rpartition(":")[0] for address in server.addresses] == ["127.0.0.1", "tls:127.0.0.1", "unix"]


def test_no_key_is_written_elsewhere_and_the_shell_keeps_its_state(root: Path) -> None:
    Path(f"{root}/etc/scoop/tls").write_text("in the way")
    before = set(root.iterdir())
    assert try_blocks(root, "openssl req -x509").returncode != 0
    assert set(root.iterdir()) == before
    Path(f"{root}/etc/scoop/tls").unlink()
    run_blocks(root, "openssl req -x509", then=f'test "$PWD" = {root} && touch made')
    umask = os.umask(0)
    os.umask(umask)
    assert Path(f"{root}/made").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_failed_dump_is_no_backup(root: Path) -> None:
    assert try_blocks(root, "scoop-server dump").returncode != 0
    assert [path.name for path in Path(f"{root}/var/backups").iterdir()] == ["scoop.gz.new"]


def test_the_user_is_created_before_its_group_gets_files() -> None:
    users_of_it = [
        number for number, command in enumerate(commands()) if re.search(r"root:scoop|-g scoop|-u scoop", command)
    ]
    [made] = [number for number, command in enumerate(commands()) if "useradd" in command]
    assert users_of_it
    assert made < min(users_of_it)


def test_stop_commands_stop_the_sockets_too() -> None:
    stops = [command for command in commands() if "systemctl stop" in command]
    assert stops == ["sudo systemctl stop scoop.socket scoop-tls.socket scoop-unix.socket scoop.service"] * 2


def test_a_backup_can_be_restored(root: Path) -> None:
    data = Path(f"{root}/var/lib/scoop")
    with ServerProcess("--data-dir", str(data)) as server, server.connect() as client:
        assert client.ask("INDEX|gmp|", "INDEX|isl|gmp") == ["OK", "OK"]
        run_blocks(root, "scoop-server dump")
        assert client.ask("REMOVE|isl|") == ["OK"]
    assert [path.suffix for path in Path(f"{root}/var/backups").iterdir()] == [".gz"]
    run_blocks(root, "scoop-server restore", "mv -T /var/lib/scoop")
    with ServerProcess("--data-dir", str(data)) as server, server.connect() as client:
        assert client.ask("QUERY|isl|") == ["OK"]
    assert os.path.isdir(f"{data}.old")
