"""The vocabulary: names, requests and answers, parsed and encoded."""

import pickle
import re
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scoop_core import (
    ENCODING,
    MAX_LINE_LENGTH,
    MAX_NAME_LENGTH,
    NAME_CHARACTERS,
    Command,
    InvalidName,
    MalformedRequest,
    MalformedResponse,
    Request,
    Response,
    encode_request,
    encode_response,
    parse_name,
    parse_names,
    parse_request,
    parse_response,
)

from tests.support.protocol_cases import PROTOCOL_CASES, ProtocolCase
from tests.support.reference import reference_lines

# The grammar a second time, as one expression, so that the parser has something to be compared with.
NAME = r"[A-Za-z0-9_\-+.@/:~]{1,255}"
LINE = re.compile(rf"(INDEX|REMOVE|QUERY)\|({NAME})\|((?:{NAME})(?:,{NAME})*)?\r?")

names = st.one_of(
    st.sampled_from(["a", "b", "gtk+3", "x@1:2/3~4", "n" * MAX_NAME_LENGTH]),
    st.text(NAME_CHARACTERS, min_size=1, max_size=MAX_NAME_LENGTH),
).map(parse_name)

requests = st.builds(Request, st.sampled_from(Command), names, st.lists(names, unique=True, max_size=5).map(tuple))

nearly_lines = st.one_of(
    st.text(st.characters(max_codepoint=255)),
    st.lists(
        st.sampled_from(
            [*Command, "|", "|", "|", ",", "a", "b", "n" * 255, "nn", " ", "\r", "\n", "\0", "=", "\xff", "index"]
        )
    ).map("".join),
    requests.map(lambda request: encode_request(request)[:-1]),
)


class TestNames:
    def test_every_allowed_character_is_one(self) -> None:
        assert len(NAME_CHARACTERS) == len(set(NAME_CHARACTERS)) == 26 + 26 + 10 + 8
        assert set("_-+.@/:~") <= set(NAME_CHARACTERS)
        for character in NAME_CHARACTERS:
            assert parse_name(character) == character
        assert parse_name(NAME_CHARACTERS) == NAME_CHARACTERS

    def test_no_other_character_is_one(self) -> None:
        others = set(map(chr, range(0x180))) - set(NAME_CHARACTERS) | set("☃\u0660\uff21\U0001f4e6")
        for character in sorted(others):
            with pytest.raises(InvalidName) as caught:
                parse_name(f"ab{character}c")
            assert caught.value.column == 3

    @pytest.mark.parametrize(
        ("text", "message", "column"),
        [
            ("", "an empty name: ''", 0),
            (" ", "a space at column 1 of the name: ' '", 1),
            ("emacs elisp", "a space at column 6 of the name: 'emacs elisp'", 6),
            ("emacs=elisp", "'=' at column 6 of the name: 'emacs=elisp'", 6),
            ("emacs\u2603elisp", r"'\u2603' at column 6 of the name: 'emacs\u2603elisp'", 6),
            ("a,b", "',' at column 2 of the name: 'a,b'", 2),
            ("a|b", "'|' at column 2 of the name: 'a|b'", 2),
            ("a\n", r"'\n' at column 2 of the name: 'a\n'", 2),
            ("a\r", r"'\r' at column 2 of the name: 'a\r'", 2),
            ("a==", "'=' at column 2 of the name: 'a=='", 2),
            ("n" * 256, f"a name longer than 255 characters: '{'n' * 80}'… (256 characters)", 0),
            ("n" * 9_999, f"a name longer than 255 characters: '{'n' * 80}'… (9,999 characters)", 0),
            ("n" * 256 + "=", f"'=' at column 257 of the name: '{'n' * 80}'… (257 characters)", 257),
        ],
    )
    def test_what_is_no_name_is_told_with_reason_and_column(self, text: str, message: str, column: int) -> None:
        with pytest.raises(InvalidName) as caught:
            parse_name(text)
        assert str(caught.value) == message
        assert caught.value.text == text
        assert caught.value.column == column

    def test_the_longest_name_is_one(self) -> None:
        assert MAX_NAME_LENGTH == 255
        assert parse_name("n" * 255) == "n" * 255

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", ()),
            ("gmp", ("gmp",)),
            ("gmp,isl,pkg-config", ("gmp", "isl", "pkg-config")),
            ("b,a,b,b,c,a", ("b", "a", "c")),
            ("a,A", ("a", "A")),
        ],
    )
    def test_a_list_keeps_its_order_and_each_name_once(self, text: str, expected: tuple[str, ...]) -> None:
        assert parse_names(text) == expected

    @pytest.mark.parametrize(
        ("text", "offending"),
        [(",", ""), ("a,", ""), (",a", ""), ("a,,b", ""), ("a, b", " b"), ("a,b=,c d", "b="), ("a,b\r", "b\r")],
    )
    def test_the_first_text_of_a_list_that_is_no_name_is_the_error(self, text: str, offending: str) -> None:
        with pytest.raises(InvalidName) as caught:
            parse_names(text)
        assert caught.value.text == offending

    def test_every_short_list_is_judged_like_its_names_one_by_one(self) -> None:
        # All of them, because an interpreter's own re may fail on a few only.
        for length in range(1, 8):
            for text in map("".join, product("a,=", repeat=length)):
                first_invalid = next((name for name in text.split(",") if "=" in name or not name), None)
                if first_invalid is None:
                    assert parse_names(text) == tuple(dict.fromkeys(text.split(",")))
                else:
                    with pytest.raises(InvalidName) as caught:
                        parse_names(text)
                    assert caught.value.text == first_invalid


class TestRequests:
    @pytest.mark.parametrize("case", PROTOCOL_CASES, ids=str)
    def test_a_line_is_refused_exactly_where_the_protocol_says_error(self, case: ProtocolCase) -> None:
        for line in reference_lines(case.setup, case.max_line_length):
            parse_request(line)
        answers = case.answers.decode().split("\n")[:-1]
        lines = reference_lines(case.sent, case.max_line_length)
        for line, answer in zip(lines, answers, strict=True):
            if answer == "ERROR":
                with pytest.raises(MalformedRequest):
                    parse_request(line)
            else:
                parse_request(line)

    @pytest.mark.parametrize(
        ("line", "request_"),
        [
            ("INDEX|a|", Request(Command.INDEX, parse_name("a"))),
            ("INDEX|a|b,c,b", Request(Command.INDEX, parse_name("a"), parse_names("b,c"))),
            ("REMOVE|a|", Request(Command.REMOVE, parse_name("a"))),
            ("REMOVE|a|b", Request(Command.REMOVE, parse_name("a"), parse_names("b"))),
            ("QUERY|a|", Request(Command.QUERY, parse_name("a"))),
            ("QUERY|a|\r", Request(Command.QUERY, parse_name("a"))),
            ("QUERY|a|b,a\r", Request(Command.QUERY, parse_name("a"), parse_names("b,a"))),
        ],
    )
    def test_what_a_line_spells(self, line: str, request_: Request) -> None:
        assert parse_request(line) == request_

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("", "0 bars, where a request has 2: ''"),
            ("QUERY|a", "1 bar, where a request has 2: 'QUERY|a'"),
            ("QUERY|a|b|", "3 bars, where a request has 2: 'QUERY|a|b|'"),
            ("BLINDEX|a|b", "'BLINDEX' is not a command: 'BLINDEX|a|b'"),
            ("query|a|", "'query' is not a command: 'query|a|'"),
            ("||", "'' is not a command: '||'"),
            ("x" * 30 + "|a|", f"'{'x' * 20}' is not a command: '{'x' * 30}|a|'"),
            ("QUERY||", "an empty name at column 7 of the line: 'QUERY||'"),
            ("QUERY|a b|", "a space at column 8 of the line: 'QUERY|a b|'"),
            ("INDEX|a|b,", "an empty name at column 11 of the line: 'INDEX|a|b,'"),
            ("INDEX|a|b,c=\r", r"'=' at column 12 of the line: 'INDEX|a|b,c=\r'"),
            ("QUERY|a|\r\r", r"'\r' at column 9 of the line: 'QUERY|a|\r\r'"),
            ("QUERY|a|\n", r"'\n' at column 9 of the line: 'QUERY|a|\n'"),
        ],
    )
    def test_a_malformed_line_is_told_with_its_reason(self, line: str, message: str) -> None:
        with pytest.raises(MalformedRequest) as caught:
            parse_request(line)
        assert str(caught.value) == message
        assert caught.value.text == line

    def test_the_name_that_is_at_fault_is_the_cause(self) -> None:
        with pytest.raises(MalformedRequest) as caught:
            parse_request("INDEX|a|b,c d")
        assert isinstance(caught.value.__cause__, InvalidName)
        assert caught.value.__cause__.text == "c d"

    @given(nearly_lines)
    @example("INDEX|a|\r")
    @example("INDEX|a|\r\r")
    @example("QUERY|a|b,\r")
    def test_the_parser_takes_exactly_what_the_grammar_takes(self, line: str) -> None:
        match = LINE.fullmatch(line)
        if match is None:
            with pytest.raises(MalformedRequest):
                parse_request(line)
        else:
            command, package, listed = match.groups()
            request = parse_request(line)
            assert (request.command.value, request.package) == (command, package)
            assert request.dependencies == (tuple(dict.fromkeys(listed.split(","))) if listed else ())

    @given(requests)
    def test_a_request_survives_encoding_and_parsing(self, request: Request) -> None:
        text = encode_request(request)
        assert text.endswith("\n")
        assert parse_request(text.removesuffix("\n")) == request

    @pytest.mark.parametrize(
        ("request_", "text"),
        [
            (Request(Command.INDEX, parse_name("cloog"), parse_names("gmp,isl")), "INDEX|cloog|gmp,isl\n"),
            (Request(Command.REMOVE, parse_name("cloog")), "REMOVE|cloog|\n"),
            (Request(Command.QUERY, parse_name("cloog"), parse_names("gmp")), "QUERY|cloog|gmp\n"),
        ],
    )
    def test_how_a_request_is_written(self, request_: Request, text: str) -> None:
        assert encode_request(request_) == text

    def test_a_request_is_a_value(self) -> None:
        request = parse_request("INDEX|a|b")
        assert request == parse_request("INDEX|a|b,b\r")
        assert hash(request) == hash(parse_request("INDEX|a|b"))
        assert request != parse_request("INDEX|a|")
        assert pickle.loads(pickle.dumps(request)) == request
        assert not hasattr(request, "__dict__")  # millions of them stay small
        with pytest.raises(AttributeError):
            request.package = parse_name("b")  # type: ignore[misc]  # that it cannot be set is what this shows


class TestResponses:
    @pytest.mark.parametrize("response", Response)
    def test_an_answer_survives_encoding_and_parsing(self, response: Response) -> None:
        assert encode_response(response) == f"{response.name}\n"
        assert parse_response(response.name) is response

    def test_there_are_three(self) -> None:
        assert [response.value for response in Response] == ["OK", "FAIL", "ERROR"]

    @pytest.mark.parametrize("line", ["", "ok", "OK\n", "OK\r", " OK", "FAILED", "ERR", "OK OK"])
    def test_nothing_else_is_an_answer(self, line: str) -> None:
        with pytest.raises(MalformedResponse) as caught:
            parse_response(line)
        assert caught.value.text == line
        assert str(caught.value) == f"neither OK nor FAIL nor ERROR: {line!a}"


def test_every_byte_is_one_character_and_back() -> None:
    every_byte = bytes(range(256))
    assert len(every_byte.decode(ENCODING)) == 256
    assert every_byte.decode(ENCODING).encode(ENCODING) == every_byte


def test_the_longest_line_is_64_kib() -> None:
    assert MAX_LINE_LENGTH == 64 * 1024
