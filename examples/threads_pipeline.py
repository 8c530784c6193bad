"""Threads share one connection: ``python threads_pipeline.py 8080 gmp isl``."""

import socket
import sys
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import closing, suppress
from threading import Lock, Thread

from scoop_core import ClientConnection, Command, PeerViolation, Request, Response


class Client:
    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._connection = ClientConnection()
        self._pending: deque[Future[Response]] = deque()
        self._send_lock, self._state_lock = Lock(), Lock()
        self._receiver = Thread(target=self._receive)
        self._receiver.start()

    def ask(self, request: Request) -> Future[Response]:
        future: Future[Response] = Future()
        with self._send_lock:
            with self._state_lock:
                data = self._connection.send(request)
                self._pending.append(future)
            self._socket.sendall(data)
        return future

    def close(self) -> None:
        with suppress(OSError):  # the server may have closed the connection already
            self._socket.shutdown(socket.SHUT_RDWR)
        self._receiver.join()
        self._socket.close()

    def _receive(self) -> None:
        try:
            while data := self._read():
                with self._state_lock:
                    answered = self._connection.receive(data)
                self._resolve(answered)
            with self._state_lock:
                self._connection.receive_end()
        except PeerViolation as violation:
            self._resolve(violation.answered)
            for future in self._pending:
                if future.set_running_or_notify_cancel():
                    future.set_exception(violation)

    def _read(self) -> bytes:
        with suppress(OSError):
            return self._socket.recv(65_536)
        return b""

    def _resolve(self, answered: Iterable[tuple[Request, Response]]) -> None:
        for _, response in answered:
            future = self._pending.popleft()
            if future.set_running_or_notify_cancel():
                future.set_result(response)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt), closing(Client(int(sys.argv[1]))) as client:
        queries = {name: client.ask(Request.of(Command.QUERY, name)) for name in sys.argv[2:]}
        for name, response in queries.items():
            print(name, response.result(), flush=True)
