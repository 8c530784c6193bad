"""The guided tour: its blocks run unchanged, in order, and print the output shown after them."""

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.homebrew import LIST, WAIT_SECONDS, play_five_phases

pytestmark = pytest.mark.any_python

TOUR: Final = Path(__file__).parent.parent.parent / "docs" / "library.md"

BLOCKS: Final = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", TOUR.read_text("utf-8"), flags=re.DOTALL)
SERVER_BLOCK: Final = next(code for code, _ in BLOCKS if "asyncio.run" in code)

# The server of the page listens on a port that may be taken here: it gets a free one, and tells which.
ON_A_FREE_PORT: Final = """
import asyncio
start_server = asyncio.start_server
async def start_server_on_a_free_port(serve, host, port):
    server = await start_server(serve, host, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    return server
asyncio.start_server = start_server_on_a_free_port
"""


def test_every_block_prints_what_the_page_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(LIST.parent)
    assert len(BLOCKS) > 10
    names: dict[str, object] = {}
    for code, expected in BLOCKS:
        if code == SERVER_BLOCK or re.search("import (batches|tarfile)", code):  # tested with the history of the server
            continue
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, TOUR.name, "exec"), names)
        assert printed.getvalue() == expected, code


def test_the_server_of_the_page_serves_the_homebrew_list() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ON_A_FREE_PORT + SERVER_BLOCK], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            play_five_phases(("127.0.0.1", int(process.stdout.readline())), client_count=10, seed=10)
        finally:
            process.terminate()
            process.communicate(timeout=WAIT_SECONDS)
