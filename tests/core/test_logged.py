"""The changes in a batch of a journal: their authors, times and requests."""

import json
from datetime import UTC, datetime

import pytest

from scoop_core import END, Command, LoggedBatch, LoggedChange, Moment, Seal, format_time, parse_duration

BATCH = LoggedBatch(
    "INDEX|gmp|\nINDEX|isl|gmp\nREMOVE|isl|\nINDEX|mpfr|gmp\n",
    Seal(7, 0, time=1_764_668_400_123),
    [(1, "CN=builder"), (3, "-")],
)


def test_each_change_has_the_author_from_whose_first_line_on_it_is() -> None:
    assert [(each.identity, each.line) for each in BATCH.changes()] == [
        (None, "INDEX|gmp|"),
        ("CN=builder", "INDEX|isl|gmp"),
        ("CN=builder", "REMOVE|isl|"),
        (None, "INDEX|mpfr|gmp"),
    ]


def test_the_largest_time_that_a_seal_can_have_is_formatted() -> None:
    assert format_time(10**18 - 1) == "31690708-07-05T01:46:39.999Z"


def test_the_requests_of_each_author_are_a_part() -> None:
    assert BATCH.parts() == [
        ("-", "INDEX|gmp|\n"),
        ("CN=builder", "INDEX|isl|gmp\nREMOVE|isl|\n"),
        ("-", "INDEX|mpfr|gmp\n"),
    ]
    assert LoggedBatch("no\x85 request\n", BATCH.seal, [(0, "uid=1")]).parts() == [("uid=1", "no\x85 request\n")]
    assert LoggedBatch(BATCH.lines, BATCH.seal).parts() == [("-", BATCH.lines)]


@pytest.mark.parametrize(
    ("package", "identity", "found"),
    [
        ("isl", None, [1, 2]),
        (None, "CN=builder", [1, 2]),
        (None, "-", [0, 3]),
        ("gmp", "CN=builder", []),
        ("gmp", "-", [0]),
        ("absent", None, []),
        ("sl", None, []),
    ],
)
def test_a_selection_has_only_what_was_asked_for(package: str | None, identity: str | None, found: list[int]) -> None:
    every = BATCH.changes()
    selected = BATCH.changes(package, identity)
    assert [each[:-1] for each in selected] == [every[number][:-1] for number in found]
    assert [each.ends_batch for each in selected] == [*[False] * (len(found) - 1), *[True] * bool(found)]


def test_a_change_has_its_time_package_and_request() -> None:
    change = BATCH.changes()[1]
    assert change.time == datetime(2025, 12, 2, 9, 40, 0, 123_000, tzinfo=UTC)
    assert change.package == "isl"
    assert change.request.command is Command.INDEX
    assert change.request.dependencies == ("gmp",)


def test_a_change_is_a_line_of_text_or_of_json() -> None:
    known, unknown = BATCH.changes()[2], BATCH.changes()[3]
    assert str(known) == "2025-12-02T09:40:00.123Z 7 CN=builder REMOVE|isl|"
    assert str(unknown) == "2025-12-02T09:40:00.123Z 7 - INDEX|mpfr|gmp"
    assert json.loads(known.to_json()) == {
        "time": "2025-12-02T09:40:00.123Z",
        "batch": 7,
        "identity": "CN=builder",
        "command": "REMOVE",
        "package": "isl",
        "ends_batch": False,
    }
    assert json.loads(LoggedChange(0, 1, None, "INDEX|a|b,c").to_json())["dependencies"] == ["b", "c"]


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2h", 1_000),
        ("1970-01-01T02:00:01+02:00", 1_000),
        ("1970-01-01T02:00:01", 7_201_000),
        ("1969-12-31", 0),
        ("now", END.time),
    ],
)
def test_a_moment_may_be_a_time(text: str, time: int | None) -> None:
    assert Moment.parse(text, now=7_201.0) == Moment(time=time)


def test_a_moment_includes_the_batches_of_its_millisecond() -> None:
    assert [Moment(time=5).includes(Seal(1, 0, time)) for time in (4, 5, 6)] == [True, True, False]


@pytest.mark.parametrize("text", ["", "yesterday", "-1", "2026-13-01", "9999-01-01", "1h2", "\u0662", "9" * 5_000])
def test_other_moments_are_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(expected a batch, a time|the time 9999-01-01 is in the future$)"):
        Moment.parse(text, now=7_201.0)


@pytest.mark.parametrize(
    ("text", "seconds"), [("10", 10), (".5", 0.5), ("1e3", 1_000), ("500ms", 0.5), ("1.5M", 90), ("2h", 7_200)]
)
def test_a_duration_may_have_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_other_durations_are_rejected() -> None:
    assert parse_duration("0", or_zero=True) == 0
    for text in ["-1", "+1", "", "soon", "nan", "inf", "1e9", "20000d", "5min", "s", "1_0", " 1", "\u0662", "0"]:
        with pytest.raises(ValueError, match=r"^expected a time above 0, such as 10, 500ms, 10s or 5m, got '"):
            parse_duration(text)
