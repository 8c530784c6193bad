"""The history of a real server: two identities change the index, and the trail says who did what."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
import trustme

from tests.support.certificates import CertificateFiles
from tests.support.etcd_cluster import EtcdCluster, needs_etcd
from tests.support.process import MODULE_COMMAND, ServerProcess, run_to_end, server_environment


@pytest.mark.parametrize("option", ["--no-reject-cycles", "--reject-cycles"])
def test_the_trail_says_who_did_what(tmp_path: Path, option: str) -> None:
    files = CertificateFiles.make(tmp_path / "tls")
    data = str(tmp_path / "data")
    arguments = ("--data-dir", data, "--history", "30d", option, *files.mutual_arguments)
    listen = ("--listen", "tls:127.0.0.1:0", "--listen", f"unix:{tmp_path}/socket", "--listen", "tcp:127.0.0.1:0")
    expected = []
    with ServerProcess(*arguments, *listen) as server:
        with (
            server.connect(tls=files.client_context(files.client_cert)) as builder,
            server.connect(1) as local,
            server.connect(2) as anonymous,
        ):
            for number, (client, identity) in enumerate(
                [(builder, "CN="), (local, f"uid={os.getuid()}"), (anonymous, "anonymous")] * 2
            ):
                line = f"INDEX|package-{number}|"
                assert client.ask(line, "QUERY|package-0|") == ["OK", "OK"]
                expected.append((identity, line))
            assert builder.ask("REMOVE|package-1|") == ["OK"]
        assert server.stop() == 0
    printed = [line.split(" ", 3) for line in run_to_end("log", data).stdout.splitlines()]
    assert [line for *_, line in printed] == [*(line for _, line in expected), "REMOVE|package-1|"]
    for (_, _, author, _), (identity, _) in zip(printed, expected, strict=False):
        assert author == identity or (identity == "CN=" and author not in {"anonymous", "-", f"uid={os.getuid()}"})
    builder_name = printed[0][2]
    assert [author for _, _, author, _ in printed].count(builder_name) == 3
    removed = run_to_end("log", data, "--identity", builder_name, "--package", "package-1").stdout
    assert removed.endswith(f" {builder_name} REMOVE|package-1|\n")
    before = printed[-1][1]
    dumped = run_to_end("dump", data, "--at", str(int(before) - 1)).stdout
    assert "INDEX|package-1|\n" in dumped
    assert "INDEX|package-1|\n" not in run_to_end("dump", data).stdout


@needs_etcd
@pytest.mark.parametrize("option", ["--no-reject-cycles", "--reject-cycles"])
def test_the_trail_of_two_nodes_says_who_did_what(tmp_path: Path, option: str) -> None:
    pytest.importorskip("grpc", reason="the extra scoop-server[etcd] is not installed")
    authority = trustme.CA()
    files = CertificateFiles.make(tmp_path / "tls", authority)
    contexts = []
    for name in ("alice", "bob"):
        issued = authority.issue_cert(f"{name}@scoop.test", common_name=name)
        issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / name)
        contexts.append(files.client_context(tmp_path / name))
    with EtcdCluster(tmp_path) as etcd:
        place = ("--etcd", etcd.urls, option)
        arguments = (*place, *files.mutual_arguments, "--listen", "tls:127.0.0.1:0")
        with (
            ServerProcess(*arguments) as one,
            ServerProcess(*arguments) as other,
            one.connect(tls=contexts[0]) as alice,
            other.connect(tls=contexts[1]) as bob,
            subprocess.Popen(
                [*MODULE_COMMAND, "log", "--etcd", etcd.urls, "--follow", "--identity", "CN=bob"],
                stdout=subprocess.PIPE, env=server_environment(), text=True,
            ) as follower,
        ):  # fmt: skip
            assert follower.stdout is not None
            assert alice.ask("INDEX|gmp|", "QUERY|gmp|", "REMOVE|none|", "INDEX|isl|gmp,gmp") == ["OK"] * 4
            assert bob.ask("INDEX|gmp|", "REMOVE|gmp|", "REMOVE|isl|", "NOTHING") == ["OK", "FAIL", "OK", "ERROR"]
            assert follower.stdout.readline().endswith(" CN=bob REMOVE|isl|\n")
            assert alice.ask("REMOVE|gmp|") == ["OK"]
            assert bob.ask("INDEX|gmp|") == ["OK"]
            assert follower.stdout.readline().endswith(" CN=bob INDEX|gmp|\n")
            follower.send_signal(signal.SIGINT)
            assert follower.wait() == 130
        printed = run_to_end("log", "--etcd", etcd.urls)
    assert [line.split(" ", 2)[2] for line in printed.stdout.splitlines()] == [
        "CN=alice INDEX|gmp|",
        "CN=alice INDEX|isl|gmp",
        "CN=bob REMOVE|isl|",
        "CN=alice REMOVE|gmp|",
        "CN=bob INDEX|gmp|",
    ]
