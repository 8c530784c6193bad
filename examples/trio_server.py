"""A package index server under trio: ``python trio_server.py 8080``."""

import sys
from contextlib import suppress

import trio

from scoop_core import Connection, DependencyGraph

graph = DependencyGraph()


async def serve(stream: trio.SocketStream) -> None:
    connection = Connection()
    with suppress(trio.BrokenResourceError):
        async for data in stream:
            await stream.send_all(graph.apply_lines(connection.receive(data)).encode())


async def main(port: int) -> None:
    [listener] = await trio.open_tcp_listeners(port, host="127.0.0.1")
    print("listening on port", listener.socket.getsockname()[1], flush=True)
    await trio.serve_listeners(serve, [listener])


try:
    trio.run(main, int(sys.argv[1]))
except* KeyboardInterrupt:
    pass
