r"""The protocol as a table: bytes and their responses.

Every case begins with an empty index. ``setup`` is sent first, and each of its lines is answered OK. Then ``sent`` is
sent, and ``answers`` are all responses, also after the sending side has ended.

Each case names the rule that it shows, so that a failing test names the broken rule.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class ProtocolCase:
    """Bytes and their responses. ``max_line_length`` counts the bytes of a line before its newline."""

    name: str
    setup: bytes
    sent: bytes
    answers: bytes
    reject_cycles: bool = False
    max_line_length: int = 65_536
    rule: str = ""

    def __str__(self) -> str:
        return f"{self.rule}: {self.name}"


_LONGEST: Final = b"n" * 255
_NAME_BYTES: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+.@/:~"
_OTHER_BYTES: Final = bytes(byte for byte in range(256) if byte not in _NAME_BYTES and byte not in b"\n|,")

_CASES: Final[Mapping[str, Sequence[ProtocolCase]]] = {
    "INDEX with every dependency indexed": (
        ProtocolCase("a package without dependencies", b"", b"INDEX|a|\nQUERY|a|\n", b"OK\nOK\n"),
        ProtocolCase(
            "a package with dependencies",
            b"INDEX|gmp|\nINDEX|isl|gmp\nINDEX|pkg-config|\n",
            b"INDEX|cloog|gmp,isl,pkg-config\nQUERY|cloog|\n",
            b"OK\nOK\n",
        ),
        ProtocolCase(
            "the same line again",
            b"INDEX|b|\nINDEX|a|b\n",
            b"INDEX|a|b\nINDEX|a|b\nREMOVE|a|\nREMOVE|b|\n",
            b"OK\nOK\nOK\nOK\n",
        ),
        ProtocolCase(
            "the same dependencies in another order",
            b"INDEX|b|\nINDEX|c|\nINDEX|a|b,c\n",
            b"INDEX|a|c,b\nREMOVE|b|\nREMOVE|c|\nREMOVE|a|\nREMOVE|b|\nREMOVE|c|\n",
            b"OK\nFAIL\nFAIL\nOK\nOK\nOK\n",
        ),
        ProtocolCase(
            "a new list releases the old dependencies and holds the new ones",
            b"INDEX|old|\nINDEX|new|\nINDEX|a|old\n",
            b"REMOVE|old|\nINDEX|a|new\nREMOVE|new|\nREMOVE|old|\n",
            b"FAIL\nOK\nFAIL\nOK\n",
        ),
        ProtocolCase(
            "an empty list releases all dependencies",
            b"INDEX|b|\nINDEX|c|\nINDEX|a|b,c\n",
            b"INDEX|a|\nREMOVE|b|\nREMOVE|c|\nQUERY|a|\n",
            b"OK\nOK\nOK\nOK\n",
        ),
        ProtocolCase(
            "a dependency indexed earlier in the same bytes",
            b"",
            b"INDEX|a|b\nINDEX|b|\nINDEX|a|b\n",
            b"FAIL\nOK\nOK\n",
        ),
    ),
    "INDEX with a dependency missing": (
        ProtocolCase("a new package does not enter", b"", b"INDEX|a|b\nQUERY|a|\nQUERY|b|\n", b"FAIL\nFAIL\nFAIL\n"),
        ProtocolCase(
            "one missing among many",
            b"INDEX|b|\nINDEX|d|\n",
            b"INDEX|a|b,c,d\nQUERY|a|\nREMOVE|b|\nREMOVE|d|\n",
            b"FAIL\nFAIL\nOK\nOK\n",
        ),
        ProtocolCase(
            "an existing entry keeps the dependencies that it had",
            b"INDEX|b|\nINDEX|c|\nINDEX|a|b\n",
            b"INDEX|a|c,missing\nQUERY|a|\nREMOVE|c|\nREMOVE|b|\nREMOVE|a|\nREMOVE|b|\n",
            b"FAIL\nOK\nOK\nFAIL\nOK\nOK\n",
        ),
        ProtocolCase("a dependency that was removed", b"INDEX|b|\nREMOVE|b|\n", b"INDEX|a|b\n", b"FAIL\n"),
        ProtocolCase(
            "the case of letters tells names apart",
            b"INDEX|B|\n",
            b"INDEX|a|b\nQUERY|b|\nINDEX|a|B\n",
            b"FAIL\nFAIL\nOK\n",
        ),
    ),
    "REMOVE of a package that another depends on": (
        ProtocolCase("the package stays", b"INDEX|b|\nINDEX|a|b\n", b"REMOVE|b|\nQUERY|b|\n", b"FAIL\nOK\n"),
        ProtocolCase(
            "until the last dependent has gone",
            b"INDEX|c|\nINDEX|a|c\nINDEX|b|c\n",
            b"REMOVE|c|\nREMOVE|a|\nREMOVE|c|\nREMOVE|b|\nREMOVE|c|\n",
            b"FAIL\nOK\nFAIL\nOK\nOK\n",
        ),
    ),
    "REMOVE otherwise": (
        ProtocolCase("a package on which nothing depends", b"INDEX|a|\n", b"REMOVE|a|\nQUERY|a|\n", b"OK\nFAIL\n"),
        ProtocolCase("a package that was never indexed", b"", b"REMOVE|a|\nREMOVE|a|\nQUERY|a|\n", b"OK\nOK\nFAIL\n"),
        ProtocolCase(
            "the dependencies of a removed package are released",
            b"INDEX|b|\nINDEX|a|b\n",
            b"REMOVE|a|\nREMOVE|b|\nQUERY|a|\nQUERY|b|\n",
            b"OK\nOK\nFAIL\nFAIL\n",
        ),
        ProtocolCase(
            "a package that comes back brings no old dependencies",
            b"INDEX|b|\nINDEX|a|b\nREMOVE|a|\nINDEX|a|\n",
            b"REMOVE|b|\nQUERY|a|\n",
            b"OK\nOK\n",
        ),
    ),
    "QUERY": (
        ProtocolCase("OK if indexed, else FAIL", b"INDEX|a|\n", b"QUERY|a|\nQUERY|b|\nQUERY|a|\n", b"OK\nFAIL\nOK\n"),
        ProtocolCase(
            "answers stay in order while the index changes between them",
            b"",
            b"QUERY|a|\nINDEX|a|\nQUERY|a|\nREMOVE|a|\nQUERY|a|\n",
            b"FAIL\nOK\nOK\nOK\nFAIL\n",
        ),
    ),
    "not exactly two bars": (
        ProtocolCase(
            "none, one, three and four",
            b"INDEX|a|\nINDEX|b|\n",
            b"QUERY\nQUERYa\nQUERY|a\nINDEX|a\nREMOVE|a\nQUERY|a||\nINDEX|a|b|\nREMOVE|a|b|b|b\n|QUERY|a|\n|\n|||\n",
            b"ERROR\n" * 11,
        ),
        ProtocolCase(
            "the sides of a line that is cut short among good ones",
            b"INDEX|a|\nINDEX|b|\n",
            b"QUERY|a|\nQUERY|a\nQUERY|b|\n",
            b"OK\nERROR\nOK\n",
        ),
    ),
    "unknown or lower-case command": (
        ProtocolCase(
            "other words",
            b"INDEX|a|\nINDEX|b|\n",
            b"BLINDEX|a|b\nREMOVES|a|b\nQUER|a|b\nLIZARD|a|b\nI|a|b\nINDEXINDEX|a|\nADD|a|\n",
            b"ERROR\n" * 7,
        ),
        ProtocolCase(
            "lower and mixed case",
            b"INDEX|a|\n",
            b"index|a|\nIndex|a|\nremove|a|\nREMOVe|a|\nquery|a|\nQuery|a|\nQUERY|a|\n",
            b"ERROR\n" * 6 + b"OK\n",
        ),
        ProtocolCase(
            "white space, a zero byte or nothing around the command",
            b"INDEX|a|\n",
            b" QUERY|a|\nQUERY |a|\n\tQUERY|a|\nQUERY\0|a|\n\xef\xbb\xbfQUERY|a|\n\rQUERY|a|\n|a|\n",
            b"ERROR\n" * 7,
        ),
    ),
    "empty line": (
        ProtocolCase(
            "alone, repeated, and between good lines",
            b"INDEX|a|\n",
            b"\nQUERY|a|\n\n\nQUERY|a|\n\n",
            b"ERROR\nOK\nERROR\nERROR\nOK\nERROR\n",
        ),
    ),
    "empty package": (
        ProtocolCase(
            "for each command, with and without dependencies",
            b"INDEX|a|\n",
            b"INDEX||\nREMOVE||\nQUERY||\nINDEX||a\nREMOVE||a\nQUERY||a\n||\n",
            b"ERROR\n" * 7,
        ),
    ),
    "a name of other characters or longer than 255": (
        ProtocolCase(
            "every allowed character",
            b"",
            b"INDEX|" + _NAME_BYTES + b"|\nQUERY|" + _NAME_BYTES + b"|\n"
            b"INDEX|a|" + _NAME_BYTES + b"\nREMOVE|" + _NAME_BYTES + b"|\n",
            b"OK\nOK\nOK\nFAIL\n",
        ),
        ProtocolCase(
            "every allowed character as a name of its own",
            b"",
            b"".join(b"INDEX|%c|\nQUERY|%c|\n" % (byte, byte) for byte in _NAME_BYTES),
            b"OK\nOK\n" * len(_NAME_BYTES),
        ),
        ProtocolCase(
            "every other byte in a package",
            b"",
            b"".join(b"INDEX|a%cb|\nREMOVE|a%cb|\nQUERY|%c|\n" % (byte, byte, byte) for byte in _OTHER_BYTES),
            b"ERROR\nERROR\nERROR\n" * len(_OTHER_BYTES),
        ),
        ProtocolCase(
            "every other byte in a dependency",
            b"INDEX|a|\nINDEX|b|\n",
            b"".join(
                b"INDEX|c|a%cb\nINDEX|a|b,%ca\nREMOVE|a|a%cb\nQUERY|a|a%cb,b\n" % (byte, byte, byte, byte)
                for byte in _OTHER_BYTES
            ),
            b"ERROR\nERROR\nERROR\nERROR\n" * len(_OTHER_BYTES),
        ),
        ProtocolCase(
            "a comma in a package",
            b"INDEX|a|\nINDEX|b|\n",
            b"INDEX|a,b|\nREMOVE|a,b|\nQUERY|a,b|\nQUERY|,|\n",
            b"ERROR\nERROR\nERROR\nERROR\n",
        ),
        ProtocolCase(
            "words of the wrong shape",
            b"INDEX|emacs|\nINDEX|elisp|\n",
            b"INDEX|emacs elisp\nINDEX|emacs=elisp\nINDEX|emacs+elisp\nINDEX|emacs\xe2\x98\x83elisp\n"
            b"INDEX|emacs elisp|\nINDEX|emacs=elisp|\nINDEX|emacs\xe2\x98\x83elisp|\nINDEX|emacs+elisp|\n",
            b"ERROR\n" * 7 + b"OK\n",
        ),
        ProtocolCase(
            "a bad name beside a missing one is an ERROR, whichever comes first",
            b"",
            b"INDEX|a|missing,b=\nINDEX|a|b=,missing\nINDEX|a=|missing\n",
            b"ERROR\nERROR\nERROR\n",
        ),
        ProtocolCase(
            "a bad name changes nothing",
            b"INDEX|b|\nINDEX|a|b\n",
            b"INDEX|a|b=\nREMOVE|a|b=\nREMOVE|b|\nQUERY|a|\n",
            b"ERROR\nERROR\nFAIL\nOK\n",
        ),
        ProtocolCase(
            "a package of 255 and of 256 characters",
            b"",
            b"INDEX|" + _LONGEST + b"|\nQUERY|" + _LONGEST + b"|\n"
            b"INDEX|" + _LONGEST + b"n|\nREMOVE|" + _LONGEST + b"n|\nQUERY|" + _LONGEST + b"n|\n",
            b"OK\nOK\nERROR\nERROR\nERROR\n",
        ),
        ProtocolCase(
            "a dependency of 255 and of 256 characters",
            b"INDEX|" + _LONGEST + b"|\n",
            b"INDEX|a|" + _LONGEST + b"\nINDEX|a|" + _LONGEST + b"n\n"
            b"QUERY|a|" + _LONGEST + b"\nQUERY|a|" + _LONGEST + b"n\n",
            b"OK\nERROR\nOK\nERROR\n",
        ),
    ),
    "an empty dependency": (
        ProtocolCase(
            "before, between, after and without a name",
            b"INDEX|b|\nINDEX|c|\n",
            b"INDEX|a|b,,c\nINDEX|a|b,\nINDEX|a|,b\nINDEX|a|,\nINDEX|a|,,\nINDEX|a|missing,\nQUERY|a|\n",
            b"ERROR\n" * 6 + b"FAIL\n",
        ),
        ProtocolCase(
            "an existing entry keeps the dependencies that it had",
            b"INDEX|b|\nINDEX|a|b\n",
            b"INDEX|a|,\nINDEX|a|b,\nREMOVE|b|\n",
            b"ERROR\nERROR\nFAIL\n",
        ),
    ),
    "the same dependency twice": (
        ProtocolCase(
            "counts once, and is released as one",
            b"INDEX|b|\nINDEX|c|\nINDEX|a|b,c,b,b\n",
            b"REMOVE|b|\nINDEX|a|c\nREMOVE|b|\nINDEX|a|c,c\nREMOVE|c|\nREMOVE|a|\nREMOVE|c|\n",
            b"FAIL\nOK\nOK\nOK\nFAIL\nOK\nOK\n",
        ),
        ProtocolCase("a missing one is missing", b"", b"INDEX|a|b,b\nQUERY|a|\n", b"FAIL\nFAIL\n"),
    ),
    "REMOVE or QUERY with dependencies": (
        ProtocolCase(
            "well-formed ones are ignored, indexed or not",
            b"INDEX|a|\nINDEX|b|\n",
            b"QUERY|a|b\nQUERY|a|missing,b,b\nQUERY|missing|a\nREMOVE|a|b,missing\nREMOVE|missing|b\nREMOVE|b|a\n",
            b"OK\nOK\nFAIL\nOK\nOK\nOK\n",
        ),
        ProtocolCase(
            "malformed ones are an ERROR, and nothing is removed",
            b"INDEX|a|\n",
            b"QUERY|a|,\nQUERY|a|b,\nQUERY|a|b c\nREMOVE|a|,\nREMOVE|a|b,,c\nREMOVE|a|b c\nREMOVE|x|,\nQUERY|a|\n",
            b"ERROR\n" * 7 + b"OK\n",
        ),
    ),
    "INDEX of a package on itself": (
        ProtocolCase("FAIL while it is not indexed", b"", b"INDEX|a|a\nQUERY|a|\n", b"FAIL\nFAIL\n"),
        ProtocolCase(
            "OK once it is, and it does not block its own REMOVE",
            b"INDEX|a|\n",
            b"INDEX|a|a\nQUERY|a|\nREMOVE|a|\nQUERY|a|\nINDEX|a|a\n",
            b"OK\nOK\nOK\nFAIL\nFAIL\n",
        ),
        ProtocolCase(
            "other dependents still block its REMOVE",
            b"INDEX|a|\nINDEX|b|a\nINDEX|a|a\n",
            b"REMOVE|a|\nREMOVE|b|\nREMOVE|a|\n",
            b"FAIL\nOK\nOK\n",
        ),
        ProtocolCase(
            "given up again",
            b"INDEX|a|\nINDEX|b|\nINDEX|a|b,a\n",
            b"INDEX|a|b\nREMOVE|b|\nREMOVE|a|\nREMOVE|b|\n",
            b"OK\nFAIL\nOK\nOK\n",
        ),
    ),
    "a cycle closed by INDEX of an existing package": (
        ProtocolCase(
            "OK, and its members block each other",
            b"INDEX|a|\nINDEX|b|a\nINDEX|c|b\n",
            b"INDEX|a|c\nREMOVE|a|\nREMOVE|b|\nREMOVE|c|\n",
            b"OK\nFAIL\nFAIL\nFAIL\n",
        ),
        ProtocolCase(
            "opened again by another INDEX",
            b"INDEX|a|\nINDEX|b|a\nINDEX|a|b\n",
            b"REMOVE|b|\nINDEX|a|\nREMOVE|b|\nREMOVE|a|\n",
            b"FAIL\nOK\nOK\nOK\n",
        ),
    ),
    "a cycle with reject_cycles": (
        ProtocolCase(
            "of one package",
            b"INDEX|a|\n",
            b"INDEX|b|b\nINDEX|a|a\nREMOVE|a|\n",
            b"FAIL\nFAIL\nOK\n",
            reject_cycles=True,
        ),
        ProtocolCase(
            "of two packages; the entry stays as it was",
            b"INDEX|x|\nINDEX|a|x\nINDEX|b|a\n",
            b"INDEX|a|b\nREMOVE|x|\nREMOVE|b|\nREMOVE|a|\nREMOVE|x|\n",
            b"FAIL\nFAIL\nOK\nOK\nOK\n",
            reject_cycles=True,
        ),
        ProtocolCase(
            "of many packages, found behind two ways to the same one",
            b"INDEX|a|\nINDEX|b|a\nINDEX|c|b\nINDEX|d|b\nINDEX|e|c,d\nINDEX|x|\n",
            b"INDEX|a|x,e\nINDEX|b|a,d\nINDEX|a|x\nINDEX|x|e\n",
            b"FAIL\nFAIL\nOK\nFAIL\n",
            reject_cycles=True,
        ),
        ProtocolCase(
            "a new edge that closes none",
            b"INDEX|a|\nINDEX|b|a\nINDEX|c|a\nINDEX|d|b\n",
            b"INDEX|c|a,b\nINDEX|d|b,c\nINDEX|d|\nINDEX|a|d\n",
            b"OK\nOK\nOK\nOK\n",
            reject_cycles=True,
        ),
    ),
    "CR LF": (
        ProtocolCase(
            "one CR before the newline is ignored",
            b"",
            b"INDEX|b|\r\nINDEX|a|b\r\nQUERY|a|\r\nREMOVE|b|\r\nQUERY|a|b\r\nREMOVE|a|\r\n",
            b"OK\nOK\nOK\nFAIL\nOK\nOK\n",
        ),
        ProtocolCase(
            "mixed with bare newlines",
            b"INDEX|a|\r\n",
            b"QUERY|a|\nQUERY|a|\r\nQUERY|b|\r\nQUERY|a|\n",
            b"OK\nOK\nFAIL\nOK\n",
        ),
        ProtocolCase(
            "a CR that is not before the newline",
            b"INDEX|a|\n",
            b"QUERY|a\r|\nQUERY\r|a|\n\rQUERY|a|\nQUERY|a|\rb\nQUERY|a|b\r,b\n",
            b"ERROR\n" * 5,
        ),
        ProtocolCase(
            "a second CR before the newline is not ignored",
            b"INDEX|a|\nINDEX|b|\n",
            b"QUERY|a|\r\r\nREMOVE|a|\r\r\nINDEX|a|\r\r\nREMOVE|a|b\r\r\nQUERY|missing|\r\r\nQUERY|a|\r\n",
            b"ERROR\n" * 5 + b"OK\n",
        ),
        ProtocolCase("an empty line", b"", b"\r\n\r\n\r\r\n", b"ERROR\nERROR\nERROR\n"),
    ),
    "a line over the limit": (
        ProtocolCase(
            "exactly at the limit, and one byte over it",
            b"INDEX|a|\n",
            b"QUERY|a|23456789\nQUERY|a|234567890\nQUERY|a|\n",
            b"OK\nERROR\nOK\n",
            max_line_length=16,
        ),
        ProtocolCase(
            "a CR is one of its bytes",
            b"INDEX|a|\n",
            b"QUERY|a|2345678\r\nQUERY|a|23456789\r\nQUERY|a|\r\n",
            b"OK\nERROR\nOK\n",
            max_line_length=16,
        ),
        ProtocolCase(
            "one ERROR in its turn, however long the line is",
            b"INDEX|a|\n",
            b"QUERY|a|\n" + b"QUERY|a|" * 10_000 + b"\nQUERY|a|\n" + b"\0" * 100_000 + b"\nQUERY|b|\n",
            b"OK\nERROR\nOK\nERROR\nFAIL\n",
            max_line_length=16,
        ),
        ProtocolCase(
            "changes nothing, whatever stands in it",
            b"",
            b"INDEX|a|         \rINDEX|a|\nQUERY|a|\n",
            b"ERROR\nFAIL\n",
            max_line_length=16,
        ),
        ProtocolCase(
            "is answered before its newline, and also when that never comes",
            b"INDEX|a|\n",
            b"QUERY|a|\nQUERY|a|234567890",
            b"OK\nERROR\n",
            max_line_length=16,
        ),
        ProtocolCase(
            "a line at the limit without its newline is no message",
            b"INDEX|a|\n",
            b"QUERY|a|\nQUERY|a|23456789",
            b"OK\n",
            max_line_length=16,
        ),
        ProtocolCase(
            "64 KiB unless told otherwise",
            b"INDEX|a|\n",
            b"QUERY|a|" + b"b," * 32_763 + b"bb\nQUERY|a|" + b"b," * 32_763 + b"bbb\nQUERY|a|\n",
            b"OK\nERROR\nOK\n",
        ),
    ),
    "bytes after the last newline": (
        ProtocolCase("no message, no response", b"INDEX|a|\n", b"QUERY|a|\nQUERY|a|", b"OK\n"),
        ProtocolCase("nothing but such bytes", b"", b"INDEX|a|\r", b""),
    ),
    "a client that shuts its sending side": (
        ProtocolCase(
            "gets the responses to its complete messages",
            b"",
            b"INDEX|a|\n" * 1_000 + b"REMOVE|a|\nREMOVE|",
            b"OK\n" * 1_001,
        ),
        ProtocolCase("without having asked anything", b"", b"", b""),
    ),
    "after an ERROR": (
        ProtocolCase(
            "the connection goes on",
            b"",
            b"HELO example.org\r\nGET / HTTP/1.1\r\n\r\nINDEX|a|\nnonsense\nQUERY|a|\n",
            b"ERROR\nERROR\nERROR\nOK\nERROR\nOK\n",
        ),
    ),
}

PROTOCOL_CASES: Final = tuple(replace(case, rule=rule) for rule, cases in _CASES.items() for case in cases)
