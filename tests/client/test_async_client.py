"""The asyncio client: tasks that share a connection, cancellation, bounded memory."""

import asyncio
import socket
import threading

import pytest

from scoop_core import Response

from scoop_client import AsyncClient, ConnectionLost

from tests.support.clients import index, query
from tests.support.process import ServerProcess
from tests.support.scripted_server import ScriptedServer, answer_all, answer_of, lines_of, read_lines, wait_for_end

OK, FAIL, ERROR = Response


def test_the_methods() -> None:
    async def main(port: int) -> None:
        async with AsyncClient(f"127.0.0.1:{port}") as client:
            assert 0 < await client.ping() < 10
            assert await client.index("isl", ["gmp"]) is FAIL
            assert [await client.index("gmp"), await client.query("gmp"), await client.remove("gmp")] == [OK, OK, OK]
            assert await client.send_all([index("a"), query("a"), query("b")]) == [OK, OK, FAIL]

    with ServerProcess("--memory") as server:
        asyncio.run(main(server.port))


@pytest.mark.parametrize("max_unanswered", [1, 3, 1_000])
def test_tasks_share_one_connection_and_each_gets_its_own_responses(max_unanswered: int) -> None:
    async def main(address: str) -> None:
        async with AsyncClient(address, max_unanswered=max_unanswered) as client:
            names = [f"p{number}" for number in range(300)]
            async with asyncio.TaskGroup() as tasks:
                single = [tasks.create_task(client.query(name)) for name in names]
                batches = [tasks.create_task(client.send_all(map(query, names))) for _ in range(3)]
            expected = [answer_of(f"|{name}") for name in names]
            assert [task.result() for task in single] == expected
            assert [batch.result() for batch in batches] == [expected] * 3

    with ScriptedServer(answer_all) as server:
        asyncio.run(main(server.address))
        assert server.connection_count == 1


def test_a_cancelled_task_leaves_the_connection_usable() -> None:
    received, answer = threading.Event(), threading.Event()

    def answer_later(sock: socket.socket, _number: int) -> None:
        for number, line in enumerate(lines_of(sock)):
            if number == 0:
                received.set()
                answer.wait()
            sock.sendall(f"{answer_of(line)}\n".encode())

    async def main(address: str) -> None:
        async with AsyncClient(address, max_unanswered=1) as client:
            cancelled = asyncio.create_task(client.query("a"))
            await asyncio.to_thread(received.wait)
            waiting = asyncio.create_task(client.query("c"))
            also_cancelled = asyncio.create_task(client.query("d"))
            await asyncio.sleep(0)
            cancelled.cancel()
            also_cancelled.cancel()
            answer.set()
            assert await client.query("b") == answer_of("|b")
            assert await waiting == answer_of("|c")
            assert cancelled.cancelled()

    with ScriptedServer(answer_later) as server:
        asyncio.run(main(server.address))
        assert server.connection_count == 1


def test_close_ends_waiting_requests() -> None:
    received = threading.Event()

    def never_answer(sock: socket.socket, _number: int) -> None:
        read_lines(sock, 1)
        received.set()
        wait_for_end(sock)

    async def main(address: str) -> None:
        client = AsyncClient(address)
        waiting = asyncio.create_task(client.index("a"))
        await asyncio.to_thread(received.wait)
        await client.close()
        with pytest.raises(ConnectionLost, match="closed by this client"):
            await waiting
        with pytest.raises(RuntimeError, match="the client is closed"):
            await client.query("a")

    with ScriptedServer(never_answer) as server:
        asyncio.run(main(server.address))


def test_a_connection_that_the_server_closed_while_it_was_idle_is_replaced() -> None:
    def answer_one(sock: socket.socket, _number: int) -> None:
        [line] = read_lines(sock, 1)
        sock.sendall(f"{answer_of(line)}\n".encode())
        sock.shutdown(socket.SHUT_RDWR)

    async def main(address: str) -> None:
        async with AsyncClient(address) as client:
            await client.query("a")
            while client.address is not None:
                await asyncio.sleep(0)
            await client.index("b")

    with ScriptedServer(answer_one) as server:
        asyncio.run(main(server.address))
