"""Log lines: whatever is in an event, it is one line of printable ASCII; and what repeats is counted."""

import json
import logging
import re
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoop_server.config.limits import Limits
from scoop_server.telemetry.logs import (
    REPEAT_SECONDS,
    REQUEST_CHARACTERS_MAX,
    JsonFormatter,
    RepeatLimit,
    TextFormatter,
    access_log,
    log_errors,
    log_requests,
    set_log_level,
    set_up_logging,
)

from tests.support.event_loop import Clock, Loop
from tests.support.full_disk import LESS_THAN_THEIR_SNAPSHOT, LONG_PREFIX, index_chain, set_file_size_limit
from tests.support.process import ServerProcess, connected, run_to_end

FORMATTERS: Final = pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])

NOTHING_TO_SHOW: Final = "an empty line, or one longer than --max-line"

MOMENT: Final = datetime(2026, 1, 31, 12, 0, 0, 7_000, UTC)


class Asker(NamedTuple):
    """A client, as far as a log line knows it."""

    name: str


def event(template: str, *arguments: object, level: int = logging.INFO) -> logging.LogRecord:
    """Return an event as a logger makes it."""
    record = logging.LogRecord("scoop_server", level, "", 0, template, arguments, None)
    record.created, record.msecs = MOMENT.timestamp(), 7.0
    return record


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="scoop_server")


# Formats


def test_text_is_time_level_and_message() -> None:
    line = TextFormatter().format(event("%(peer)s connected", {"peer": "192.0.2.1:1"}, level=logging.WARNING))
    assert line == "2026-01-31T12:00:00.007Z WARNING 192.0.2.1:1 connected"


def test_json_is_one_object_with_the_fields_of_the_event() -> None:
    line = JsonFormatter().format(event("%(peer)s has %(count)d", {"peer": "192.0.2.1:1", "count": 3}))
    assert json.loads(line) == {
        "time": "2026-01-31T12:00:00.007Z",
        "level": "info",
        "message": "192.0.2.1:1 has 3",
        "peer": "192.0.2.1:1",
        "count": 3,
    }
    assert datetime.fromisoformat(json.loads(line)["time"]) == MOMENT


def test_an_event_without_fields_is_an_object_all_the_same() -> None:
    line = JsonFormatter().format(event("saved %d packages in %s", 2, Path("there")))
    assert json.loads(line)["message"] == "saved 2 packages in there"


def test_a_field_that_json_has_no_form_for_is_its_text() -> None:
    line = JsonFormatter().format(event("in %(place)s", {"place": Path("there")}))
    assert json.loads(line)["place"] == "there"


@FORMATTERS
@given(text=st.text(st.characters(), max_size=50))  # surrogates too, as file names have them
def test_an_event_is_one_line_of_printable_ascii_whatever_is_in_it(formatter: logging.Formatter, text: str) -> None:
    line = formatter.format(event("%(request)s", {"request": text}))
    assert line.isascii()
    assert line.isprintable()


@given(text=st.text(st.characters(), max_size=50))
def test_what_was_escaped_can_be_read_back(text: str) -> None:
    fields = {"request": text}
    assert json.loads(JsonFormatter().format(event("%(request)s", fields)))["request"] == text
    line = TextFormatter().format(event("%(request)s", fields))
    assert line.encode().decode("unicode_escape").partition(" INFO ")[2] == text


@FORMATTERS
def test_a_traceback_is_a_part_of_its_line(formatter: logging.Formatter) -> None:
    record = event("it failed")
    try:
        int("why")
    except ValueError:
        record.exc_info = sys.exc_info()
    line = formatter.format(record)
    assert "\n" not in line
    assert "Traceback" in line
    assert "ValueError: invalid" in line


# Setting up


def forget_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the test ends, have logging as a new process has it. (A fixture would be too early to forget caplog.)"""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    for logger in (logging.getLogger(), logging.getLogger("scoop_server"), access_log):
        monkeypatch.setattr(logger, "level", logger.level)
    logging.getLogger("scoop_server").setLevel(logging.NOTSET)


@pytest.mark.parametrize("with_access", [False, True], ids=["without", "with"])
def test_the_access_log_is_written_if_asked_for_whatever_the_level(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, with_access: bool
) -> None:
    forget_logging(monkeypatch)
    set_up_logging("error", "json", with_access=with_access)
    log_requests([(Asker("192.0.2.1:1"), "QUERY|a|\n", "OK\n")])
    lines = capsys.readouterr().err.splitlines()
    assert [json.loads(line)["message"] for line in lines] == ["192.0.2.1:1 OK QUERY|a|"] * with_access


def test_the_level_can_be_changed_while_the_server_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forget_logging(monkeypatch)
    log = logging.getLogger("scoop_server")
    set_up_logging("warning", "text")
    log.info("one")
    set_log_level("info")
    log.info("two")
    set_log_level("error")
    log.warning("three")
    assert [line.split()[-1] for line in capsys.readouterr().err.splitlines()] == ["two"]


# Repetitions


TEMPLATE: Final = "refused %(peer)s"


class Limited:
    """A limit, its clock, and how events are given to it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.limit = RepeatLimit(self.clock)

    def refuse(self, peer: str, count: int = 1) -> None:
        self.limit.log(logging.WARNING, TEMPLATE, {"peer": peer}, count)

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.limit.flush()


@pytest.fixture
def limited() -> Limited:
    return Limited()


def test_the_first_of_a_kind_is_logged_at_once_and_the_others_as_one(
    limited: Limited, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1_236):
        limited.refuse(str(number))
    limited.pass_time(REPEAT_SECONDS - 1)
    assert caplog.messages == ["refused 0"]
    limited.pass_time(1)
    assert caplog.messages[1:] == ["refused 1235 (and 1,234 more like it in the last 10 s)"]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_what_is_left_out_is_a_number_in_json(limited: Limited, caplog: pytest.LogCaptureFixture) -> None:
    limited.refuse("a", count=1_000)
    limited.pass_time(REPEAT_SECONDS)
    assert json.loads(JsonFormatter().format(caplog.records[-1]))["left_out"] == 998


def test_events_of_different_kinds_do_not_hide_each_other(caplog: pytest.LogCaptureFixture) -> None:
    limit = RepeatLimit(Clock())
    caplog.set_level(logging.INFO)
    for why in ("it ended", "no certificate", "it ended"):
        limit.log(logging.INFO, "failed: %(why)s", {"why": why}, kind=why)
    assert caplog.messages == ["failed: it ended", "failed: no certificate"]
    limit.flush(at_once=True)
    assert caplog.messages[2:] == ["failed: it ended"]


def test_a_single_repetition_is_logged_late_and_leaves_nothing_out(
    limited: Limited, caplog: pytest.LogCaptureFixture
) -> None:
    limited.refuse("a")
    limited.refuse("b")
    limited.pass_time(REPEAT_SECONDS)
    assert caplog.messages == ["refused a", "refused b"]


def test_repetitions_without_end_are_one_line_in_each_period(
    limited: Limited, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        limited.refuse("a")
        limited.pass_time(1)
    assert len(caplog.messages) == 1 + 100 // REPEAT_SECONDS


def test_after_a_quiet_period_an_event_is_logged_at_once(limited: Limited, caplog: pytest.LogCaptureFixture) -> None:
    limited.refuse("a")
    limited.pass_time(REPEAT_SECONDS)
    limited.refuse("b")
    assert caplog.messages == ["refused a", "refused b"]


def test_it_is_counting_until_a_period_was_quiet(limited: Limited) -> None:
    was_counting = [limited.limit.is_counting]
    for count in (1, 2, 0):
        for _ in range(count):
            limited.refuse("a")
        was_counting.append(limited.limit.is_counting)
        limited.pass_time(REPEAT_SECONDS)
    assert [*was_counting, limited.limit.is_counting] == [False, True, True, True, False]


def test_kinds_are_counted_apart(limited: Limited, caplog: pytest.LogCaptureFixture) -> None:
    limited.refuse("a")
    limited.limit.log(logging.WARNING, "lost %(peer)s", {"peer": "a"})
    assert caplog.messages == ["refused a", "lost a"]


def test_what_is_below_the_level_is_neither_logged_nor_counted(
    limited: Limited, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, logger="scoop_server")
    limited.refuse("a")
    assert not limited.limit.is_counting
    assert not caplog.messages


def test_at_the_end_nothing_is_kept_back(limited: Limited, caplog: pytest.LogCaptureFixture) -> None:
    for peer in "abc":
        limited.refuse(peer)
    limited.limit.flush(at_once=True)
    assert caplog.messages == ["refused a", "refused c (and 1 more like it in the last 0 s)"]


# Requests


def test_of_a_long_request_the_beginning_is_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(access_log, "level", logging.INFO)
    request = "QUERY|" + "a" * 60_000
    log_requests([(Asker("p"), f"{request}\n", "ERROR\n")])
    assert caplog.messages == [f"p ERROR {request[:REQUEST_CHARACTERS_MAX]}... (60,006 characters)"]


def test_a_line_of_which_nothing_is_kept_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="scoop_server")
    monkeypatch.setattr(access_log, "level", logging.INFO)
    with Loop(Limits(line_bytes_max=20)) as loop:
        answered(loop, b"x" * 21 + b"\n")
    assert caplog.messages == [
        f"192.0.2.1:1 ERROR {NOTHING_TO_SHOW}",
        f"answered ERROR to 192.0.2.1:1: {NOTHING_TO_SHOW}",
    ]


@pytest.mark.parametrize(
    ("lines", "answers", "logged"),
    [
        ("QUERY|a|\nWHAT\nAND\n", "FAIL\nERROR\nERROR\n", ["WHAT", "WHAT (and 0"]),
        ("WHAT\n", "ERROR\n", ["WHAT"]),
        ("\n", "ERROR\n", [NOTHING_TO_SHOW]),
        ("QUERY|a|\n", "OK\n", []),
        ("", "", []),
    ],
)
def test_of_the_errors_of_a_client_the_first_is_shown_and_the_others_are_counted(
    lines: str, answers: str, logged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    limit = RepeatLimit(Clock())
    log_errors([(Asker("p"), lines, answers)], limit)
    assert caplog.messages == [f"answered ERROR to p: {each}" for each in logged[:1]]
    limit.flush(at_once=True)
    assert len(caplog.messages) == len(logged)


# The event loop


def answered(loop: Loop, *requests: bytes) -> None:
    """Have a client ask, one request a turn."""
    peer = loop.connect()
    for request in requests:
        peer.send(request)
        loop.turn()
        peer.received()


def test_protocol_errors_are_logged_once_and_then_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="scoop_server")
    with Loop() as loop:
        answered(loop, b"BLINDEX|a|\n", b"\x1b[31m\n", b"QUERY|a|\n", b"\n" * 1_234)
        assert caplog.messages == ["answered ERROR to 192.0.2.1:1: BLINDEX|a|"]
        loop.pass_time(REPEAT_SECONDS)
        assert caplog.messages[1:] == [
            f"answered ERROR to 192.0.2.1:1: {NOTHING_TO_SHOW} (and 1,234 more like it in the last 10 s)"
        ]
        loop.pass_time(REPEAT_SECONDS)
        loop.turn()
        assert loop.wait is None, "once nothing is counted, nothing is waited for"


def test_refused_connections_are_logged_once_and_then_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="scoop_server")
    with Loop(Limits(clients_max=1)) as loop:
        loop.connect()
        for _ in range(3):
            loop.connect()
        assert caplog.messages == ["closed the connection of 192.0.2.1:2: 1 connections are open, the most allowed"]
    assert caplog.messages[1].endswith(
        "192.0.2.1:4: 1 connections are open, the most allowed (and 1 more like it in the last 0 s)"
    )


def test_connections_that_a_deadline_closes_are_logged_once_for_each_deadline_and_then_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="scoop_server")
    with Loop(Limits(incomplete_line_seconds_max=30.0, idle_seconds_max=60.0)) as loop:
        for _ in range(50):
            loop.connect()
        for _ in range(50):
            loop.connect().send(b"QUERY|a")
        loop.turn()
        loop.pass_time(30.0)
        assert caplog.messages == ["closed the connection of 192.0.2.1:51: a line was incomplete for 30 s"]
        loop.pass_time(30.0)
        assert caplog.messages[1:] == [
            (
                "closed the connection of 192.0.2.1:100: a line was incomplete for 30 s "
                "(and 48 more like it in the last 30 s)"
            ),
            "closed the connection of 192.0.2.1:1: it was silent for 60 s",
        ]
        loop.pass_time(REPEAT_SECONDS)
        assert caplog.messages[3:] == [
            "closed the connection of 192.0.2.1:50: it was silent for 60 s (and 48 more like it in the last 10 s)"
        ]
        assert {record.levelname for record in caplog.records} == {"INFO"}


# The process


def test_every_line_of_a_json_log_is_an_object(tmp_path: Path) -> None:
    directory = tmp_path / "a\nb é"
    arguments = ["--log-format", "json", "--log-level", "debug", "--access-log", "--data-dir", str(directory)]
    with ServerProcess(*arguments) as server, server.connect() as client:
        assert client.ask("INDEX|a|", "WHAT\x07|\u00e9", "QUERY|a|") == ["OK", "ERROR", "OK"]
        name = client.name
        server.wait_for_log("OK QUERY")
        assert server.stop() == 0
    events = [json.loads(line) for line in server.log_lines]
    assert all(datetime.fromisoformat(each["time"]).tzinfo is UTC for each in events)
    assert {each["level"] for each in events} == {"debug", "info"}
    asked = [(each["response"], each["request"]) for each in events if "response" in each]
    assert asked == [("OK", "INDEX|a|"), ("ERROR", "WHAT\x07|\u00c3\u00a9"), ("OK", "QUERY|a|")]
    assert {each["peer"] for each in events if "response" in each} == {name}
    assert any(str(directory) in each["message"] for each in events)


def test_the_last_line_of_a_json_log_says_why_there_is_no_server(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = run_to_end("--log-format", "json", "--data-dir", str(tmp_path / "file"))
    assert ended.returncode == 1
    last = json.loads(ended.stderr)
    assert last["level"] == "error"
    assert str(tmp_path / "file") in last["message"]


def test_the_line_that_says_why_there_is_no_server_is_one_whatever_a_path_holds(tmp_path: Path) -> None:
    ended = run_to_end("--data-dir", str(tmp_path / "new\nline\u00e9" / "data"))
    assert ended.returncode == 1
    assert re.fullmatch(r"scoop-server: [ -~]*/new\\nline\\xe9[ -~]*\n", ended.stderr)


def test_a_compaction_logs_as_its_server_does(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    with ServerProcess("--log-format", "json", "--data-dir", str(directory)) as server, server.connect() as client:
        index_chain(client, LONG_PREFIX, 2_000)
        set_file_size_limit(server, LESS_THAN_THEIR_SNAPSHOT)
        server.send_signal(signal.SIGUSR1)
        server.wait_for_log("compaction ended with status 1")
        server.kill()
    events = [json.loads(line) for line in server.log_lines]
    [problem] = [each["message"] for each in events if each["message"].startswith("compaction: ")]
    assert f"cannot write {directory}/snapshot-2" in problem


def test_text_escapes_what_a_client_sends_and_what_a_path_holds(tmp_path: Path) -> None:
    directory = tmp_path / "a\nb"
    with ServerProcess("--access-log", "--data-dir", str(directory)) as server, server.connect() as client:
        client.send(b"QUERY|\x1b[2J|\r\r\n")
        assert client.read_answers(1) == ["ERROR"]
        server.wait_for_log(rf"INFO {client.name} ERROR QUERY\|\\x1b\[2J\|\\r$")
    assert any(r"/a\nb," in line for line in server.log_lines)
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ ", line) for line in server.log_lines)


def test_no_request_is_logged_unless_asked_for() -> None:
    with ServerProcess("--memory", "--log-level", "debug") as server, server.connect() as client:
        assert client.ask("QUERY|secret|") == ["FAIL"]
        client.close()
        server.wait_for_log("closed the connection")
        assert not any("secret" in line for line in server.log_lines)


def test_a_flood_of_refusals_is_a_few_lines() -> None:
    with ServerProcess("--memory", "--max-clients", "1") as server, server.connect() as client:
        assert client.ask("QUERY|a|") == ["FAIL"]
        with connected(server, 200) as refused:
            for each in refused:
                each.wait_until_closed()
        assert server.stop() == 0
    lines = [line for line in server.log_lines if "the most allowed" in line]
    assert 2 <= len(lines) <= 20
    counts = [int(match[1].replace(",", "")) for line in lines if (match := re.search(r"and ([\d,]+) more", line))]
    assert len(lines) + sum(counts) == 200, "each is told or counted"


# SIGHUP


def test_sighup_applies_the_level_of_the_file_and_a_broken_file_changes_nothing(tmp_path: Path) -> None:
    config = tmp_path / "scoop.toml"
    config.write_text("log_level = 'info'\n")
    with ServerProcess("--memory", "--config", str(config)) as server, server.connect() as client:
        config.write_text("log_level = 'debug'\nmax_line = 1000\nmax_clients = 1\n")
        server.send_signal(signal.SIGHUP)
        server.wait_for_log("INFO the log level is debug")
        with server.connect() as another:
            server.wait_for_log(f"DEBUG {another.name} connected")
            assert another.ask("QUERY|a|") == ["FAIL"], "all else is as it was"
        server.wait_for_log("WARNING changed settings take effect at the next restart: max_clients, max_line")
        config.write_text("log_level = 'loud'\n")
        server.send_signal(signal.SIGHUP)
        place = re.escape(f"{config} line 1: log_level: expected one of debug, info, warning, error, got 'loud'")
        server.wait_for_log(f"ERROR cannot reload the settings: {place}; the previous settings stay in use")
        with server.connect() as another:
            server.wait_for_log(f"DEBUG {another.name} connected")
        config.write_text("log_level = 'error'\n")
        server.send_signal(signal.SIGHUP)
        # In the turn of the second answer at the latest the signal is seen, and nothing tells of it at this level.
        assert client.ask_one_by_one("QUERY|a|", "QUERY|a|", "WHAT") == ["FAIL", "FAIL", "ERROR"]
        assert server.stop() == 0
    assert not any("ERROR to" in line or "shutting down" in line for line in server.log_lines)


def test_sighup_does_not_change_what_a_flag_says(tmp_path: Path) -> None:
    config = tmp_path / "scoop.toml"
    config.write_text("log_level = 'error'\n")
    with ServerProcess("--memory", "--config", str(config), "--log-level", "info") as server:
        server.send_signal(signal.SIGHUP)
        server.wait_for_log("INFO the log level is info")
