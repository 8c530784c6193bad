"""docs/replication.md: its settings are valid, its commands do what it says, and its messages exist."""

import re
import shutil
import subprocess
import sys
import tomllib
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from scoop_etcd.options import EtcdSettings
from scoop_server.cli.parser import build_parsers

from tests.support.etcd_cluster import EtcdCluster, needs_etcd
from tests.support.messages import is_message
from tests.support.pages import ROOT, code_blocks, code_spans, prose, table_rows
from tests.support.process import WAIT_SECONDS, ServerProcess, server_environment
from tests.support.settings import TABLE, read_settings

pytestmark = pytest.mark.any_python

PAGE: Final = ROOT / "docs" / "replication.md"


def flags_of(parser: ArgumentParser) -> set[str]:
    return {flag for action in parser._actions for flag in action.option_strings}


def run_block(
    text: str, directory: Path, variables: Mapping[str, str], replaced: Mapping[str, str] | None = None
) -> str:
    """Run the one block of commands that holds ``text``, with some texts ``replaced``; return its output."""
    [block] = [block for block in code_blocks(PAGE, "sh") if text in block]
    for old, new in (replaced or {}).items():
        assert old in block
        block = block.replace(old, new)
    programs = directory / "bin"
    programs.mkdir(exist_ok=True)
    program = programs / "scoop-server"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m scoop_server "$@"\n')
    program.chmod(0o755)
    environment = server_environment(variables)
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=directory, env=environment, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_settings_of_a_node_are_valid() -> None:
    [settings] = code_blocks(PAGE, "toml")
    flags = [
        word
        for name, value in tomllib.loads(settings).items()
        for each in (value if isinstance(value, list) else [value])
        for word in (f"--{name}", each)
    ]
    urls = read_settings(flags, {}).part(EtcdSettings).urls
    assert urls is not None
    assert (len(urls.addresses), urls.is_tls) == (3, True)


def test_every_flag_exists() -> None:
    parsers = build_parsers(TABLE)
    known = flags_of(parsers[0]) | flags_of(parsers[1]["dump"]) | flags_of(parsers[1]["log"])
    given = {
        flag
        for span in [*code_spans(prose(PAGE)), *"".join(code_blocks(PAGE, "sh")).replace("\\\n", "").splitlines()]
        for flag in re.findall(r"(?<!\S)(--[a-z-]+)", span)
        if not re.search(
            r"etcdctl|etcdutl|pip |nox |kubectl|docker|systemctl|curl|tar |client-cert|quota|request-bytes", span
        )
    }
    assert given >= {"--etcd-prefix", "--reads", "--commit-timeout", "--reject-cycles"}
    assert given <= known, given - known


def test_the_drop_in_runs_the_unit_without_its_data_directory() -> None:
    [block] = [block for block in code_blocks(PAGE, "sh") if "replicated.conf" in block]
    unit = (ROOT / "contrib" / "systemd" / "scoop.service").read_text()
    commands = re.findall(r"^Exec\w+=.*$", unit, re.MULTILINE)
    expected = [command.replace(" --data-dir %S/scoop", "") for command in commands]
    assert [line for line in block.splitlines() if re.match(r"Exec\w+=.", line)] == expected


def test_every_message_that_it_quotes_exists() -> None:
    rows = table_rows(PAGE, "failure", "clients", "what the node reports", "what to do")
    quoted = [span for row in rows for span in code_spans(row[2]) if re.search("[a-z] [a-z]", span)]
    messages = [span for span in quoted if not span.startswith("scoop-server")]
    assert len(messages) >= 8
    assert [span for span in messages if not is_message(span.replace("...", "…"))] == []


# Commands


@needs_etcd
def test_its_commands_run(tmp_path: Path) -> None:
    pytest.importorskip("grpc", reason="the extra scoop-server[etcd] is not installed")
    with EtcdCluster(tmp_path, 3) as etcd:
        variables = {"SCOOP_ETCD": etcd.urls, "ETCDCTL_ENDPOINTS": etcd.urls, "SCOOP_ETCD_PASSWORD": "secret"}
        with ServerProcess("--etcd", etcd.urls) as node, node.connect() as client:
            assert client.ask("INDEX|gmp|", "INDEX|isl|gmp") == ["OK", "OK"]
            assert run_block("endpoint status --cluster", tmp_path, variables).count("true") == 1  # the leader
            backed_up = run_block("restore --etcd-prefix /restored/", tmp_path, variables)
            assert re.findall(r"(\S+) in etcd at .*: 2 packages", backed_up) == ["/scoop/", "/restored/"]
            run_block("compaction --physical", tmp_path, variables)
            assert client.ask("REMOVE|isl|", "QUERY|isl|") == ["OK", "FAIL"]
        run_block("etcdctl role add", tmp_path, variables)
        for command in ("user add root:root", "user grant-role root root", "auth enable"):
            etcd.etcdctl(*command.split())
        with ServerProcess("--etcd", etcd.urls, "--etcd-user", "scoop", variables=variables) as node:
            assert node.package_count == 1


@needs_etcd
def test_a_snapshot_of_etcd_is_restored_by_its_commands(tmp_path: Path) -> None:
    pytest.importorskip("grpc", reason="the extra scoop-server[etcd] is not installed")
    with EtcdCluster(tmp_path) as etcd:
        [member] = etcd.members
        with ServerProcess("--etcd", etcd.urls) as node, node.connect() as client:
            assert client.ask("INDEX|gmp|") == ["OK"]
            run_block("snapshot save", tmp_path, {}, {"https://10.0.0.1:2379": member.url})
            # Several, because the restored etcd also counts the records of nodes, and is to be found behind.
            client.ask_one_by_one("INDEX|isl|gmp", *(f"INDEX|p{number}|" for number in range(30)))
            member.kill()
            shutil.rmtree(member.directory)
            name, _, peer_url = member.peer.partition("=")
            cluster = "etcd1=https://10.0.0.1:2380,etcd2=https://10.0.0.2:2380,etcd3=https://10.0.0.3:2380"
            restored = {"sudo -u etcd ": "", "/var/lib/etcd/default": str(member.directory), cluster: member.peer}
            restored |= {"--name etcd1": f"--name {name}", "https://10.0.0.1:2380": peer_url}
            run_block("snapshot restore", tmp_path, {}, restored)
            etcd.start(member)
            etcd.wait_until_healthy()
            assert node.wait() == 1
        assert "it was restored from a backup; restart this node" in node.log_lines[-1]
        with ServerProcess("--etcd", etcd.urls) as node, node.connect() as client:
            assert client.ask("QUERY|gmp|", "QUERY|isl|") == ["OK", "FAIL"]
