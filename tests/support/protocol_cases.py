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


def _case(name: str, setup: str, sent: str, answers: str, *, reject_cycles: bool = False) -> ProtocolCase:
    """Return a case whose lines are written as words."""
    return ProtocolCase(name, _lines(setup), _lines(sent), _lines(answers), reject_cycles=reject_cycles)


def _lines(words: str) -> bytes:
    return "".join(f"{word}\n" for word in words.split()).encode()


_LONGEST: Final = b"n" * 255
_NAME_BYTES: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+.@/:~"
_OTHER_BYTES: Final = bytes(byte for byte in range(256) if byte not in _NAME_BYTES and byte not in b"\n|,")

_CASES: Final[Mapping[str, Sequence[ProtocolCase]]] = {
    "INDEX with every dependency indexed": (
        _case("a package without dependencies", "", "INDEX|a| QUERY|a|", "OK OK"),
        _case(
            "a package with dependencies",
            "INDEX|gmp| INDEX|isl|gmp INDEX|pkg-config|",
            "INDEX|cloog|gmp,isl,pkg-config QUERY|cloog|",
            "OK OK",
        ),
        _case("the same line again", "INDEX|b| INDEX|a|b", "INDEX|a|b INDEX|a|b REMOVE|a| REMOVE|b|", "OK OK OK OK"),
        _case(
            "the same dependencies in another order",
            "INDEX|b| INDEX|c| INDEX|a|b,c",
            "INDEX|a|c,b REMOVE|b| REMOVE|c| REMOVE|a| REMOVE|b| REMOVE|c|",
            "OK FAIL FAIL OK OK OK",
        ),
        _case(
            "a new list releases the old dependencies and holds the new ones",
            "INDEX|old| INDEX|new| INDEX|a|old",
            "REMOVE|old| INDEX|a|new REMOVE|new| REMOVE|old|",
            "FAIL OK FAIL OK",
        ),
        _case(
            "an empty list releases all dependencies",
            "INDEX|b| INDEX|c| INDEX|a|b,c",
            "INDEX|a| REMOVE|b| REMOVE|c| QUERY|a|",
            "OK OK OK OK",
        ),
        _case("a dependency indexed earlier in the same bytes", "", "INDEX|a|b INDEX|b| INDEX|a|b", "FAIL OK OK"),
    ),
    "INDEX with a dependency missing": (
        _case("a new package does not enter", "", "INDEX|a|b QUERY|a| QUERY|b|", "FAIL FAIL FAIL"),
        _case(
            "one missing among many",
            "INDEX|b| INDEX|d|",
            "INDEX|a|b,c,d QUERY|a| REMOVE|b| REMOVE|d|",
            "FAIL FAIL OK OK",
        ),
        _case(
            "an existing entry keeps the dependencies that it had",
            "INDEX|b| INDEX|c| INDEX|a|b",
            "INDEX|a|c,missing QUERY|a| REMOVE|c| REMOVE|b| REMOVE|a| REMOVE|b|",
            "FAIL OK OK FAIL OK OK",
        ),
        _case("a dependency that was removed", "INDEX|b| REMOVE|b|", "INDEX|a|b", "FAIL"),
        _case("the case of letters tells names apart", "INDEX|B|", "INDEX|a|b QUERY|b| INDEX|a|B", "FAIL FAIL OK"),
    ),
    "REMOVE of a package that another depends on": (
        _case("the package stays", "INDEX|b| INDEX|a|b", "REMOVE|b| QUERY|b|", "FAIL OK"),
        _case(
            "until the last dependent has gone",
            "INDEX|c| INDEX|a|c INDEX|b|c",
            "REMOVE|c| REMOVE|a| REMOVE|c| REMOVE|b| REMOVE|c|",
            "FAIL OK FAIL OK OK",
        ),
    ),
    "REMOVE otherwise": (
        _case("a package on which nothing depends", "INDEX|a|", "REMOVE|a| QUERY|a|", "OK FAIL"),
        _case("a package that was never indexed", "", "REMOVE|a| REMOVE|a| QUERY|a|", "OK OK FAIL"),
        _case(
            "the dependencies of a removed package are released",
            "INDEX|b| INDEX|a|b",
            "REMOVE|a| REMOVE|b| QUERY|a| QUERY|b|",
            "OK OK FAIL FAIL",
        ),
        _case(
            "a package that comes back brings no old dependencies",
            "INDEX|b| INDEX|a|b REMOVE|a| INDEX|a|",
            "REMOVE|b| QUERY|a|",
            "OK OK",
        ),
    ),
    "QUERY": (
        _case("OK if indexed, else FAIL", "INDEX|a|", "QUERY|a| QUERY|b| QUERY|a|", "OK FAIL OK"),
        _case(
            "answers stay in order while the index changes between them",
            "",
            "QUERY|a| INDEX|a| QUERY|a| REMOVE|a| QUERY|a|",
            "FAIL OK OK OK FAIL",
        ),
    ),
    "not exactly two bars": (
        ProtocolCase(
            "none, one, three and four",
            b"INDEX|a|\nINDEX|b|\n",
            b"QUERY\nQUERYa\nQUERY|a\nINDEX|a\nREMOVE|a\nQUERY|a||\nINDEX|a|b|\nREMOVE|a|b|b|b\n|QUERY|a|\n|\n|||\n",
            b"ERROR\n" * 11,
        ),
        _case(
            "the sides of a line that is cut short among good ones",
            "INDEX|a| INDEX|b|",
            "QUERY|a| QUERY|a QUERY|b|",
            "OK ERROR OK",
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
        _case(
            "a comma in a package",
            "INDEX|a| INDEX|b|",
            "INDEX|a,b| REMOVE|a,b| QUERY|a,b| QUERY|,|",
            "ERROR ERROR ERROR ERROR",
        ),
        ProtocolCase(
            "words of the wrong shape",
            b"INDEX|emacs|\nINDEX|elisp|\n",
            b"INDEX|emacs elisp\nINDEX|emacs=elisp\nINDEX|emacs+elisp\nINDEX|emacs\xe2\x98\x83elisp\n"
            b"INDEX|emacs elisp|\nINDEX|emacs=elisp|\nINDEX|emacs\xe2\x98\x83elisp|\nINDEX|emacs+elisp|\n",
            b"ERROR\n" * 7 + b"OK\n",
        ),
        _case(
            "a bad name beside a missing one is an ERROR, whichever comes first",
            "",
            "INDEX|a|missing,b= INDEX|a|b=,missing INDEX|a=|missing",
            "ERROR ERROR ERROR",
        ),
        _case(
            "a bad name changes nothing",
            "INDEX|b| INDEX|a|b",
            "INDEX|a|b= REMOVE|a|b= REMOVE|b| QUERY|a|",
            "ERROR ERROR FAIL OK",
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
        _case(
            "an existing entry keeps the dependencies that it had",
            "INDEX|b| INDEX|a|b",
            "INDEX|a|, INDEX|a|b, REMOVE|b|",
            "ERROR ERROR FAIL",
        ),
    ),
    "the same dependency twice": (
        _case(
            "counts once, and is released as one",
            "INDEX|b| INDEX|c| INDEX|a|b,c,b,b",
            "REMOVE|b| INDEX|a|c REMOVE|b| INDEX|a|c,c REMOVE|c| REMOVE|a| REMOVE|c|",
            "FAIL OK OK OK FAIL OK OK",
        ),
        _case("a missing one is missing", "", "INDEX|a|b,b QUERY|a|", "FAIL FAIL"),
    ),
    "REMOVE or QUERY with dependencies": (
        _case(
            "well-formed ones are ignored, indexed or not",
            "INDEX|a| INDEX|b|",
            "QUERY|a|b QUERY|a|missing,b,b QUERY|missing|a REMOVE|a|b,missing REMOVE|missing|b REMOVE|b|a",
            "OK OK FAIL OK OK OK",
        ),
        ProtocolCase(
            "malformed ones are an ERROR, and nothing is removed",
            b"INDEX|a|\n",
            b"QUERY|a|,\nQUERY|a|b,\nQUERY|a|b c\nREMOVE|a|,\nREMOVE|a|b,,c\nREMOVE|a|b c\nREMOVE|x|,\nQUERY|a|\n",
            b"ERROR\n" * 7 + b"OK\n",
        ),
    ),
    "INDEX of a package on itself": (
        _case("FAIL while it is not indexed", "", "INDEX|a|a QUERY|a|", "FAIL FAIL"),
        _case(
            "OK once it is, and it does not block its own REMOVE",
            "INDEX|a|",
            "INDEX|a|a QUERY|a| REMOVE|a| QUERY|a| INDEX|a|a",
            "OK OK OK FAIL FAIL",
        ),
        _case(
            "other dependents still block its REMOVE",
            "INDEX|a| INDEX|b|a INDEX|a|a",
            "REMOVE|a| REMOVE|b| REMOVE|a|",
            "FAIL OK OK",
        ),
        _case(
            "given up again",
            "INDEX|a| INDEX|b| INDEX|a|b,a",
            "INDEX|a|b REMOVE|b| REMOVE|a| REMOVE|b|",
            "OK FAIL OK OK",
        ),
    ),
    "a cycle closed by INDEX of an existing package": (
        _case(
            "OK, and its members block each other",
            "INDEX|a| INDEX|b|a INDEX|c|b",
            "INDEX|a|c REMOVE|a| REMOVE|b| REMOVE|c|",
            "OK FAIL FAIL FAIL",
        ),
        _case(
            "opened again by another INDEX",
            "INDEX|a| INDEX|b|a INDEX|a|b",
            "REMOVE|b| INDEX|a| REMOVE|b| REMOVE|a|",
            "FAIL OK OK OK",
        ),
    ),
    "a cycle with reject_cycles": (
        _case("of one package", "INDEX|a|", "INDEX|b|b INDEX|a|a REMOVE|a|", "FAIL FAIL OK", reject_cycles=True),
        _case(
            "of two packages; the entry stays as it was",
            "INDEX|x| INDEX|a|x INDEX|b|a",
            "INDEX|a|b REMOVE|x| REMOVE|b| REMOVE|a| REMOVE|x|",
            "FAIL FAIL OK OK OK",
            reject_cycles=True,
        ),
        _case(
            "of many packages, found behind two ways to the same one",
            "INDEX|a| INDEX|b|a INDEX|c|b INDEX|d|b INDEX|e|c,d INDEX|x|",
            "INDEX|a|x,e INDEX|b|a,d INDEX|a|x INDEX|x|e",
            "FAIL FAIL OK FAIL",
            reject_cycles=True,
        ),
        _case(
            "a new edge that closes none",
            "INDEX|a| INDEX|b|a INDEX|c|a INDEX|d|b",
            "INDEX|c|a,b INDEX|d|b,c INDEX|d| INDEX|a|d",
            "OK OK OK OK",
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
        _case("without having asked anything", "", "", ""),
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
