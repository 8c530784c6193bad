"""The tree of exceptions: attributes, messages, and transfer between processes."""

import copy
import pickle
from collections.abc import Callable

import pytest

from scoop_core import (
    BlockedByDependents,
    BlockedSet,
    ClosesCycle,
    Command,
    HistoryError,
    InvalidName,
    LimitExceeded,
    MalformedRequest,
    MalformedResponse,
    MissingDependencies,
    NotIndexed,
    PeerViolation,
    ProtocolError,
    Refusal,
    Request,
    RequestRefused,
    Response,
    ScoopError,
    TranscriptError,
    UnknownPackage,
    UnreadableFile,
    UnsupportedFormat,
)
from scoop_core.errors import shown

EXAMPLES: dict[ScoopError, tuple[type, str]] = {
    ProtocolError("tab\there", "a reason", 4): (ScoopError, r"a reason: 'tab\there'"),
    InvalidName("a b", "invalid space", 2): (ProtocolError, "invalid space: 'a b'"),
    MalformedRequest("QUERY", "expected 2 bars, got 0"): (ProtocolError, "expected 2 bars, got 0: 'QUERY'"),
    MalformedResponse("YES", "expected OK"): (ProtocolError, "expected OK: 'YES'"),
    PeerViolation("OK", "response without a request", ((Request.of(Command.QUERY, "a"), Response.FAIL),)): (
        ProtocolError,
        "response without a request: 'OK'",
    ),
    LimitExceeded(1_001, 1_000, "bytes"): (ScoopError, "cannot send the request: 1,001 bytes (limit 1,000)"),
    UnknownPackage("a"): (ScoopError, "package 'a' is not indexed"),
    RequestRefused(NotIndexed("a")): (ScoopError, "a is not indexed"),
    TranscriptError(1_234, "a line is missing"): (ScoopError, "byte 1234: a line is missing"),
    UnsupportedFormat(0, "format 9"): (TranscriptError, "byte 0: format 9"),
    HistoryError("a gap"): (ScoopError, "a gap"),
    UnreadableFile("journal", 3, "it is missing"): (HistoryError, "it is missing; restore it from an archive"),
}


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_each_error_has_its_place_and_its_message(error: ScoopError) -> None:
    assert (type(error).__bases__[0], str(error)) == EXAMPLES[error]


def test_bad_values_are_value_errors_and_unknown_packages_key_errors() -> None:
    for error in EXAMPLES:
        assert isinstance(error, KeyError if isinstance(error, UnknownPackage) else ValueError)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("transfer", [copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_survives_copying_and_pickling(
    error: ScoopError, transfer: Callable[[ScoopError], ScoopError]
) -> None:
    twin = transfer(error)
    assert (type(twin), str(twin), twin.args, vars(twin)) == (type(error), str(error), error.args, vars(error))


def test_a_quoted_text_is_truncated_after_80_characters() -> None:
    assert shown("n" * 80) == repr("n" * 80)
    assert shown("n" * 65_536) == f"{'n' * 80!r}… (65,536 characters)"


@pytest.mark.parametrize("hostile", ["\n", "\r", "\x1b[2J", "\0", "\xff", "☃", "'"])
def test_a_quoted_text_is_one_line_of_printable_ascii(hostile: str) -> None:
    for text in (hostile, hostile * 100):
        quoted = shown(text).partition("…")[0]
        assert quoted.isascii()
        assert quoted.isprintable()


def test_refusals_are_equal_if_they_are_of_one_kind_and_have_the_same_values() -> None:
    kinds = (MissingDependencies, BlockedByDependents, ClosesCycle)
    refusals: list[Refusal] = [BlockedSet(("gmp",), ("isl",)), NotIndexed("gmp")]
    refusals += (kind("gmp", ("isl",)) for kind in kinds)
    for number, refusal in enumerate(refusals):
        twin = pickle.loads(pickle.dumps(refusal))
        assert twin == refusal
        assert hash(twin) == hash(refusal)
        assert [each == refusal for each in refusals].count(True) == 1
        assert [each != refusal for each in refusals].index(False) == number
        assert refusal != tuple(refusal)
    assert MissingDependencies("gmp", ("isl",)) != MissingDependencies("gmp", ("mpc",))
