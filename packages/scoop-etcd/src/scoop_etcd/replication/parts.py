"""Requests that are appended in parts, because the searches for cycles of one entry have a limit.

No node applies the lines of an entry that come after the limit. So the node that has received them appends them again.
"""

import re
from dataclasses import dataclass
from typing import Final, Generic

from scoop_server.ports import ClientT, Request, Response

delete_plain_queries: Final = re.compile(r"^QUERY\|[^|\n]*\|\n", re.MULTILINE).sub

_search_for_indexes: Final = re.compile(r"^INDEX\|", re.MULTILINE).finditer


@dataclass(slots=True, eq=False)
class Parted(Generic[ClientT]):
    """A client whose request is appended in parts; it takes the place of the client in the requests of an entry."""

    client: ClientT
    lines: str
    deadline: float
    answers: str = ""
    rest: str = ""
    """The lines that are in no part yet."""

    def take(self, answered: str, unanswered: str) -> Request["Parted[ClientT]"] | None:
        """Note the responses to the last part, and its lines that have none; return the next part, None at the end.

        It has twice as many INDEX lines as were answered, so that little is in the entry log again and again. Each part
        begins with one.
        """
        self.answers += answered
        self.rest = unanswered + self.rest
        starts = [match.start() for match in _search_for_indexes(self.rest)]
        count = max(2 * answered.count("\n"), 1)
        end = starts[count] if count < len(starts) else len(self.rest)
        part, self.rest = self.rest[:end], self.rest[end:]
        return (self, part) if part else None


def response_to(request: Request[ClientT | Parted[ClientT]], answers: str | None) -> Response[ClientT]:
    """Return the response to the whole request of which ``request`` may be the last part; None if it is unknown."""
    client, lines = request
    if isinstance(client, Parted):
        return client.client, client.lines, None if answers is None else client.answers
    return client, lines, answers
