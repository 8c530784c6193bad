"""The two clients of scoop_client behind one interface, so that one test covers both."""

import asyncio
import ssl
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, Protocol, TypedDict, Unpack

from scoop_core import Command, Request, Response

from scoop_client import AsyncClient, Client

Answered = list[tuple[Request, Response]]


class Outcome(NamedTuple):
    """The result of a stream: what it yielded, and the exception that ended it."""

    answered: Answered
    error: Exception | None


class Options(TypedDict, total=False):
    """The options of both clients."""

    tls: ssl.SSLContext
    connect_timeout: float
    response_timeout: float
    reconnect_timeout: float
    max_unanswered: int
    resend_changes: bool


class Stream(Protocol):
    """Streams requests with a new client of one kind."""

    def __call__(self, requests: Iterable[Request], *addresses: str, **options: Unpack[Options]) -> Outcome: ...


def _stream_blocking(new_client: Callable[[], Client], requests: Iterable[Request]) -> Outcome:
    answered: Answered = []
    with new_client() as client:
        try:
            for each in client.stream(requests):
                answered.append(each)  # keeps those before an exception
        except Exception as error:
            return Outcome(answered, error)
    return Outcome(answered, None)


async def _stream_asyncio(new_client: Callable[[], AsyncClient], requests: Iterable[Request]) -> Outcome:
    answered: Answered = []
    async with new_client() as client:
        try:
            async for each in client.stream(requests):
                answered.append(each)  # keeps those before an exception
        except Exception as error:
            return Outcome(answered, error)
    return Outcome(answered, None)


def blocking(requests: Iterable[Request], *addresses: str, **options: Unpack[Options]) -> Outcome:
    """Stream ``requests`` with the blocking client."""
    return _stream_blocking(lambda: Client(*addresses, **options), requests)


def asynchronous(requests: Iterable[Request], *addresses: str, **options: Unpack[Options]) -> Outcome:
    """Stream ``requests`` with the asyncio client."""
    return asyncio.run(_stream_asyncio(lambda: AsyncClient(*addresses, **options), requests))


STREAMS: Final[tuple[Stream, ...]] = (blocking, asynchronous)


def query(package: str) -> Request:
    """Return a QUERY."""
    return Request.of(Command.QUERY, package)


def index(package: str, *dependencies: str) -> Request:
    """Return an INDEX."""
    return Request.of(Command.INDEX, package, dependencies)


def remove(package: str) -> Request:
    """Return a REMOVE."""
    return Request.of(Command.REMOVE, package)
