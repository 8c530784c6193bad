"""Send the requests of standard input, pipelined, and print each response: ``python asyncio_client.py 8080``."""

import asyncio
import sys
from contextlib import closing, suppress

from scoop_core import ClientConnection, parse_request


async def main(port: int) -> None:
    connection = ClientConnection()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with closing(writer):
        while lines := sys.stdin.readlines(4_096):  # the responses to so many bytes fit into any socket buffer
            writer.write(connection.send_all(parse_request(line.rstrip("\n")) for line in lines))
            while connection.unanswered_count:
                for request, response in connection.receive(await reader.readuntil(b"\n")):
                    print(request.command, request.package, response, flush=True)


with suppress(KeyboardInterrupt):
    asyncio.run(main(int(sys.argv[1])))
