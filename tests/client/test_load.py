"""``scoop load``: forms of input, dependency order, failures with reasons, interruption."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoop_core import Command, DependencyGraph, Request, parse_request

from scoop_client import InvalidInput
from scoop_client.cli.output import Output
from scoop_client.cli.sending import Transfer
from scoop_client.cli.settings import Settings
from scoop_client.cli.status import ExitStatus
from scoop_client.ordering import in_dependency_order, requests_of_lines

from tests.support.command import Scoop
from tests.support.process import ServerProcess
from tests.support.scripted_server import ScriptedServer, read_lines

CYCLE = "b: c a\na: b\nc: a\n"


class TestInput:
    @pytest.mark.parametrize(
        "text",
        [
            "INDEX|isl|gmp\n# a comment\n\nINDEX|gmp|\r\n",
            "isl: gmp  # a comment\n\ngmp:\n",
            "isl: gmp\ngmp",
            '{"isl": ["gmp"], "gmp": []}',
            '[{"name": "isl", "dependencies": ["gmp"]}, {"name": "gmp"}]',
        ],
    )
    def test_every_form_from_a_file_and_from_a_pipe(
        self, scoop: Scoop, server: ServerProcess, tmp_path: Path, text: str
    ) -> None:
        (tmp_path / "input").write_text(text, newline="")
        expected = (0, "INDEX|gmp|\nINDEX|isl|gmp\n", "2 requests printed, 0 rejected\n")
        assert scoop("load", "--dry-run", str(tmp_path / "input")) == expected
        assert scoop("load", "--dry-run", stdin=text.encode()) == expected
        address = f"127.0.0.1:{server.port}"
        result = scoop("load", "--server", address, stdin=text.encode())
        assert result == (0, "", "2 requests answered: 2 OK, 0 failed\n")
        assert scoop("--server", address, "query", "isl").status == 0

    def test_a_file_of_another_encoding_or_form(self, scoop: Scoop) -> None:
        assert scoop("load", "--dry-run", stdin=b"caf\xe9\ntea\n").status == 2
        assert scoop("load", "--dry-run", stdin=b"isl gmp\n").err.endswith("got 'isl gmp'\n")
        assert scoop("load", "--dry-run", stdin=b'{"isl": "gmp"}').status == 2
        assert scoop("load", "--dry-run", "/nonexistent").status == 2
        assert scoop("load", "--dry-run", stdin=b"") == (0, "", "0 requests printed, 0 rejected\n")

    def test_a_pipe_that_is_named_as_a_file(self, scoop: Scoop) -> None:
        reader, writer = os.pipe()
        os.write(writer, b"isl: gmp\ngmp\n")
        os.close(writer)
        assert scoop("load", "--dry-run", f"/dev/fd/{reader}").out == "INDEX|gmp|\nINDEX|isl|gmp\n"
        os.close(reader)

    @pytest.mark.parametrize("text", ["gmp", "INDEX|gmp|", '{"gmp": []}'])
    def test_a_byte_order_mark_is_ignored(self, scoop: Scoop, text: str) -> None:
        assert scoop("load", "--dry-run", stdin=text.encode("utf-8-sig")).out == "INDEX|gmp|\n"
        assert scoop("order", "--from", "-", stdin=text.encode("utf-8-sig")).out == "gmp\n"

    @pytest.mark.parametrize("form", ["INDEX|big|{}\nINDEX|gmp|\n", '{{"big": ["{}"], "gmp": []}}'])
    def test_a_request_longer_than_a_line_is_rejected_and_the_others_are_sent(
        self, scoop: Scoop, address: str, form: str
    ) -> None:
        separator = '", "' if form.startswith("{") else ","
        text = form.format(separator.join(f"{number:0255}" for number in range(256)))
        result = scoop("load", "--server", address, stdin=text.encode())
        assert result.status == 2
        rejected, summary = result.err.splitlines()
        assert rejected.endswith(": line too long: 65,545 bytes (limit 65,536)")
        assert len(rejected) < 200
        assert summary == "1 request answered: 1 OK, 0 failed, 1 rejected"

    def test_json_that_is_nested_too_deeply(self, scoop: Scoop) -> None:
        assert scoop("load", stdin=b"[" * 100_000).err.startswith("scoop: cannot read standard input: invalid JSON: ")
        nodes = b'{"nodes": [], "links": ' + b"[" * 100_000
        assert scoop("order", "--from", "-", stdin=nodes).err.startswith("scoop: cannot read standard input: ")


class TestOrder:
    def test_a_cycle(self, scoop: Scoop, address: str) -> None:
        assert scoop("load", "--server", address, stdin=CYCLE.encode()).status == 0
        assert scoop("--server", address, "query", "a", "b", "c").status == 0

    def test_dependencies_that_only_the_server_knows(self, scoop: Scoop, address: str) -> None:
        scoop("--server", address, "index", "gmp")
        assert scoop("load", "--server", address, stdin=b"isl: gmp\ncloog: isl gmp\n").status == 0

    def test_other_requests_keep_their_place(self) -> None:
        lines = ["INDEX|isl|gmp\n", "INDEX|gmp|\n", "REMOVE|isl|\n", "INDEX|isl|\n", "QUERY|isl|\n"]
        ordered = in_dependency_order(requests_of_lines(lines, lambda _, reason: pytest.fail(reason)))
        assert [f"{request.command}|{request.package}" for request in ordered] == [
            "INDEX|gmp",
            "INDEX|isl",
            "REMOVE|isl",
            "INDEX|isl",
            "QUERY|isl",
        ]

    @given(st.dictionaries(st.sampled_from("abcdefgh"), st.lists(st.sampled_from("abcdefgh"), max_size=4)))
    def test_every_graph_is_made_with_no_request_refused(self, packages: dict[str, list[str]]) -> None:
        packages = {name: packages.get(name, []) for name in "abcdefgh"}
        requests = [Request.of(Command.INDEX, name, dependencies) for name, dependencies in packages.items()]
        graph = DependencyGraph.from_requests(in_dependency_order(requests))
        assert graph == DependencyGraph.from_mapping(packages)

    def test_many_lines_are_read_as_one_by_one(self) -> None:
        lines = [f"INDEX|p{number}|{'p0,p0' if number else ''}\n" for number in range(10_000)]
        one_by_one = [parse_request(line.strip()) for line in lines]
        read = list(requests_of_lines(lines, lambda _, reason: pytest.fail(reason)))
        assert [(each.package, set(each.dependencies)) for each in read] == [
            (each.package, set(each.dependencies)) for each in one_by_one
        ]


class TestFailures:
    INPUT = b"a: b\nd: nothing\ne: d\nbad!: a\nb:\n"

    def test_they_are_listed_with_reasons(self, scoop: Scoop, address: str) -> None:
        result = scoop("load", "--server", address, stdin=self.INPUT)
        assert result.status == 2
        assert result.err.splitlines() == [
            "bad!: invalid '!' at column 4 of the name",
            "INDEX|d|nothing: nothing is not indexed",
            "INDEX|e|d: d is not indexed",
            "4 requests answered: 2 OK, 2 failed, 1 rejected",
        ]

    def test_they_are_written_to_a_file_that_can_be_loaded(self, scoop: Scoop, address: str, tmp_path: Path) -> None:
        failures = str(tmp_path / "failures")
        assert scoop("load", "--server", address, "--failures", failures, stdin=b"d: nothing\nb:\n").status == 1
        assert Path(failures).read_text() == "# nothing is not indexed\nINDEX|d|nothing\n"
        scoop("--server", address, "index", "nothing")
        assert scoop("load", "--server", address, failures).status == 0

    def test_what_was_rejected_is_a_comment_in_the_file(self, scoop: Scoop, address: str, tmp_path: Path) -> None:
        failures = str(tmp_path / "failures")
        text = '{"bad\\nINDEX|evil|": [], "\\ud800": [], "d": ["nothing"]}'
        assert scoop("load", "--server", address, "--failures", failures, stdin=text.encode()).status == 2
        assert Path(failures).read_text() == (
            "# invalid '\\n' at column 4 of the name: 'bad\\nINDEX|evil|'\n"
            "# invalid '\\ud800' at column 1 of the name: '\\ud800'\n"
            "# nothing is not indexed\nINDEX|d|nothing\n"
        )
        assert scoop("load", "--dry-run", failures).out == "INDEX|d|nothing\n"

    def test_control_characters_are_escaped(self, scoop: Scoop) -> None:
        err = scoop("load", "--dry-run", stdin=b"\x1b[31m|caf\xe9\n").err
        assert err.startswith("'\\x1b[31m|caf\\xe9': expected 2 bars, got 1\n")

    def test_json(self, scoop: Scoop, address: str) -> None:
        result = scoop("load", "--json", "--server", address, stdin=self.INPUT)
        assert result.json() == [{"answered": 4, "ok": 2, "failed": 2, "rejected": 1, "complete": True}]

    def test_many_are_counted(self, scoop: Scoop, address: str) -> None:
        lines = "".join(f"p{number}: nothing\n" for number in range(50))
        result = scoop("load", "--server", address, stdin=lines.encode())
        assert len(result.err.splitlines()) == 22
        assert "and 30 more; --failures FILE lists all\n" in result.err

    def test_the_progress_is_a_line_now_and_then(
        self, scoop: Scoop, address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("scoop_client.cli.output.SECONDS_BETWEEN_LINES", 0.0)
        *progress, end = scoop("load", "--server", address, stdin=b"a\nb\n").err.splitlines()
        assert progress[-1] == "loading: 2 requests, 0 failed"
        assert end == "2 requests answered: 2 OK, 0 failed"


class TestEnds:
    def test_ctrl_c_reports_the_progress(self, scoop: Scoop) -> None:
        def answer_one_and_interrupt(sock: socket.socket, _number: int) -> None:
            read_lines(sock, 2)
            sock.sendall(b"OK\n")
            os.kill(os.getpid(), signal.SIGINT)

        with ScriptedServer(answer_one_and_interrupt) as server:
            result = scoop("load", "--server", server.address, stdin=b"a\nb\n")
        assert result.status == 130
        assert result.err.startswith("interrupted: ")

    def test_ctrl_c_while_the_input_is_read_reports_that_nothing_was_sent(
        self, scoop: Scoop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(_text: str, _source: str, _form: str | None) -> dict[str, list[str]]:
            raise KeyboardInterrupt

        monkeypatch.setattr("scoop_client.cli.load.parse_packages", interrupt)
        assert scoop("load", stdin=b"a\n") == (130, "", "interrupted: 0 requests answered: 0 OK, 0 failed\n")

    def test_a_lost_connection_reports_the_progress(self, scoop: Scoop) -> None:
        def answer_one(sock: socket.socket, _number: int) -> None:
            read_lines(sock, 2)
            sock.sendall(b"OK\n")

        with ScriptedServer(answer_one) as server:
            result = scoop("load", "--server", server.address, stdin=b"a\nb\n")
        assert result.status == 3
        assert result.err.splitlines() == [
            f"scoop: lost the connection to {server.address}: closed by the server; outcome unknown: 1 of the changes",
            "incomplete: 1 request answered: 1 OK, 0 failed",
        ]

    def test_an_input_that_fails_halfway_reports_the_progress(self, address: str) -> None:
        def read() -> Iterator[Request]:
            yield Request.of(Command.INDEX, "gmp")
            raise InvalidInput("list", "input/output error")

        with Settings().new_client(address) as client:
            assert Transfer(Output(is_json=False), None).send(client, read(), "loading") is ExitStatus.ERROR

    def test_a_lost_connection_is_survived_with_resend(self, scoop: Scoop) -> None:
        def answer_one_each(sock: socket.socket, _number: int) -> None:
            read_lines(sock, 1)
            sock.sendall(b"OK\n")

        with ScriptedServer(answer_one_each) as server:
            assert scoop("load", "--resend", "--server", server.address, stdin=b"a\nb\n").status == 0

    def test_no_connection(self, scoop: Scoop) -> None:
        assert scoop("load", "--server", "unix:/nonexistent", stdin=b"a\n").status == 3
