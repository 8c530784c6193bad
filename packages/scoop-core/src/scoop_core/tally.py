"""Counts of requests by command and response."""

from collections.abc import Iterator
from itertools import product
from typing import Final

from scoop_core.messages import Command, Response, encode_response

_OK: Final = encode_response(Response.OK)
_FAIL: Final = encode_response(Response.FAIL)
_ERROR: Final = encode_response(Response.ERROR)

_QUERY_OK: Final = ("QUERY", _OK)
_INDEX_OK: Final = ("INDEX", _OK)
_REMOVE_OK: Final = ("REMOVE", _OK)

_ONE_OK: Final = {(0, 0): "QUERY", (1, 0): "INDEX", (0, 1): "REMOVE"}
"""The command of a single request, given its numbers of INDEX and REMOVE."""

UNKNOWN: Final = "unknown"
"""The command of a line without a valid command."""


class Tally:
    r"""The number of requests for each command and response.

    One thread may read while another counts; it sees each count before or after a batch.

    >>> from scoop_core import DependencyGraph
    >>> tally = Tally()
    >>> answers = DependencyGraph().apply_lines("INDEX|a|\nQUERY|a|\nQUERY|b|\nBLINDEX|a|\n", tally=tally)
    >>> for command, response, count in tally:
    ...     if count:
    ...         print(command, response, count)
    INDEX OK 1
    QUERY OK 1
    QUERY FAIL 1
    unknown ERROR 1
    """

    __slots__ = ("_counts", "present_queries")

    def __init__(self) -> None:
        # Every key exists from the start, so that the size does not change while another thread iterates.
        self._counts = {(str(command), encode_response(each)): 0 for command, each in product(Command, Response)}
        self._counts[UNKNOWN, _ERROR] = 0
        self.present_queries: int = 0
        """The QUERYs in batches that consist of nothing but QUERYs for indexed packages: one addition per batch."""

    def __iter__(self) -> Iterator[tuple[str, Response, int]]:
        """Yield command, response and count for each possible pair, ``"unknown"`` last."""
        for (command, answer), count in self._counts.items():
            is_batched = (command, answer) == _QUERY_OK
            yield command, Response(answer[:-1]), count + self.present_queries * is_batched

    def __repr__(self) -> str:
        return f"<Tally: {sum(count for _, _, count in self):,} requests>"

    def _count(self, requests: int, indexes: int, removes: int, failed: list[str], broken: list[str]) -> None:
        """Count ``requests``, of which ``indexes`` are INDEX and ``removes`` are REMOVE.

        ``failed`` and ``broken`` are the commands of those answered FAIL and ERROR; the others were answered OK.
        """
        counts = self._counts
        if requests == 1:
            command = failed[0] if failed else broken[0] if broken else _ONE_OK[indexes, removes]
            counts[command, _FAIL if failed else _ERROR if broken else _OK] += 1
            return
        queries = requests - indexes - removes  # including those without a valid command
        for answer, commands in ((_FAIL, failed), (_ERROR, broken)):
            if commands:
                refused_indexes, refused_removes = commands.count("INDEX"), commands.count("REMOVE")
                others = len(commands) - refused_indexes - refused_removes
                unknown = commands.count(UNKNOWN) if answer is _ERROR else 0
                counts["INDEX", answer] += refused_indexes
                counts["REMOVE", answer] += refused_removes
                counts["QUERY", answer] += others - unknown
                if unknown:
                    counts[UNKNOWN, answer] += unknown
                indexes -= refused_indexes
                removes -= refused_removes
                queries -= others
        counts[_QUERY_OK] += queries
        counts[_INDEX_OK] += indexes
        counts[_REMOVE_OK] += removes
