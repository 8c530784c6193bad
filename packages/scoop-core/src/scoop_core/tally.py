"""How often which command had which response, for whoever watches an index."""

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
"""The command of a request by how many INDEX and how many REMOVE it is."""

UNKNOWN: Final = "unknown"
"""Stands in a tally for the command of a line that has none, or none that is known."""


class Tally:
    r"""How many requests of each command had each response.

    One thread may read while another counts: what is read is then of one moment or the next.

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
        # All that can occur is a key from the start, so that whoever iterates meets no change of size.
        self._counts = {(str(command), encode_response(each)): 0 for command, each in product(Command, Response)}
        self._counts[UNKNOWN, _ERROR] = 0
        self.present_queries: int = 0
        """Queries that found their package, as far as whole batches of them were answered at once."""

    def __iter__(self) -> Iterator[tuple[str, Response, int]]:
        """Yield each command, ``"unknown"`` last, with each response that it can have, and how often it had it."""
        for (command, answer), count in self._counts.items():
            is_batched = (command, answer) == _QUERY_OK
            yield command, Response(answer[:-1]), count + self.present_queries * is_batched

    def __repr__(self) -> str:
        return f"<Tally: {sum(count for _, _, count in self):,} requests>"

    def _count(self, requests: int, indexes: int, removes: int, failed: list[str], broken: list[str]) -> None:
        """Count ``requests``, of which as many as told are INDEX and REMOVE.

        ``failed`` and ``broken`` are the commands of those that were answered FAIL and ERROR; the others had OK.
        """
        counts = self._counts
        if requests == 1:
            command = failed[0] if failed else broken[0] if broken else _ONE_OK[indexes, removes]
            counts[command, _FAIL if failed else _ERROR if broken else _OK] += 1
            return
        queries = requests - indexes - removes  # those that have no command, or an unknown one, among them
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
