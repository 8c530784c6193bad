"""The command with --etcd, beside real servers and a real etcd."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scoop_explorer import cli

from tests.support.etcd_cluster import EtcdCluster, needs_etcd
from tests.support.explorer import ExplorerProcess
from tests.support.process import WAIT_SECONDS, ServerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.any_python

WITHOUT_SCOOP_ETCD = """
import importlib.metadata, sys
importlib.metadata.entry_points = lambda **_: ()
from scoop_explorer.cli import main
sys.exit(main())
"""


def change(server: ServerProcess, *lines: str) -> None:
    with server.connect() as client:
        assert set(client.ask(*lines)) == {"OK"}


def changes_in(explorer: ExplorerProcess, page: str = "changes") -> list[tuple[str, ...]]:
    found: list[dict[str, str]] | None = None

    def is_complete() -> bool:
        nonlocal found
        answer = json.loads(explorer.get(f"/api/v1/{page}")[1]).get("answer")
        found = answer and answer["changes"]
        return found is not None

    wait_until(is_complete)
    return [(each["kind"], each["package"], each["identity"], each["time"]) for each in found or []]


@needs_etcd
def test_pages_follow_the_log_and_keep_the_last_state_while_etcd_is_unavailable(tmp_path: Path) -> None:
    pytest.importorskip("grpc", reason="the extra scoop-server[etcd] is not installed")
    with EtcdCluster(tmp_path) as etcd:
        flags = ("--etcd", etcd.urls, "--etcd-prefix", "/explored/")
        name = f"/explored/ in etcd at {etcd.urls}"
        with ExplorerProcess(*flags) as explorer:
            wait_until(lambda: "it holds no index" in explorer.get("/readyz")[1])
            patient = (*flags, "--commit-timeout", "60s")  # on a busy machine etcd starts again slowly
            listen = ("--listen", "tcp:127.0.0.1:0", "--listen", f"unix:{tmp_path}/socket")
            with ServerProcess(*patient) as server, ServerProcess(*patient, *listen) as other:
                change(server, "INDEX|gmp|", "INDEX|isl|gmp")
                with other.connect(1) as local:
                    assert local.ask("INDEX|gmp|", "QUERY|gmp|", "INDEX|cloog|isl") == ["OK"] * 3
                change(other, "REMOVE|cloog|")
                wait_until(explorer.is_ready)
                wait_until(lambda: len(changes_in(explorer)) == 4)
                assert [change[:3] for change in changes_in(explorer)] == [
                    ("removed", "cloog", "anonymous"),
                    ("indexed", "cloog", f"uid={os.getuid()}"),
                    *(("indexed", each, "anonymous") for each in ("isl", "gmp")),
                ]
                assert changes_in(explorer, "history/cloog") == changes_in(explorer)[:2], "the times are the entries'"
                etcd.members[0].kill()
                wait_until(lambda: "The source cannot be read." in explorer.get("/packages/gmp")[1])
                status, page = explorer.get("/packages/gmp")
                assert (status, "1 package needs" in page, "its last good state" in page) == (200, True, True)
                etcd.start(*etcd.members)
                etcd.wait_until_healthy()
                change(server, "INDEX|make|gmp")
                wait_until(lambda: explorer.get("/packages/make")[0] == 200)
                wait_until(lambda: "The source cannot be read." not in explorer.get("/packages/gmp")[1])
            status, log = explorer.stop()
    assert status == 0
    broken, back = re.escape(f"cannot follow {name}: "), re.escape(f"following {name} again, at batch ")
    assert re.fullmatch(rf"(\S+ {broken}.*\n\S+ {back}\d+\n){{2,}}", log)  # more if the machine is busy


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "expected either SOURCE or --etcd"),
        (["data", "--etcd", "http://127.0.0.1:1"], "expected either SOURCE or --etcd"),
        (["--etcd", "127.0.0.1:2379"], "expected https://HOST:PORT or http://HOST:PORT"),
        (["--etcd", "http://127.0.0.1:1", "--etcd-prefix", "/"], "expected a prefix of 1 to"),
    ],
)
def test_a_source_that_cannot_be_meant_is_an_error(
    arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert re.fullmatch(rf"scoop-explorer: .*{error}.* \(see scoop-explorer --help\)\n", capsys.readouterr().err)


def test_a_password_that_cannot_be_read_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "password")
    arguments = ["--etcd", "http://127.0.0.1:1", "--etcd-user", "reader", "--etcd-password-file", missing]
    assert cli.main([*arguments, "--listen", "127.0.0.1:0"]) == 2
    assert capsys.readouterr().err == (
        f"cannot read {missing}: No such file or directory; check its name and permissions\n"
    )


def test_without_the_package_an_error_shows_how_to_install_it() -> None:
    command = [sys.executable, "-c", WITHOUT_SCOOP_ETCD, "--etcd", "http://127.0.0.1:1", "--listen", "127.0.0.1:0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert ended.returncode == 2
    assert "unrecognized arguments: --etcd; install it with: pip install 'scoop-server[etcd]'" in ended.stderr
    assert ended.stderr.count("\n") == 1
