"""etcd without Scoop: the obvious alternative to a node, and the upper bound of one.

``python -m bench.replication.transactions HOST:PORT SECONDS`` prints the requests per second of 100 clients that keep
packages as keys of etcd, with the rules of Scoop, and send one transaction per request. Each has one request in flight,
or as many as ``--depth`` says, and sends the next as soon as one is answered. A package is a key with its dependencies;
one key for each dependency of each package shows the dependents. An INDEX has the condition that its dependencies
exist, a REMOVE that there are no dependents. The clients know the dependencies of what they replace and remove, which
others would have to read first.

With ``--entry LINES`` it prints the changes per second of one client that appends entries of so many changes, one
after the other, with the transaction of a node.
"""

import argparse
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import Final, Protocol

import grpc

from bench.workloads import HOMEBREW, change_lines, index_line, read_packages

from scoop_etcd.client.api import Put, Txn, is_missing
from scoop_etcd.client.rpc_pb2 import TxnResponse
from scoop_etcd.client.wire import exchange
from scoop_etcd.formats.entries import Keys, encode_entry

CLIENTS: Final = 100

_METHOD: Final = "/etcdserverpb.KV/Txn"
_SECONDS_MAX: Final = 60.0
"""Time-out of a request: 1,600 may be in flight, on a machine that is busy."""


class _Future(Protocol):
    def result(self) -> bytes: ...
    def add_done_callback(self, callback: "Callable[[_Future], None]", /) -> None: ...


_Send = Callable[[bytes], _Future]


# The encoding of protocol buffers. Scoop's own messages lack the fields of ranges and inequalities.


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _exists(key: bytes) -> bytes:
    """Return the condition that ``key`` has a version greater than 0."""
    return _bytes(1, _number(1, 1) + _bytes(3, key))


def _is_empty(prefix: bytes) -> bytes:
    """Return the condition that every key of a range has the create revision 0: that there is none."""
    return _bytes(1, _number(2, 1) + _bytes(3, prefix) + _number(5, 0) + _bytes(64, prefix[:-1] + b"0"))


def _put(key: bytes, value: bytes) -> bytes:
    return _bytes(2, _bytes(2, _bytes(1, key) + _bytes(2, value)))


def _delete(key: bytes) -> bytes:
    return _bytes(2, _bytes(3, _bytes(1, key)))


def transaction(line: str, removed: str, *, is_conditional: bool = True) -> bytes:
    """Return the transaction of an INDEX or REMOVE; ``removed`` lists the dependencies of a package to remove."""
    command, name, listed = line.split("|")
    package = name.encode()
    dependencies = [each.encode() for each in (listed or removed).split(",") if each]
    links = [b"/dependents/%s/%s" % (each, package) for each in dependencies]
    if command == "INDEX":
        conditions = [_exists(b"/packages/" + each) for each in dependencies]
        operations = [_put(b"/packages/" + package, listed.encode()), *(_put(link, b"") for link in links)]
    else:
        conditions = [_is_empty(b"/dependents/%s/" % package)]
        operations = [_delete(b"/packages/" + package), *map(_delete, links)]
    return b"".join([*(conditions if is_conditional else ()), *operations])


def _run_clients(send: _Send, seconds: float, depth: int) -> float:
    """Return the requests per second of clients with ``depth`` requests in flight each."""
    packages = read_packages(HOMEBREW)
    prepared = [
        send(transaction(index_line(name, names), "", is_conditional=False)) for name, names in packages.items()
    ]
    for each in prepared:
        _check(each)
    lines = change_lines(packages)
    listed = [line.split("|")[2] for line in lines]
    requests = [
        transaction(line, listed[number - 1] if line.startswith("REMOVE") else "") for number, line in enumerate(lines)
    ]
    end = time.perf_counter() + seconds
    count = CLIENTS * depth
    chains = [_Chain(send, _from(requests, len(requests) * each // count), end) for each in range(count)]
    started = time.perf_counter()
    for chain in chains:
        chain.send_next()
    for chain in chains:
        chain.wait()
    return sum(chain.answered for chain in chains) / (time.perf_counter() - started)


def _from(requests: Sequence[bytes], start: int) -> Iterator[bytes]:
    return islice(cycle(requests), start, None)


class _Chain:
    """Requests of a client, each sent when the one before is answered."""

    def __init__(self, send: _Send, requests: Iterator[bytes], end: float) -> None:
        self._send = send
        self._requests = requests
        self._end = end
        self._has_ended = threading.Event()
        self._failure: Exception | None = None
        self.answered = 0

    def send_next(self) -> None:
        self._send(next(self._requests)).add_done_callback(self._take)

    def _take(self, future: _Future) -> None:
        try:
            _check(future)
        except Exception as error:  # raised by wait
            self._failure = error
        else:
            self.answered += 1
            if time.perf_counter() < self._end:
                self.send_next()
                return
        self._has_ended.set()

    def wait(self) -> None:
        self._has_ended.wait()
        if self._failure is not None:
            raise self._failure


def _check(future: _Future) -> None:
    """Raise RuntimeError unless the request of ``future`` was answered OK."""
    if not TxnResponse.FromString(future.result()).succeeded:
        raise RuntimeError("a condition does not hold")


def _append_entries(send: _Send, seconds: float, line_count: int) -> float:
    """Return the changes per second."""
    keys, node = Keys("/appends/"), f"{time.time_ns():x}"
    lines = iter(cycle(change_lines(read_packages(HOMEBREW))))
    count = 0
    started = time.perf_counter()
    while time.perf_counter() < started + seconds:
        count += 1
        key = keys.entry(node, count)
        entry = encode_entry(node, count, "".join(f"{line}\n" for line in islice(lines, line_count)))
        request = Txn((is_missing(key),), (Put(key, entry), Put(keys.head, b"%d" % count)))
        _check(send(exchange(request).data))
    return count * line_count / (time.perf_counter() - started)


def main() -> int:
    """Print the figure that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench.replication.transactions", description=__doc__)
    parser.add_argument("endpoint", metavar="HOST:PORT")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--depth", type=int, default=1, metavar="N", help="requests in flight of each client")
    parser.add_argument("--entry", type=int, metavar="LINES", help="append entries of so many changes")
    options = parser.parse_args()
    with grpc.insecure_channel(options.endpoint) as channel:
        call = channel.unary_unary(_METHOD)

        def send(data: bytes) -> _Future:
            future: _Future = call.future(data, timeout=_SECONDS_MAX)
            return future

        if options.entry is None:
            print(_run_clients(send, options.seconds, options.depth))
        else:
            print(_append_entries(send, options.seconds, options.entry))
    return 0


if __name__ == "__main__":
    sys.exit(main())
