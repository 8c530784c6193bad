"""The commands of the page on TLS run, in its order, with the result that it shows."""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.support.pages import ROOT, code_blocks
from tests.support.process import WAIT_SECONDS, ServerProcess

HOWTO: Final = ROOT / "docs" / "howto-tls.md"
PORT: Final = "8443"


def test_the_commands_start_a_server_that_admits_only_its_clients(tmp_path: Path) -> None:
    make_certificates, serve, connect = code_blocks(HOWTO, "sh")
    [program] = code_blocks(HOWTO, "python")
    subprocess.run(
        ["sh", "-e", "-c", make_certificates], cwd=tmp_path, timeout=WAIT_SECONDS, check=True, capture_output=True
    )
    command, *arguments = shlex.split(serve)
    assert command == "scoop-server"
    arguments = [argument.replace(PORT, "0") for argument in arguments]
    with ServerProcess(*arguments, "--memory", working_directory=tmp_path) as server:
        by_program = subprocess.run(
            [sys.executable, "-c", program.replace(PORT, str(server.port))],
            cwd=tmp_path,
            timeout=WAIT_SECONDS,
            check=True,
            capture_output=True,
            text=True,
        )
        assert by_program.stdout == f"{program.rstrip().rpartition('# ')[2]}\n"
        client = shlex.split(connect.replace(PORT, str(server.port)))
        without_certificate = client[: client.index("-cert")]
        for arguments, answer in ((client, "OK\n"), (without_certificate, "")):
            with subprocess.Popen(
                arguments,
                cwd=tmp_path,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            ) as process:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write("QUERY|gmp|\n")
                process.stdin.flush()
                assert process.stdout.readline() == answer
                process.kill()
                process.communicate(timeout=WAIT_SECONDS)
        server.wait_for_log("peer did not return a certificate")
