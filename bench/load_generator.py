"""The load generator: many connections, one thread, one epoll, as little work per message as Python allows.

Before the clock starts, connections are accepted and messages are prepared as blocks of bytes. Each connection sends a
block, waits for one response per message, and sends the next block. Received newlines are counted; the content of the
responses is checked afterwards.
"""

import gc
import math
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, islice, repeat
from typing import Final, NamedTuple

from bench.workloads import Answer, Workload

Address = tuple[str, int]

SILENCE_SECONDS_MAX: Final = 60.0
"""Longest time without any received byte before the load fails."""

_ANSWER_BYTES_MAX: Final = 64
"""Bytes to receive per expected response: more than almost any has, and the rest is received with the next."""


class LoadError(Exception):
    """A server answered incorrectly, so its figures would be meaningless."""


@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """The encoding of messages and responses. A response ends with a newline and contains no other."""

    encode: Callable[[str], bytes]
    """Converts the line of a message, without newline, to the bytes to send."""
    tokens: dict[Answer, tuple[bytes, ...]]
    """The bytes that identify each response: once in each such response, and never in another."""

    def tally(self, received: bytes) -> Counter[Answer]:
        """Return the number of each response."""
        return Counter({answer: sum(map(received.count, tokens)) for answer, tokens in self.tokens.items()})


SCOOP: Final = Dialect(
    lambda line: f"{line}\n".encode(),
    {Answer.OK: (b"OK\n",), Answer.FAIL: (b"FAIL\n",), Answer.ERROR: (b"ERROR\n",)},
)
"""The protocol of Scoop."""


def _encode_for_redis(line: str) -> bytes:
    command, package, dependencies = line.split("|")
    match command:
        case "INDEX":
            words = ["FCALL", "index_package", "1", package, dependencies]
        case "REMOVE":
            words = ["FCALL", "remove_package", "1", package]
        case "QUERY":
            words = ["HEXISTS", "dependencies", package]
        case _:
            words = [command, package]
    encoded = [word.encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)


REDIS: Final = Dialect(
    _encode_for_redis,
    {Answer.OK: (b"+OK\r\n", b":1\r\n"), Answer.FAIL: (b"+FAIL\r\n", b":0\r\n"), Answer.ERROR: (b"-ERR ",)},
)
"""The same requests to Redis, with the functions of redis_index.lua."""


class Block(NamedTuple):
    """The bytes that a connection sends at once, and the number of messages in them."""

    data: bytes
    messages: int


def make_blocks(lines: Sequence[str], depth: int, dialect: Dialect) -> list[Block]:
    """Return the lines in blocks of ``depth`` messages; the last may have fewer."""
    return list(iterate_blocks(lines, depth, dialect))


def iterate_blocks(lines: Sequence[str], depth: int, dialect: Dialect) -> Iterator[Block]:
    """Yield the blocks of :func:`make_blocks` one by one, because all of them would need too much memory."""
    encoded = map(dialect.encode, lines)
    while some := list(islice(encoded, depth)):
        yield Block(b"".join(some), len(some))


class Load(NamedTuple):
    """The result of a load. Times in seconds."""

    messages: int
    seconds: float
    generator_cpu_seconds: float
    latencies: list[float]
    """Times from sending a block to its last response, sorted."""
    answers: Counter[Answer]

    def latency(self, share: float) -> float:
        """Return the latency that this share of the blocks does not exceed."""
        return self.latencies[max(0, math.ceil(share * len(self.latencies)) - 1)]


class _Channel(NamedTuple):
    """The state of one connection."""

    receive: Callable[[int], bytes]
    keep: Callable[[bytes], None]
    send: Callable[[bytes], None]
    blocks: Iterator[Block]


class Clients:
    """Open connections to one server."""

    def __init__(self, sockets: Sequence[socket.socket], dialect: Dialect) -> None:
        self._sockets = sockets
        self._dialect = dialect

    def run(self, workload: Workload, blocks: Sequence[Block], seconds: float) -> Load:
        """Send the blocks repeatedly for so many seconds; each client starts at another block.

        A cycle is sent by one client, and always completed.
        """
        if workload.is_cycle:
            return self._run([_whole_passes(blocks, seconds)], workload.answers, math.inf)
        count = len(self._sockets)
        sources = [_endless(blocks, len(blocks) * each // count) for each in range(count)]
        return self._run(sources, workload.answers, seconds)

    def run_once(self, blocks: Iterator[Block]) -> Load:
        """Send each block once, in order, from one client. All responses must be OK."""
        return self._run([blocks], frozenset({Answer.OK}), math.inf)

    def _run(self, sources: list[Iterator[Block]], possible: frozenset[Answer], seconds: float) -> Load:
        received: list[list[bytes]] = [[] for _ in sources]
        channels = {
            each.fileno(): _Channel(each.recv, kept.append, each.sendall, source)
            for each, kept, source in zip(self._sockets, received, sources, strict=False)
        }
        with _no_garbage_collection():
            generator_cpu = time.process_time()
            started = time.perf_counter()
            latencies = _exchange(channels, started + seconds)
            elapsed = time.perf_counter() - started
            generator_cpu = time.process_time() - generator_cpu
        latencies.sort()
        answers: Counter[Answer] = Counter()
        messages = 0
        for text in map(b"".join, received):
            answers += self._dialect.tally(text)
            messages += text.count(b"\n")
        if answers.total() != messages or not set(answers) <= possible:
            spelled = ", ".join(f"{count} {answer}" for answer, count in answers.items())
            raise LoadError(f"{messages} messages were answered {spelled or 'in no known way'}")
        return Load(messages, elapsed, generator_cpu, latencies, answers)


@contextmanager
def connected(address: Address, count: int, dialect: Dialect) -> Iterator[Clients]:
    """Connect ``count`` clients, wait until the server has accepted them, and close them at the end."""
    question = dialect.encode("QUERY|is-anyone-there|")
    with ExitStack() as resources:
        sockets: list[socket.socket] = []
        for _ in range(count):
            sockets.append(resources.enter_context(socket.create_connection(address, SILENCE_SECONDS_MAX)))
            sockets[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sockets[-1].sendall(question)
        for each in sockets:
            if not each.recv(_ANSWER_BYTES_MAX).endswith(b"\n"):
                raise LoadError("the server has closed the connection of a client that asks")
            # From here on, a socket is read only when it is readable and a send always fits, so no time-out is needed.
            each.settimeout(None)
        yield Clients(sockets, dialect)


def _exchange(channels: dict[int, _Channel], end: float) -> list[float]:
    """Keep every channel busy until ``end`` or the end of its blocks; return the latency of each block.

    All sent messages are answered when this returns, so that time, work and responses match.
    """
    latencies: list[float] = []
    note_latency, now, nothing = latencies.append, time.perf_counter, Block(b"", 0)
    unanswered: dict[int, int] = {}
    asked_at: dict[int, float] = {}
    with select.epoll() as poll:
        for number, (_, _, send, blocks) in channels.items():
            poll.register(number, select.EPOLLIN)
            asked_at[number] = now()
            question, unanswered[number] = next(blocks)
            send(question)
        read_size = _ANSWER_BYTES_MAX * max(unanswered.values())
        busy = len(channels)
        while busy:
            events = poll.poll(SILENCE_SECONDS_MAX)
            if not events:
                raise LoadError(f"{busy} clients have heard nothing for {SILENCE_SECONDS_MAX:.0f} s")
            for number, _ in events:
                receive, keep, send, blocks = channels[number]
                data = receive(read_size)
                keep(data)
                left = unanswered[number] - data.count(b"\n")
                if left:
                    if not data:
                        raise LoadError("the server has closed a connection")
                    if left < 0:
                        raise LoadError("more responses than requests")
                    unanswered[number] = left
                    continue
                time_now = now()
                note_latency(time_now - asked_at[number])
                question, unanswered[number] = next(blocks, nothing) if time_now < end else nothing
                if question:
                    asked_at[number] = time_now
                    send(question)
                else:
                    busy -= 1
    return latencies


def _endless(blocks: Sequence[Block], start: int) -> Iterator[Block]:
    """Return the blocks from number ``start`` on, and then all of them repeatedly, without Python code per block."""
    return chain.from_iterable(chain([blocks[start:]], repeat(blocks)))


def _whole_passes(blocks: Sequence[Block], seconds: float) -> Iterator[Block]:
    end = time.perf_counter() + seconds
    while True:
        yield from blocks
        if time.perf_counter() >= end:
            return


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Keep the garbage collector from traversing the blocks, up to a million, during a measurement."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
