"""Names, requests and responses: parsing and encoding."""

import pickle
import re
from itertools import product
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scoop_core import (
    ENCODING,
    MAX_NAME_LENGTH,
    NAME_CHARACTERS,
    BlockedByDependents,
    Command,
    DependencyGraph,
    InvalidName,
    MalformedRequest,
    MalformedResponse,
    PackageName,
    Request,
    Response,
    encode_request,
    encode_response,
    parse_name,
    parse_names,
    parse_request,
    parse_response,
)

# The grammar again, as one expression, to compare the parser with.
NAME = r"[A-Za-z0-9_\-+.@/:~]{1,255}"
LINE = re.compile(rf"(INDEX|REMOVE|QUERY)\|({NAME})\|((?:{NAME})(?:,{NAME})*)?\r?")

names = st.one_of(
    st.sampled_from(["a", "b", "gtk+3", "x@1:2/3~4", "n" * MAX_NAME_LENGTH]),
    st.text(NAME_CHARACTERS, min_size=1, max_size=MAX_NAME_LENGTH),
)

requests = st.builds(Request.of, st.sampled_from(Command), names, st.lists(names, max_size=5))

PIECES = [*Command, "|", "|", "|", ",", "a", "b", "n" * 255, "nn", " ", "\r", "\n", "\0", "=", "\xff", "index"]

lines = st.one_of(
    st.text(st.characters(max_codepoint=255)),
    st.lists(st.sampled_from(PIECES)).map("".join),
    requests.map(lambda request: encode_request(request)[:-1]),
)


class TestNames:
    def test_letters_digits_and_eight_others_are_valid(self) -> None:
        assert len(NAME_CHARACTERS) == len(set(NAME_CHARACTERS)) == 26 + 26 + 10 + 8
        assert set("_-+.@/:~") <= set(NAME_CHARACTERS)
        assert parse_name(NAME_CHARACTERS) == NAME_CHARACTERS

    def test_every_other_character_is_invalid(self) -> None:
        others = set(map(chr, range(0x180))) - set(NAME_CHARACTERS) | set("☃\u0660\uff21\U0001f4e6")
        for character in sorted(others):
            with pytest.raises(InvalidName) as caught:
                parse_name(f"ab{character}c")
            assert caught.value.column == 3

    @pytest.mark.parametrize(
        ("text", "message", "column"),
        [
            ("", "empty name: ''", 0),
            ("emacs elisp", "invalid space at column 6 of the name: 'emacs elisp'", 6),
            ("emacs\u2603elisp", r"invalid '\u2603' at column 6 of the name: 'emacs\u2603elisp'", 6),
            ("a,b", "invalid ',' at column 2 of the name: 'a,b'", 2),
            ("a\n", r"invalid '\n' at column 2 of the name: 'a\n'", 2),
            ("n" * 256, f"name too long (256 characters, limit 255): '{'n' * 80}'… (256 characters)", 0),
            ("n" * 256 + "=", f"invalid '=' at column 257 of the name: '{'n' * 80}'… (257 characters)", 257),
        ],
    )
    def test_the_error_has_the_reason_and_the_column(self, text: str, message: str, column: int) -> None:
        with pytest.raises(InvalidName) as caught:
            parse_name(text)
        assert (str(caught.value), caught.value.text, caught.value.column) == (message, text, column)

    @pytest.mark.parametrize(
        ("text", "expected"), [("", ()), ("gmp", ("gmp",)), ("b,a,b,b,c,a", ("b", "a", "c")), ("a,A", ("a", "A"))]
    )
    def test_a_list_keeps_its_order_and_each_name_once(self, text: str, expected: tuple[str, ...]) -> None:
        assert parse_names(text) == expected

    def test_the_first_invalid_item_of_a_list_is_the_error(self) -> None:
        # Exhaustive, because an interpreter's re may be wrong for a few lists only.
        for length in range(1, 8):
            for text in map("".join, product("a,=", repeat=length)):
                invalid = next((item for item in text.split(",") if "=" in item or not item), None)
                if invalid is None:
                    assert parse_names(text) == tuple(dict.fromkeys(text.split(",")))
                else:
                    with pytest.raises(InvalidName) as caught:
                        parse_names(text)
                    assert caught.value.text == invalid


class TestRequests:
    @given(lines)
    @example("INDEX|a|\r")
    @example("INDEX|a|\r\r")
    @example("QUERY|a|b,\r")
    @example("QUERY|a|b,a\r")
    def test_the_parser_accepts_exactly_the_grammar(self, line: str) -> None:
        match = LINE.fullmatch(line)
        if match is None:
            with pytest.raises(MalformedRequest):
                parse_request(line)
        else:
            command, package, listed = match.groups()
            assert parse_request(line) == Request.of(Command(command), package, listed.split(",") if listed else ())

    @pytest.mark.parametrize(
        ("line", "message", "column"),
        [
            ("", "expected 2 bars, got 0: ''", 0),
            ("QUERY|a|b|", "expected 2 bars, got 3: 'QUERY|a|b|'", 0),
            ("query|a|", "unknown command 'query': 'query|a|'", 1),
            ("x" * 30 + "|a|", f"unknown command '{'x' * 20}': '{'x' * 30}|a|'", 1),
            ("QUERY||", "empty name at column 7 of the line: 'QUERY||'", 7),
            ("QUERY|a b|", "invalid space at column 8 of the line: 'QUERY|a b|'", 8),
            ("INDEX|a|b,", "empty name at column 11 of the line: 'INDEX|a|b,'", 11),
            ("INDEX|a|b,,c", "empty name at column 11 of the line: 'INDEX|a|b,,c'", 11),
            ("INDEX|a|b,c=\r", r"invalid '=' at column 12 of the line: 'INDEX|a|b,c=\r'", 12),
            ("QUERY|a|\r\r", r"invalid '\r' at column 9 of the line: 'QUERY|a|\r\r'", 9),
        ],
    )
    def test_the_error_has_the_reason_and_the_column(self, line: str, message: str, column: int) -> None:
        with pytest.raises(MalformedRequest) as caught:
            parse_request(line)
        assert (str(caught.value), caught.value.text, caught.value.column) == (message, line, column)

    def test_the_error_of_the_name_is_the_cause(self) -> None:
        with pytest.raises(MalformedRequest) as caught:
            parse_request("INDEX|a|b,c d")
        assert isinstance(caught.value.__cause__, InvalidName)

    @given(requests)
    def test_parsing_reverses_encoding(self, request: Request) -> None:
        text = encode_request(request)
        assert text.endswith("\n")
        assert parse_request(text.removesuffix("\n")) == request

    @pytest.mark.parametrize("invalid", ["a\nREMOVE|b|", "a|b", "a,b", "", "n" * 256])
    def test_encoding_rejects_an_invalid_name(self, invalid: str) -> None:
        name = cast("PackageName", invalid)
        for request in (Request(Command.QUERY, name), Request(Command.INDEX, parse_name("a"), (name,))):
            with pytest.raises(InvalidName):
                encode_request(request)

    def test_a_single_string_is_not_a_list_of_names(self) -> None:
        with pytest.raises(TypeError, match="expected an iterable of names, got the string 'gmp'"):
            Request.of(Command.INDEX, "isl", "gmp")

    def test_a_command_may_be_its_text(self) -> None:
        text = cast("Command", "REMOVE")  # a caller whose types are not checked
        for request in (Request.of(text, "gmp"), Request(text, parse_name("gmp"))):
            assert request == Request.of(Command.REMOVE, "gmp")
            assert encode_request(request) == "REMOVE|gmp|\n"
            graph = DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []})
            assert graph.apply(request) is Response.FAIL
            assert graph.explain(request) == BlockedByDependents("gmp", ("isl",))
        assert type(Request.of(text, "gmp").command) is Command
        with pytest.raises(MalformedRequest, match=r"^unknown command 'remove'"):
            Request.of(cast("Command", "remove"), "gmp")

    def test_a_request_is_an_immutable_value(self) -> None:
        request = parse_request("INDEX|a|b")
        assert request == parse_request("INDEX|a|b,b\r")
        assert hash(request) == hash(parse_request("INDEX|a|b"))
        assert pickle.loads(pickle.dumps(request)) == request
        assert not hasattr(request, "__dict__")  # keeps millions of them small
        with pytest.raises(AttributeError):
            request.package = parse_name("b")  # type: ignore[misc]  # the test shows that it cannot be set


class TestResponses:
    def test_there_are_three_and_only_ok_is_true(self) -> None:
        assert {response.value: bool(response) for response in Response} == {"OK": True, "FAIL": False, "ERROR": False}

    @pytest.mark.parametrize("response", Response)
    def test_parsing_reverses_encoding(self, response: Response) -> None:
        assert encode_response(response) == f"{response.name}\n"
        assert parse_response(response.name) is response

    @pytest.mark.parametrize("line", ["", "ok", "OK\n", "OK\r", " OK", "FAILED"])
    def test_other_lines_are_rejected(self, line: str) -> None:
        with pytest.raises(MalformedResponse) as caught:
            parse_response(line)
        assert caught.value.text == line
        assert str(caught.value) == f"expected OK, FAIL or ERROR: {line!a}"


def test_the_encoding_maps_each_byte_to_one_character() -> None:
    every_byte = bytes(range(256))
    assert len(every_byte.decode(ENCODING)) == 256
    assert every_byte.decode(ENCODING).encode(ENCODING) == every_byte
