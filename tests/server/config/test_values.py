"""Each kind of value: accepted spellings, and the message for the others."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scoop_server.config.settings import Fsync
from scoop_server.config.values import HOST, PLAIN_ADDRESS, SWITCH, Kind, choice, duration, integer, member, path, size

PORT = integer(0, 65_535)
SIZE = size(1, 1 << 30)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("65536", 65_536), ("64k", 65_536), ("64K", 65_536), ("2m", 2 << 20), ("1g", 1 << 30)],
)
def test_a_size_may_have_a_unit(text: str, value: int) -> None:
    assert SIZE.parse(text) == value


@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("true", "false"), ("YES", "NO"), ("On", "Off")])
def test_words_for_yes_and_no(yes: str, no: str) -> None:
    assert SWITCH.parse(yes)
    assert not SWITCH.parse(no)


def test_words_are_accepted_in_either_case() -> None:
    assert choice("FORMAT", ("text", "json")).parse("JSON") == "json"
    assert member("WHEN", Fsync).parse("Never") is Fsync.NEVER


@pytest.mark.parametrize("text", ["::1", "[::1]"])
def test_a_host_may_be_in_brackets(text: str) -> None:
    assert HOST.parse(text) == "::1"


@pytest.mark.parametrize(
    ("text", "address"),
    [("[::1]:9180", "tcp:[::1]:9180"), *(2 * (text,) for text in ("tcp:localhost:0", "unix:/run/admin.sock"))],
)
def test_a_plain_address_needs_no_scheme(text: str, address: str) -> None:
    assert str(PLAIN_ADDRESS.parse(text)) == address


@pytest.mark.parametrize(
    ("kind", "texts", "message"),
    [
        (
            PORT,
            ["65536", "-1", "+1", "", "http", "8080.0", "8_080", "\u0662", " 1", "80k", "9" * 5_000, "0" * 20 + "1"],
            "expected an integer from 0 to 65535, got ",
        ),
        (
            SIZE,
            ["0", "2g", "1024m1", "64kb", "6 4k", "k", "", "1.5k", "9" * 5_000],
            "expected a size from 1 to 1g, such as 65536 or 64k, got ",
        ),
        (duration(), ["0", "soon"], "expected a time above 0, such as 10, 500ms, 10s or 5m, got "),
        (SWITCH, ["maybe", "", "2"], "expected yes or no, got "),
        (choice("FORMAT", ("text", "json")), ["xml", ""], "expected one of text, json, got "),
        (member("WHEN", Fsync), ["sometimes"], "expected one of always, everysec, never, got "),
        (HOST, ["", "[]"], "expected a host, got "),
        (HOST, ["a\0b"], "expected a host without NUL characters, got "),
        (path("FILE"), [""], "expected a path, got "),
        (path("FILE"), ["a\0b"], "expected a path without NUL characters, got "),
        (PLAIN_ADDRESS, ["tls:h:1", "h:1?read-only"], "expected HOST:PORT or unix:PATH, got "),
        (PLAIN_ADDRESS, ["9180", "a\0b:1"], "expected HOST:PORT, with an IPv6 address in brackets, got "),
    ],
)
def test_other_texts_are_rejected_with_the_expected_values(kind: Kind[object], texts: list[str], message: str) -> None:
    for text in texts:
        with pytest.raises(ValueError) as raised:  # noqa: PT011  # the message is compared below
            kind.parse(text)
        assert str(raised.value).startswith(message)


def test_a_path_is_kept_as_it_is() -> None:
    parse: Callable[[str], Path] = path("DIR").parse
    assert parse("some where/\udcff") == Path("some where/\udcff")
