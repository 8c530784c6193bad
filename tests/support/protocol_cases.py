r"""The protocol as a table: bytes and their replies.

Every case begins with an empty index. ``setup`` is sent first, and each of its lines is answered OK. Then ``sent`` is
sent, and ``answers`` are all replies, also after the sending side has ended.

Each case names the rule that it shows, so that a failing test names the broken rule.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolCase:
    """Bytes and their answers. ``max_line_length`` counts the bytes of a line before its newline."""

    rule: str
    name: str
    setup: bytes = b""
    sent: bytes
    answers: bytes
    reject_cycles: bool = False
    max_line_length: int = 65_536

    def __str__(self) -> str:
        return f"{self.rule}: {self.name}"


_LONGEST_NAME: Final = b"n" * 255
_ALL_NAME_CHARACTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+.@/:~"
_NO_NAME_CHARACTERS: Final = bytes(
    byte for byte in range(256) if byte not in _ALL_NAME_CHARACTERS and byte not in b"\n|,"
)

_INDEX_EVERY_DEPENDENCY_INDEXED: Final = (
    ProtocolCase(
        rule="INDEX with every dependency indexed",
        name="a package without dependencies",
        sent=b"INDEX|a|\nQUERY|a|\n",
        answers=b"OK\nOK\n",
    ),
    ProtocolCase(
        rule="INDEX with every dependency indexed",
        name="a package with dependencies",
        setup=b"INDEX|gmp|\nINDEX|isl|gmp\nINDEX|pkg-config|\n",
        sent=b"INDEX|cloog|gmp,isl,pkg-config\nQUERY|cloog|\n",
        answers=b"OK\nOK\n",
    ),
    ProtocolCase(
        rule="INDEX with every dependency indexed",
        name="the same line again",
        setup=b"INDEX|b|\nINDEX|a|b\n",
        sent=b"INDEX|a|b\nINDEX|a|b\nREMOVE|a|\nREMOVE|b|\n",
        answers=b"OK\nOK\nOK\nOK\n",
    ),
    ProtocolCase(
        rule="INDEX with every dependency indexed",
        name="the same dependencies in another order",
        setup=b"INDEX|b|\nINDEX|c|\nINDEX|a|b,c\n",
        sent=b"INDEX|a|c,b\nREMOVE|b|\nREMOVE|c|\nREMOVE|a|\nREMOVE|b|\nREMOVE|c|\n",
        answers=b"OK\nFAIL\nFAIL\nOK\nOK\nOK\n",
    ),
    ProtocolCase(
        rule="INDEX with every dependency indexed",
        name="a new list releases the old dependencies and holds the new ones",
        setup=b"INDEX|old|\nINDEX|new|\nINDEX|a|old\n",
        sent=b"REMOVE|old|\nINDEX|a|new\nREMOVE|new|\nREMOVE|old|\n",
        answers=b"FAIL\nOK\nFAIL\nOK\n",
    ),
    ProtocolCase(
        rule="INDEX with every dependency indexed",
        name="an empty list releases all dependencies",
        setup=b"INDEX|b|\nINDEX|c|\nINDEX|a|b,c\n",
        sent=b"INDEX|a|\nREMOVE|b|\nREMOVE|c|\nQUERY|a|\n",
        answers=b"OK\nOK\nOK\nOK\n",
    ),
    ProtocolCase(
        rule="INDEX with every dependency indexed",
        name="a dependency indexed earlier in the same bytes",
        sent=b"INDEX|a|b\nINDEX|b|\nINDEX|a|b\n",
        answers=b"FAIL\nOK\nOK\n",
    ),
)

_INDEX_DEPENDENCY_MISSING: Final = (
    ProtocolCase(
        rule="INDEX with a dependency missing",
        name="a new package does not enter",
        sent=b"INDEX|a|b\nQUERY|a|\nQUERY|b|\n",
        answers=b"FAIL\nFAIL\nFAIL\n",
    ),
    ProtocolCase(
        rule="INDEX with a dependency missing",
        name="one missing among many",
        setup=b"INDEX|b|\nINDEX|d|\n",
        sent=b"INDEX|a|b,c,d\nQUERY|a|\nREMOVE|b|\nREMOVE|d|\n",
        answers=b"FAIL\nFAIL\nOK\nOK\n",
    ),
    ProtocolCase(
        rule="INDEX with a dependency missing",
        name="an existing entry keeps the dependencies that it had",
        setup=b"INDEX|b|\nINDEX|c|\nINDEX|a|b\n",
        sent=b"INDEX|a|c,missing\nQUERY|a|\nREMOVE|c|\nREMOVE|b|\nREMOVE|a|\nREMOVE|b|\n",
        answers=b"FAIL\nOK\nOK\nFAIL\nOK\nOK\n",
    ),
    ProtocolCase(
        rule="INDEX with a dependency missing",
        name="a dependency that was removed",
        setup=b"INDEX|b|\nREMOVE|b|\n",
        sent=b"INDEX|a|b\n",
        answers=b"FAIL\n",
    ),
    ProtocolCase(
        rule="INDEX with a dependency missing",
        name="the case of letters tells names apart",
        setup=b"INDEX|B|\n",
        sent=b"INDEX|a|b\nQUERY|b|\nINDEX|a|B\n",
        answers=b"FAIL\nFAIL\nOK\n",
    ),
)

_REMOVE: Final = (
    ProtocolCase(
        rule="REMOVE of a package that another depends on",
        name="the package stays",
        setup=b"INDEX|b|\nINDEX|a|b\n",
        sent=b"REMOVE|b|\nQUERY|b|\n",
        answers=b"FAIL\nOK\n",
    ),
    ProtocolCase(
        rule="REMOVE of a package that another depends on",
        name="until the last dependent has gone",
        setup=b"INDEX|c|\nINDEX|a|c\nINDEX|b|c\n",
        sent=b"REMOVE|c|\nREMOVE|a|\nREMOVE|c|\nREMOVE|b|\nREMOVE|c|\n",
        answers=b"FAIL\nOK\nFAIL\nOK\nOK\n",
    ),
    ProtocolCase(
        rule="REMOVE otherwise",
        name="a package on which nothing depends",
        setup=b"INDEX|a|\n",
        sent=b"REMOVE|a|\nQUERY|a|\n",
        answers=b"OK\nFAIL\n",
    ),
    ProtocolCase(
        rule="REMOVE otherwise",
        name="a package that was never indexed",
        sent=b"REMOVE|a|\nREMOVE|a|\nQUERY|a|\n",
        answers=b"OK\nOK\nFAIL\n",
    ),
    ProtocolCase(
        rule="REMOVE otherwise",
        name="the dependencies of a removed package are released",
        setup=b"INDEX|b|\nINDEX|a|b\n",
        sent=b"REMOVE|a|\nREMOVE|b|\nQUERY|a|\nQUERY|b|\n",
        answers=b"OK\nOK\nFAIL\nFAIL\n",
    ),
    ProtocolCase(
        rule="REMOVE otherwise",
        name="a package that comes back brings no old dependencies",
        setup=b"INDEX|b|\nINDEX|a|b\nREMOVE|a|\nINDEX|a|\n",
        sent=b"REMOVE|b|\nQUERY|a|\n",
        answers=b"OK\nOK\n",
    ),
)

_QUERY: Final = (
    ProtocolCase(
        rule="QUERY",
        name="OK if indexed, else FAIL",
        setup=b"INDEX|a|\n",
        sent=b"QUERY|a|\nQUERY|b|\nQUERY|a|\n",
        answers=b"OK\nFAIL\nOK\n",
    ),
    ProtocolCase(
        rule="QUERY",
        name="answers stay in order while the index changes between them",
        sent=b"QUERY|a|\nINDEX|a|\nQUERY|a|\nREMOVE|a|\nQUERY|a|\n",
        answers=b"FAIL\nOK\nOK\nOK\nFAIL\n",
    ),
)

_MALFORMED_LINES: Final = (
    ProtocolCase(
        rule="not exactly two bars",
        name="none, one, three and four",
        setup=b"INDEX|a|\nINDEX|b|\n",
        sent=b"QUERY\nQUERYa\nQUERY|a\nINDEX|a\nREMOVE|a\nQUERY|a||\nINDEX|a|b|\nREMOVE|a|b|b|b\n|QUERY|a|\n|\n|||\n",
        answers=b"ERROR\n" * 11,
    ),
    ProtocolCase(
        rule="not exactly two bars",
        name="the sides of a line that is cut short among good ones",
        setup=b"INDEX|a|\nINDEX|b|\n",
        sent=b"QUERY|a|\nQUERY|a\nQUERY|b|\n",
        answers=b"OK\nERROR\nOK\n",
    ),
    ProtocolCase(
        rule="unknown or lower-case command",
        name="other words",
        setup=b"INDEX|a|\nINDEX|b|\n",
        sent=b"BLINDEX|a|b\nREMOVES|a|b\nQUER|a|b\nLIZARD|a|b\nI|a|b\nINDEXINDEX|a|\nADD|a|\n",
        answers=b"ERROR\n" * 7,
    ),
    ProtocolCase(
        rule="unknown or lower-case command",
        name="lower and mixed case",
        setup=b"INDEX|a|\n",
        sent=b"index|a|\nIndex|a|\nremove|a|\nREMOVe|a|\nquery|a|\nQuery|a|\nQUERY|a|\n",
        answers=b"ERROR\n" * 6 + b"OK\n",
    ),
    ProtocolCase(
        rule="unknown or lower-case command",
        name="white space, a zero byte or nothing around the command",
        setup=b"INDEX|a|\n",
        sent=b" QUERY|a|\nQUERY |a|\n\tQUERY|a|\nQUERY\0|a|\n\xef\xbb\xbfQUERY|a|\n\rQUERY|a|\n|a|\n",
        answers=b"ERROR\n" * 7,
    ),
    ProtocolCase(
        rule="empty line",
        name="alone, repeated, and between good lines",
        setup=b"INDEX|a|\n",
        sent=b"\nQUERY|a|\n\n\nQUERY|a|\n\n",
        answers=b"ERROR\nOK\nERROR\nERROR\nOK\nERROR\n",
    ),
    ProtocolCase(
        rule="empty package",
        name="for each command, with and without dependencies",
        setup=b"INDEX|a|\n",
        sent=b"INDEX||\nREMOVE||\nQUERY||\nINDEX||a\nREMOVE||a\nQUERY||a\n||\n",
        answers=b"ERROR\n" * 7,
    ),
)

_NAMES: Final = (
    ProtocolCase(
        rule="a name of other characters or longer than 255",
        name="every allowed character",
        sent=b"INDEX|" + _ALL_NAME_CHARACTERS + b"|\nQUERY|" + _ALL_NAME_CHARACTERS + b"|\n"
        b"INDEX|a|" + _ALL_NAME_CHARACTERS + b"\nREMOVE|" + _ALL_NAME_CHARACTERS + b"|\n",
        answers=b"OK\nOK\nOK\nFAIL\n",
    ),
    ProtocolCase(
        rule="a name of other characters or longer than 255",
        name="every allowed character as a name of its own",
        sent=b"".join(b"INDEX|%c|\nQUERY|%c|\n" % (byte, byte) for byte in _ALL_NAME_CHARACTERS),
        answers=b"OK\nOK\n" * len(_ALL_NAME_CHARACTERS),
    ),
    ProtocolCase(
        rule="a name of other characters or longer than 255",
        name="every other byte in a package",
        sent=b"".join(b"INDEX|a%cb|\nREMOVE|a%cb|\nQUERY|%c|\n" % (byte, byte, byte) for byte in _NO_NAME_CHARACTERS),
        answers=b"ERROR\nERROR\nERROR\n" * len(_NO_NAME_CHARACTERS),
    ),
    ProtocolCase(
        rule="a name of other characters or longer than 255",
        name="every other byte in a dependency",
        setup=b"INDEX|a|\nINDEX|b|\n",
        sent=b"".join(
            b"INDEX|c|a%cb\nINDEX|a|b,%ca\nREMOVE|a|a%cb\nQUERY|a|a%cb,b\n" % (byte, byte, byte, byte)
            for byte in _NO_NAME_CHARACTERS
        ),
        answers=b"ERROR\nERROR\nERROR\nERROR\n" * len(_NO_NAME_CHARACTERS),
    ),
    ProtocolCase(
        rule="a name of other characters or longer than 255",
        name="a comma in a package",
        setup=b"INDEX|a|\nINDEX|b|\n",
        sent=b"INDEX|a,b|\nREMOVE|a,b|\nQUERY|a,b|\nQUERY|,|\n",
        answers=b"ERROR\nERROR\nERROR\nERROR\n",
    ),
    ProtocolCase(
        rule="a name of other characters or longer than 255",
        name="words of the wrong shape",
        setup=b"INDEX|emacs|\nINDEX|elisp|\n",
        sent=b"INDEX|emacs elisp\nINDEX|emacs=elisp\nINDEX|emacs+elisp\nINDEX|emacs\xe2\x98\x83elisp\n"
        b"INDEX|emacs elisp|\nINDEX|emacs=elisp|\nINDEX|emacs\xe2\x98\x83elisp|\nINDEX|emacs+elisp|\n",
        answers=b"ERROR\n" * 7 + b"OK\n",
    ),
    ProtocolCase(
        rule="a name of other characters or longer than 255",
        name="a bad name beside a missing one is an ERROR, whichever comes first",
        sent=b"INDEX|a|missing,b=\nINDEX|a|b=,missing\nINDEX|a=|missing\n",
        answers=b"ERROR\nERROR\nERROR\n",
    ),
    ProtocolCase(
        rule="a name of other characters or longer than 255",
        name="a bad name changes nothing",
        setup=b"INDEX|b|\nINDEX|a|b\n",
        sent=b"INDEX|a|b=\nREMOVE|a|b=\nREMOVE|b|\nQUERY|a|\n",
        answers=b"ERROR\nERROR\nFAIL\nOK\n",
    ),
    ProtocolCase(
        rule="a name of other characters or longer than 255",
        name="a package of 255 and of 256 characters",
        sent=b"INDEX|" + _LONGEST_NAME + b"|\nQUERY|" + _LONGEST_NAME + b"|\n"
        b"INDEX|" + _LONGEST_NAME + b"n|\nREMOVE|" + _LONGEST_NAME + b"n|\nQUERY|" + _LONGEST_NAME + b"n|\n",
        answers=b"OK\nOK\nERROR\nERROR\nERROR\n",
    ),
    ProtocolCase(
        rule="a name of other characters or longer than 255",
        name="a dependency of 255 and of 256 characters",
        setup=b"INDEX|" + _LONGEST_NAME + b"|\n",
        sent=b"INDEX|a|" + _LONGEST_NAME + b"\nINDEX|a|" + _LONGEST_NAME + b"n\n"
        b"QUERY|a|" + _LONGEST_NAME + b"\nQUERY|a|" + _LONGEST_NAME + b"n\n",
        answers=b"OK\nERROR\nOK\nERROR\n",
    ),
)

_DEPENDENCY_LISTS: Final = (
    ProtocolCase(
        rule="an empty dependency",
        name="before, between, after and without a name",
        setup=b"INDEX|b|\nINDEX|c|\n",
        sent=b"INDEX|a|b,,c\nINDEX|a|b,\nINDEX|a|,b\nINDEX|a|,\nINDEX|a|,,\nINDEX|a|missing,\nQUERY|a|\n",
        answers=b"ERROR\n" * 6 + b"FAIL\n",
    ),
    ProtocolCase(
        rule="an empty dependency",
        name="an existing entry keeps the dependencies that it had",
        setup=b"INDEX|b|\nINDEX|a|b\n",
        sent=b"INDEX|a|,\nINDEX|a|b,\nREMOVE|b|\n",
        answers=b"ERROR\nERROR\nFAIL\n",
    ),
    ProtocolCase(
        rule="the same dependency twice",
        name="counts once, and is released as one",
        setup=b"INDEX|b|\nINDEX|c|\nINDEX|a|b,c,b,b\n",
        sent=b"REMOVE|b|\nINDEX|a|c\nREMOVE|b|\nINDEX|a|c,c\nREMOVE|c|\nREMOVE|a|\nREMOVE|c|\n",
        answers=b"FAIL\nOK\nOK\nOK\nFAIL\nOK\nOK\n",
    ),
    ProtocolCase(
        rule="the same dependency twice",
        name="a missing one is missing",
        sent=b"INDEX|a|b,b\nQUERY|a|\n",
        answers=b"FAIL\nFAIL\n",
    ),
    ProtocolCase(
        rule="REMOVE or QUERY with dependencies",
        name="well-formed ones are ignored, indexed or not",
        setup=b"INDEX|a|\nINDEX|b|\n",
        sent=b"QUERY|a|b\nQUERY|a|missing,b,b\nQUERY|missing|a\nREMOVE|a|b,missing\nREMOVE|missing|b\nREMOVE|b|a\n",
        answers=b"OK\nOK\nFAIL\nOK\nOK\nOK\n",
    ),
    ProtocolCase(
        rule="REMOVE or QUERY with dependencies",
        name="malformed ones are an ERROR, and nothing is removed",
        setup=b"INDEX|a|\n",
        sent=b"QUERY|a|,\nQUERY|a|b,\nQUERY|a|b c\nREMOVE|a|,\nREMOVE|a|b,,c\nREMOVE|a|b c\nREMOVE|x|,\nQUERY|a|\n",
        answers=b"ERROR\n" * 7 + b"OK\n",
    ),
)

_CYCLES: Final = (
    ProtocolCase(
        rule="INDEX of a package on itself",
        name="FAIL while it is not indexed",
        sent=b"INDEX|a|a\nQUERY|a|\n",
        answers=b"FAIL\nFAIL\n",
    ),
    ProtocolCase(
        rule="INDEX of a package on itself",
        name="OK once it is, and it does not block its own REMOVE",
        setup=b"INDEX|a|\n",
        sent=b"INDEX|a|a\nQUERY|a|\nREMOVE|a|\nQUERY|a|\nINDEX|a|a\n",
        answers=b"OK\nOK\nOK\nFAIL\nFAIL\n",
    ),
    ProtocolCase(
        rule="INDEX of a package on itself",
        name="other dependents still block its REMOVE",
        setup=b"INDEX|a|\nINDEX|b|a\nINDEX|a|a\n",
        sent=b"REMOVE|a|\nREMOVE|b|\nREMOVE|a|\n",
        answers=b"FAIL\nOK\nOK\n",
    ),
    ProtocolCase(
        rule="INDEX of a package on itself",
        name="given up again",
        setup=b"INDEX|a|\nINDEX|b|\nINDEX|a|b,a\n",
        sent=b"INDEX|a|b\nREMOVE|b|\nREMOVE|a|\nREMOVE|b|\n",
        answers=b"OK\nFAIL\nOK\nOK\n",
    ),
    ProtocolCase(
        rule="a cycle closed by INDEX of an existing package",
        name="OK, and its members block each other",
        setup=b"INDEX|a|\nINDEX|b|a\nINDEX|c|b\n",
        sent=b"INDEX|a|c\nREMOVE|a|\nREMOVE|b|\nREMOVE|c|\n",
        answers=b"OK\nFAIL\nFAIL\nFAIL\n",
    ),
    ProtocolCase(
        rule="a cycle closed by INDEX of an existing package",
        name="opened again by another INDEX",
        setup=b"INDEX|a|\nINDEX|b|a\nINDEX|a|b\n",
        sent=b"REMOVE|b|\nINDEX|a|\nREMOVE|b|\nREMOVE|a|\n",
        answers=b"FAIL\nOK\nOK\nOK\n",
    ),
    ProtocolCase(
        rule="a cycle with reject_cycles",
        name="of one package",
        setup=b"INDEX|a|\n",
        sent=b"INDEX|b|b\nINDEX|a|a\nREMOVE|a|\n",
        answers=b"FAIL\nFAIL\nOK\n",
        reject_cycles=True,
    ),
    ProtocolCase(
        rule="a cycle with reject_cycles",
        name="of two packages; the entry stays as it was",
        setup=b"INDEX|x|\nINDEX|a|x\nINDEX|b|a\n",
        sent=b"INDEX|a|b\nREMOVE|x|\nREMOVE|b|\nREMOVE|a|\nREMOVE|x|\n",
        answers=b"FAIL\nFAIL\nOK\nOK\nOK\n",
        reject_cycles=True,
    ),
    ProtocolCase(
        rule="a cycle with reject_cycles",
        name="of many packages, found behind two ways to the same one",
        setup=b"INDEX|a|\nINDEX|b|a\nINDEX|c|b\nINDEX|d|b\nINDEX|e|c,d\nINDEX|x|\n",
        sent=b"INDEX|a|x,e\nINDEX|b|a,d\nINDEX|a|x\nINDEX|x|e\n",
        answers=b"FAIL\nFAIL\nOK\nFAIL\n",
        reject_cycles=True,
    ),
    ProtocolCase(
        rule="a cycle with reject_cycles",
        name="a new edge that closes none",
        setup=b"INDEX|a|\nINDEX|b|a\nINDEX|c|a\nINDEX|d|b\n",
        sent=b"INDEX|c|a,b\nINDEX|d|b,c\nINDEX|d|\nINDEX|a|d\n",
        answers=b"OK\nOK\nOK\nOK\n",
        reject_cycles=True,
    ),
)

_LINE_ENDS: Final = (
    ProtocolCase(
        rule="CR LF",
        name="one CR before the newline is ignored",
        sent=b"INDEX|b|\r\nINDEX|a|b\r\nQUERY|a|\r\nREMOVE|b|\r\nQUERY|a|b\r\nREMOVE|a|\r\n",
        answers=b"OK\nOK\nOK\nFAIL\nOK\nOK\n",
    ),
    ProtocolCase(
        rule="CR LF",
        name="mixed with bare newlines",
        setup=b"INDEX|a|\r\n",
        sent=b"QUERY|a|\nQUERY|a|\r\nQUERY|b|\r\nQUERY|a|\n",
        answers=b"OK\nOK\nFAIL\nOK\n",
    ),
    ProtocolCase(
        rule="CR LF",
        name="a CR that is not before the newline",
        setup=b"INDEX|a|\n",
        sent=b"QUERY|a\r|\nQUERY\r|a|\n\rQUERY|a|\nQUERY|a|\rb\nQUERY|a|b\r,b\n",
        answers=b"ERROR\n" * 5,
    ),
    ProtocolCase(
        rule="CR LF",
        name="a second CR before the newline is not ignored",
        setup=b"INDEX|a|\nINDEX|b|\n",
        sent=b"QUERY|a|\r\r\nREMOVE|a|\r\r\nINDEX|a|\r\r\nREMOVE|a|b\r\r\nQUERY|missing|\r\r\nQUERY|a|\r\n",
        answers=b"ERROR\n" * 5 + b"OK\n",
    ),
    ProtocolCase(
        rule="CR LF",
        name="an empty line",
        sent=b"\r\n\r\n\r\r\n",
        answers=b"ERROR\nERROR\nERROR\n",
    ),
)

_LINE_LIMIT: Final = (
    ProtocolCase(
        rule="a line over the limit",
        name="exactly at the limit, and one byte over it",
        setup=b"INDEX|a|\n",
        sent=b"QUERY|a|23456789\nQUERY|a|234567890\nQUERY|a|\n",
        answers=b"OK\nERROR\nOK\n",
        max_line_length=16,
    ),
    ProtocolCase(
        rule="a line over the limit",
        name="a CR is one of its bytes",
        setup=b"INDEX|a|\n",
        sent=b"QUERY|a|2345678\r\nQUERY|a|23456789\r\nQUERY|a|\r\n",
        answers=b"OK\nERROR\nOK\n",
        max_line_length=16,
    ),
    ProtocolCase(
        rule="a line over the limit",
        name="one ERROR in its turn, however long the line is",
        setup=b"INDEX|a|\n",
        sent=b"QUERY|a|\n" + b"QUERY|a|" * 10_000 + b"\nQUERY|a|\n" + b"\0" * 100_000 + b"\nQUERY|b|\n",
        answers=b"OK\nERROR\nOK\nERROR\nFAIL\n",
        max_line_length=16,
    ),
    ProtocolCase(
        rule="a line over the limit",
        name="changes nothing, whatever stands in it",
        sent=b"INDEX|a|         \rINDEX|a|\nQUERY|a|\n",
        answers=b"ERROR\nFAIL\n",
        max_line_length=16,
    ),
    ProtocolCase(
        rule="a line over the limit",
        name="is answered before its newline, and also when that never comes",
        setup=b"INDEX|a|\n",
        sent=b"QUERY|a|\nQUERY|a|234567890",
        answers=b"OK\nERROR\n",
        max_line_length=16,
    ),
    ProtocolCase(
        rule="a line over the limit",
        name="a line at the limit without its newline is no message",
        setup=b"INDEX|a|\n",
        sent=b"QUERY|a|\nQUERY|a|23456789",
        answers=b"OK\n",
        max_line_length=16,
    ),
    ProtocolCase(
        rule="a line over the limit",
        name="64 KiB unless told otherwise",
        setup=b"INDEX|a|\n",
        sent=b"QUERY|a|" + b"b," * 32_763 + b"bb\nQUERY|a|" + b"b," * 32_763 + b"bbb\nQUERY|a|\n",
        answers=b"OK\nERROR\nOK\n",
    ),
)

_END_OF_STREAM: Final = (
    ProtocolCase(
        rule="bytes after the last newline",
        name="no message, no answer",
        setup=b"INDEX|a|\n",
        sent=b"QUERY|a|\nQUERY|a|",
        answers=b"OK\n",
    ),
    ProtocolCase(
        rule="bytes after the last newline",
        name="nothing but such bytes",
        sent=b"INDEX|a|\r",
        answers=b"",
    ),
    ProtocolCase(
        rule="a client that shuts its sending side",
        name="gets the answers to its complete messages",
        sent=b"INDEX|a|\n" * 1_000 + b"REMOVE|a|\nREMOVE|",
        answers=b"OK\n" * 1_001,
    ),
    ProtocolCase(
        rule="a client that shuts its sending side",
        name="without having asked anything",
        sent=b"",
        answers=b"",
    ),
    ProtocolCase(
        rule="after an ERROR",
        name="the connection goes on",
        sent=b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\nINDEX|a|\nnonsense\nQUERY|a|\n",
        answers=b"ERROR\nERROR\nERROR\nOK\nERROR\nOK\n",
    ),
)

PROTOCOL_CASES: Final = (
    _INDEX_EVERY_DEPENDENCY_INDEXED
    + _INDEX_DEPENDENCY_MISSING
    + _REMOVE
    + _QUERY
    + _MALFORMED_LINES
    + _NAMES
    + _DEPENDENCY_LISTS
    + _CYCLES
    + _LINE_ENDS
    + _LINE_LIMIT
    + _END_OF_STREAM
)
