"""Concurrent tasks share one connection under trio: ``python trio_pipeline.py 8080 gmp isl``."""

import math
import sys
from collections import deque

import trio

from scoop_core import ClientConnection, Command, Request, Response


class Client:
    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._connection = ClientConnection()
        self._pending: deque[trio.MemorySendChannel[Response]] = deque()
        self._outgoing, self._unsent = trio.open_memory_channel[bytes](math.inf)

    async def ask(self, request: Request) -> Response:
        sender, receiver = trio.open_memory_channel[Response](1)
        self._outgoing.send_nowait(self._connection.send(request))
        self._pending.append(sender)
        return await receiver.receive()

    async def send(self) -> None:
        async for data in self._unsent:
            await self._stream.send_all(data)

    async def receive(self) -> None:
        async for data in self._stream:
            for _, response in self._connection.receive(data):
                self._pending.popleft().send_nowait(response)
        self._connection.receive_end()


async def main(port: int, names: list[str]) -> None:
    async def query(name: str) -> None:
        print(name, await client.ask(Request.of(Command.QUERY, name)), flush=True)

    async with await trio.open_tcp_stream("127.0.0.1", port) as stream, trio.open_nursery() as connection:
        client = Client(stream)
        connection.start_soon(client.send)
        connection.start_soon(client.receive)
        async with trio.open_nursery() as queries:
            for name in names:
                queries.start_soon(query, name)
        connection.cancel_scope.cancel()


if __name__ == "__main__":
    try:
        trio.run(main, int(sys.argv[1]), sys.argv[2:])
    except* KeyboardInterrupt:
        pass
