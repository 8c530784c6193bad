"""A package index server under asyncio: ``python asyncio_server.py 8080``."""

import asyncio
import sys
from contextlib import closing, suppress

from scoop_core import Connection, DependencyGraph

graph = DependencyGraph()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    connection = Connection()
    with closing(writer), suppress(ConnectionError, asyncio.CancelledError):
        while data := await reader.read(65_536):
            writer.write(graph.apply_lines(connection.receive(data)).encode())
            await writer.drain()


with suppress(KeyboardInterrupt), asyncio.Runner() as runner:
    server = runner.run(asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1])))
    print("listening on port", server.sockets[0].getsockname()[1], flush=True)
    runner.run(asyncio.Event().wait())
