"""Concurrent tasks share one connection under asyncio: ``python asyncio_pipeline.py 8080 gmp isl``."""

import asyncio
import sys
from collections import deque
from contextlib import closing, suppress

from scoop_core import ClientConnection, Command, Request, Response


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._connection = ClientConnection()
        self._pending: deque[asyncio.Future[Response]] = deque()

    async def ask(self, request: Request) -> Response:
        self._writer.write(self._connection.send(request))
        response: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._pending.append(response)
        await self._writer.drain()
        return await response

    async def receive(self) -> None:
        while data := await self._reader.read(65_536):
            for _, response in self._connection.receive(data):
                pending = self._pending.popleft()
                if not pending.cancelled():
                    pending.set_result(response)
        self._connection.receive_end()


async def main(port: int, names: list[str]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with closing(writer):
        async with asyncio.TaskGroup() as tasks:
            client = Client(reader, writer)
            receiver = tasks.create_task(client.receive())
            responses = await asyncio.gather(*(client.ask(Request.of(Command.QUERY, name)) for name in names))
            receiver.cancel()
    print(*map("{} {}".format, names, responses), sep="\n")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
