"""The tree of exceptions: what each carries, what it says, and that it survives the way between processes."""

import copy
import pickle
from collections.abc import Callable

import pytest

from scoop_core import (
    InvalidName,
    MalformedRequest,
    MalformedResponse,
    ProtocolError,
    ScoopError,
    TranscriptError,
    UnsupportedFormat,
)
from scoop_core.errors import shown

EVERY_ERROR: list[ScoopError] = [
    ScoopError("something"),
    ProtocolError("text", "a reason"),
    InvalidName("a b", "a space at column 2 of the name", 2),
    MalformedRequest("QUERY", "0 bars, where a request has 2"),
    MalformedResponse("YES", "neither OK nor FAIL nor ERROR"),
    TranscriptError(17, "a line is missing"),
    UnsupportedFormat(0, "the snapshot has format 9"),
]


def test_the_tree() -> None:
    parents = {
        ScoopError: Exception,
        ProtocolError: ScoopError,
        InvalidName: ProtocolError,
        MalformedRequest: ProtocolError,
        MalformedResponse: ProtocolError,
        TranscriptError: ScoopError,
        UnsupportedFormat: TranscriptError,
    }
    assert {error: error.__bases__[0] for error in parents} == parents
    assert {type(error) for error in EVERY_ERROR} == set(parents)


@pytest.mark.parametrize("error", [ProtocolError, TranscriptError])
def test_bad_input_is_also_a_value_error(error: type[ScoopError]) -> None:
    assert issubclass(error, ValueError)


@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("through", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_survives_copying_and_pickling(error: ScoopError, through: Callable[[ScoopError], ScoopError]) -> None:
    twin = through(error)
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert twin.args == error.args
    assert vars(twin) == vars(error)


def test_a_protocol_error_says_the_reason_and_shows_the_text() -> None:
    error = ProtocolError("tab\there", "a reason")
    assert (error.text, error.reason) == ("tab\there", "a reason")
    assert str(error) == r"a reason: 'tab\there'"


def test_an_invalid_name_knows_the_column() -> None:
    assert InvalidName("a b", "a space", 2).column == 2
    assert InvalidName("", "an empty name").column == 0


def test_a_transcript_error_says_where() -> None:
    error = TranscriptError(1_234, "a line is missing")
    assert (error.offset, error.reason) == (1_234, "a line is missing")
    assert str(error) == "byte 1234: a line is missing"


def test_a_text_is_shown_whole_up_to_80_characters_and_cut_after() -> None:
    assert shown("n" * 80) == repr("n" * 80)
    assert shown("n" * 81) == f"{'n' * 80!r}… (81 characters)"
    assert shown("n" * 65_536) == f"{'n' * 80!r}… (65,536 characters)"


@pytest.mark.parametrize("hostile", ["\n", "\r", "\x1b[2J", "\0", "\xff", "☃", "'"])
def test_a_hostile_text_is_shown_on_one_line_of_plain_characters(hostile: str) -> None:
    for text in (hostile, hostile * 100):
        quoted = shown(text).partition("…")[0]
        assert quoted.isascii()
        assert quoted.isprintable()
