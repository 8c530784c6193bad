"""The deadline for a request to arrive, on a real connection."""

import asyncio
import hashlib
import logging
from pathlib import Path

import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from scoop_explorer import server as server_module
from scoop_explorer.server import BoundedProtocol, OneLineOfRejections


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT"], ids=["nothing", "a part", "a second part"]
)
def test_a_connection_whose_request_does_not_arrive_is_closed(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HEAD_SECONDS_MAX", 0.2)

    async def run() -> bytes:
        ok = PlainTextResponse("ok")
        config = uvicorn.Config(ok, http=BoundedProtocol, lifespan="off", log_level="critical", timeout_keep_alive=1)
        config.load()
        state = uvicorn.server.ServerState()
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(lambda: BoundedProtocol(config, state, {}), "127.0.0.1", 0)
        async with listener:
            port = listener.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            async with asyncio.timeout(30):
                received = await reader.read()
            writer.close()
        return received

    assert asyncio.run(run()).count(b"200 OK") == sent.count(b"\r\n\r\n")


def test_rejected_connections_are_one_line() -> None:
    logger = logging.Logger("uvicorn.error")
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]  # no class for it
    logger.addFilter(OneLineOfRejections())
    logger.addHandler(handler)
    for message in ["Exceeded concurrency limit."] * 3 + ["Invalid HTTP request received."]:
        logger.warning(message)
    assert len(lines) == 2
    assert lines[0].startswith("more than 300 connections: further ones are answered 503")


VENDORED = {
    "d3-dag-1.2.2.esm.min.js": "37c98e4ea147f2bb9a703bd4839606040a2a1c74ee97d0fc4d13fef62e44eb4b",
    "idiomorph-0.8.0.esm.js": "e1e2c7dbd606233d302bac48074fd1307c15609b77ea485c18f1b13d6be67c14",
}
"""The checksum of each file of another project, as its release on the npm registry has it."""


def test_vendored_files_are_those_of_their_releases_with_their_licences() -> None:
    static = Path(server_module.__file__).parent / "static"
    scripts = {path.name for path in (static / "vendor").glob("*.js")}
    assert scripts == VENDORED.keys()
    used = "".join(path.read_text() for path in static.glob("*.js"))
    for name, checksum in VENDORED.items():
        data = (static / "vendor" / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == checksum
        licence = (static / "vendor" / f"{name.partition('.esm')[0]}.LICENSE.txt").read_text()
        assert "Permission" in licence
        assert f"./vendor/{name}" in used
        assert b"http://" not in data.replace(b"http://www.w3.org", b"")


def test_the_package_holds_its_templates_and_files() -> None:
    package = Path(server_module.__file__).parent
    assert {path.suffix for path in package.glob("static/*.*")} == {".css", ".js", ".svg"}
    assert (package / "templates" / "base.html").is_file()
