"""Hostile clients: ``python -m tests.latency.attacks NAME HOST PORT CLIENTS`` attacks a server until it is ended.

Each attack prepares its bytes before it begins and then makes few and large calls, because it shares a machine with the
server. It prints a line once its clients are connected.
"""

import contextlib
import os
import resource
import select
import socket
import ssl
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Final

from tests.support.certificates import TlsPeer

Address = tuple[str, int]
Attack = Callable[[Address, int], None]

CHAIN: Final = 100_000
"""The packages of a chain, each of which depends on the one before it."""

LISTED: Final = 12_000
"""The names of the longest lists that fit into a line of 64 KiB."""

_SEND_BYTES: Final = 65_536
_DIGITS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


def name_of(number: int) -> str:
    """Return a short name: 12,000 of them fit into a line."""
    name = ""
    while True:
        name, number = _DIGITS[number % 62] + name, number // 62 - 1
        if number < 0:
            return name


def _connect(address: Address, *, receive_bytes: int = 0) -> socket.socket:
    client = socket.socket()
    if receive_bytes:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.connect(address)
    client.setblocking(False)
    return client


def _begin() -> None:
    """Tell the campaign that the clients are connected."""
    print("attacking", flush=True)


def _pump(line: bytes, address: Address, clients: int, *, reads: bool = True) -> None:
    """Send ``line`` without pause from each client, and read the responses or not; connect again when disconnected."""
    data = line * max(1, _SEND_BYTES // len(line))
    poll = select.epoll()
    rest: dict[int, memoryview] = {}
    sockets: dict[int, socket.socket] = {}
    buffer = bytearray(1 << 20)

    def join() -> None:
        client = _connect(address, receive_bytes=0 if reads else 4_096)
        sockets[client.fileno()], rest[client.fileno()] = client, memoryview(data)
        poll.register(client, select.EPOLLOUT | (select.EPOLLIN if reads else 0))

    for _ in range(clients):
        join()
    _begin()
    while True:
        for number, events in poll.poll():
            client = sockets[number]
            try:
                if events & select.EPOLLIN and not client.recv_into(buffer):
                    raise ConnectionResetError
                if events & select.EPOLLOUT:
                    rest[number] = rest[number][client.send(rest[number]) :] or memoryview(data)
                elif events & (select.EPOLLHUP | select.EPOLLERR):
                    raise ConnectionResetError
            except BlockingIOError:
                pass
            except OSError:
                poll.unregister(client)
                sockets.pop(number).close()
                with contextlib.suppress(OSError):
                    join()


def _lists(address: Address, clients: int) -> None:
    """Give one package two long lists of dependencies in turn."""
    names = [name_of(number) for number in range(LISTED)]
    lists = (names[:-1], names[:0:-1])
    _pump("".join(f"INDEX|victim|{','.join(each)}\n" for each in lists).encode(), address, clients)


def _close_cycles(listed: int, address: Address, clients: int) -> None:
    """Let the first package of the chain depend on the last ``listed`` ones."""
    names = ",".join(name_of(CHAIN - number) for number in range(1, listed + 1))
    _pump(f"INDEX|{name_of(0)}|{names}\n".encode(), address, clients)


def _stay_silent(address: Address, clients: int) -> None:
    held = [_connect(address) for _ in range(clients)]
    _begin()
    while held:
        time.sleep(1)


def _send_slowly(address: Address, clients: int) -> None:
    """Send a byte a second from each client."""
    held = [_connect(address) for _ in range(clients)]
    _begin()
    for number in count():
        for client in held:
            with contextlib.suppress(OSError):
                client.send(b"QUERY|slow|\n"[number % 12 :][:1])
            time.sleep(1 / clients)


def _burst(line: bytes, address: Address, clients: int) -> None:
    """Send 64 KiB at once from each client, read nothing, and connect again."""
    data = line * (_SEND_BYTES // len(line))
    began = False
    while True:
        held = [_connect(address) for _ in range(clients)]
        for client in held:
            with contextlib.suppress(OSError):
                client.send(data)
        if not began:
            _begin()
            began = True
        time.sleep(1)
        for client in held:
            client.close()


def _flood(address: Address, clients: int, *, resets: bool) -> None:
    """Connect and disconnect without pause."""
    _begin()
    held: deque[socket.socket] = deque()
    while True:
        client = socket.socket()
        client.setblocking(False)
        if resets:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        with contextlib.suppress(BlockingIOError, OSError):
            client.connect(address)
        held.append(client)
        if len(held) > clients:
            held.popleft().close()


def _handshake(hello: bytes, address: Address, clients: int, *, rate: int = 2_500) -> None:
    """Open ``rate`` TLS connections a second, send ``hello`` on each, and never continue; close the oldest."""
    _begin()
    held: deque[socket.socket] = deque()
    started = time.monotonic()
    for number in count():
        with contextlib.suppress(OSError):
            held.append(_connect(address))
            if hello:
                held[-1].send(hello)
        if len(held) > clients:
            held.popleft().close()
        if (ahead := started + number / rate - time.monotonic()) > 0:
            time.sleep(ahead)


def _hold_places(address: Address, clients: int) -> None:
    """Hold as many connections as possible of clients without a certificate, from eight addresses."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    held = []
    for number in range(clients):
        with contextlib.suppress(OSError):
            plain = socket.create_connection(address, source_address=(f"127.0.0.{10 + number % 8}", 0))
            held.append(context.wrap_socket(plain))
    _begin()
    threading.Event().wait()


def _say_hello(address: Address, clients: int) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with socket.socket() as unused:
        hello = TlsPeer(unused, context).begin()
    _handshake(hello, address, clients)


ATTACKS: Final[dict[str, Attack]] = {
    "idle": _stay_silent,
    "slow": _send_slowly,
    "query": partial(_pump, b"QUERY|base|\n"),
    "newlines": partial(_pump, b"\n"),
    "bars": partial(_pump, b"|||\n"),
    "malformed": partial(_pump, b"INDEX|a|,\n"),
    "changes": partial(_pump, b"INDEX|a|\nREMOVE|a|\n"),
    "lists": _lists,
    "long-line": partial(_pump, b"x" * _SEND_BYTES),
    "unread": partial(_pump, b"QUERY|base|\n", reads=False),
    "burst-newlines": partial(_burst, b"\n"),
    "burst-malformed": partial(_burst, b"INDEX|a|,\n"),
    "flood-reset": partial(_flood, resets=True),
    "flood-end": partial(_flood, resets=False),
    "cycle": partial(_close_cycles, 1),
    "cycle-lists": partial(_close_cycles, LISTED),
    "tls-silent": partial(_handshake, b""),
    "tls-hello": _say_hello,
    "tls-half": partial(_handshake, b"\x16\x03\x01\x00", rate=10_000),
    "tls-places": _hold_places,
    "metrics": partial(_pump, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"),
}


if __name__ == "__main__":
    os.nice(10)
    descriptors_max = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors_max, descriptors_max))
    clients = int(sys.argv[4])
    if descriptors_max != resource.RLIM_INFINITY:
        clients = min(clients, descriptors_max // 2)  # the server has the same limit, and a healthy client
    with contextlib.suppress(KeyboardInterrupt):
        ATTACKS[sys.argv[1]]((sys.argv[2], int(sys.argv[3])), clients)
