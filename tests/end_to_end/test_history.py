"""The history of a real server: two identities change the index, and the trail says who did what."""

import os
from pathlib import Path

import pytest

from tests.support.certificates import CertificateFiles
from tests.support.process import ServerProcess, run_to_end


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
