"""Byte streams of hostile clients, from a seed: requests, damaged requests, and random bytes."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Final

LINE_BYTES_MAX: Final = 1_000
"""Line limit of the server under test: low, so that lines around it are cheap."""

NAMES: Final = tuple(f"fuzz-{number}" for number in range(12))
"""Few, so that requests concern each other's packages."""

_REQUESTS_MAX: Final = 40
_GARBAGE_BYTES_MAX: Final = 5_000
_MUTATIONS_MAX: Final = 8
_PIECES_MAX: Final = 100

_TOKENS: Final = (
    b"\n", b"\r\n", b"\r", b"\0", b"|", b"||", b",", b",,", b" ", b"\xff", b"\xc3\xa9", b"INDEX", b"index|", b"QUERY|",
    b"REMOVE|", b"\n\n\n", b"|\n", b"a" * 255, b"a" * 256, b"a" * LINE_BYTES_MAX, b"\x16\x03\x01\x02\x00\x01",
    b"GET / HTTP/1.1\r\nHost: scoop\r\n\r\n",
)  # fmt: skip
"""Pieces with a meaning in the protocol, at a limit, or in another protocol."""


def stream_of_bytes(random: Random) -> bytes:
    """Return the bytes of one connection."""
    kinds: list[Callable[[Random], bytes]] = [requests, damaged_requests, damaged_requests, garbage, long_lines]
    return random.choice(kinds)(random)


def requests(random: Random) -> bytes:
    """Return well-formed requests."""
    return b"".join(_request(random) for _ in range(random.randint(1, _REQUESTS_MAX)))


def _request(random: Random) -> bytes:
    needed = random.sample(NAMES, random.choice((0, 0, 1, 1, 2, 5)))
    line = random.choice(
        (
            f"INDEX|{random.choice(NAMES)}|{','.join(needed)}",
            f"INDEX|{random.choice(NAMES)}|",
            f"REMOVE|{random.choice(NAMES)}|",
            f"QUERY|{random.choice(NAMES)}|",
        )
    )
    return line.encode() + random.choice((b"\n", b"\n", b"\n", b"\r\n"))


def damaged_requests(random: Random) -> bytes:
    """Return damaged requests."""
    return damaged(requests(random), random)


def damaged(whole: bytes, random: Random) -> bytes:
    """Return ``whole`` with some bytes changed, deleted, repeated, moved or inserted."""
    data = bytearray(whole)
    for _ in range(random.randint(1, _MUTATIONS_MAX)):
        start = random.randrange(len(data) + 1)
        end = min(len(data), start + random.choice((0, 1, 1, 2, 30)))
        kind = random.randrange(5)
        if kind == 0:
            data[start:end] = random.randbytes(end - start)
        elif kind == 1:
            del data[start:end]
        elif kind == 2:
            data[start:start] = data[start:end] * random.randint(1, 3)
        elif kind == 3:
            data[start:start] = random.choice(_TOKENS)
        else:
            moved = data[start:end]
            del data[start:end]
            place = random.randrange(len(data) + 1)
            data[place:place] = moved
    return bytes(data)


def garbage(random: Random) -> bytes:
    """Return random bytes, often with many newlines."""
    data = random.randbytes(random.randint(1, _GARBAGE_BYTES_MAX))
    return data.replace(b"a", b"\n") if random.random() < 0.5 else data


def long_lines(random: Random) -> bytes:
    """Return lines around the limit, with requests between them."""
    data = b""
    for _ in range(random.randint(1, 5)):
        length = LINE_BYTES_MAX + random.choice((-1, 0, 1, 2, 1_000, 20_000))
        data += random.choice((b"x" * length, b"QUERY|" + b"y" * (length - 7) + b"|")) + random.choice((b"\n", b"\r\n"))
        data += _request(random)
    return data


def cut(data: bytes, random: Random) -> Iterator[bytes]:
    """Yield ``data`` in pieces: whole, in some large or small ones, or a byte at a time up to some place."""
    sizes = random.choice(((len(data),), (100, 1_000), (1, 2, 10, 100), (1,)))
    start = 0
    for _ in range(_PIECES_MAX):
        size = random.choice(sizes)
        if start >= len(data):
            return
        yield data[start : start + size]
        start += size
    yield data[start:]
