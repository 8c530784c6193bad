"""The lines of the log: formats, set-up, requests and errors, and the log of a process."""

import json
import logging
import os
import re
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoop_server.config.limits import Limits
from scoop_server.config.peer import Peer
from scoop_server.telemetry.log_queue import LogQueue
from scoop_server.telemetry.logs import (
    REPEAT_SECONDS,
    JournalQueue,
    JsonFormatter,
    RepeatLimit,
    TextFormatter,
    access_log,
    is_journal,
    set_log_level,
    set_up_logging,
)
from scoop_server.telemetry.request_log import REQUEST_CHARACTERS_MAX, RequestLog

from tests.support.event_loop import Clock, Loop
from tests.support.full_disk import LESS_THAN_THEIR_SNAPSHOT, LONG_PREFIX, index_chain, set_file_size_limit
from tests.support.process import MODULE_COMMAND, ServerProcess, connected, run_to_end

FORMATTERS: Final = pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])

NOTHING_KEPT: Final = "an empty line, or one longer than --max-line"

MOMENT: Final = datetime(2026, 1, 31, 12, 0, 0, 7_000, UTC)


def log_requests(*responses: tuple[str, str, str]) -> RepeatLimit:
    """Log responses, each with the address of its client; return the limit that holds back similar ones."""
    limit = RepeatLimit(Clock())
    RequestLog(limit).log([(Peer(who, who, "tcp:a:1"), lines, answers) for who, lines, answers in responses])
    return limit


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
    line = JsonFormatter().format(event("%(path)s has %(count)d", {"path": Path("there"), "count": 3}))
    assert json.loads(line) == {
        "time": "2026-01-31T12:00:00.007Z",
        "level": "info",
        "message": "there has 3",
        "path": "there",
        "count": 3,
    }
    assert datetime.fromisoformat(json.loads(line)["time"]) == MOMENT


def test_json_of_an_event_without_fields_has_its_message() -> None:
    assert json.loads(JsonFormatter().format(event("saved %d packages", 2)))["message"] == "saved 2 packages"


@FORMATTERS
@given(text=st.text(st.characters(), max_size=50))  # surrogates too, as file names have them
def test_an_event_is_one_line_of_printable_ascii_whatever_is_in_it(formatter: logging.Formatter, text: str) -> None:
    line = formatter.format(event("%(request)s", {"request": text}))
    assert line.isascii()
    assert line.isprintable()


@given(text=st.text(st.characters(), max_size=50))
def test_escaped_text_can_be_read_back(text: str) -> None:
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


@pytest.mark.parametrize(
    ("level", "prefix"),
    [(logging.CRITICAL, "<3>"), (logging.ERROR, "<3>"), (logging.WARNING, "<4>"), (logging.INFO, "<6>"), (1, "<7>")],
)
def test_lines_for_the_journal_begin_with_their_priority(level: int, prefix: str) -> None:
    assert JournalQueue(print).prepare(event("x", level=level)) == f"{prefix}x\n".encode()


def test_stderr_is_the_journal_if_the_environment_names_its_device_and_inode(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(os.devnull).open() as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.delenv("JOURNAL_STREAM", raising=False)
        status = os.fstat(stream.fileno())
        found = [is_journal()]
        for name in (f"{status.st_dev}:{status.st_ino}", "8:1"):
            monkeypatch.setenv("JOURNAL_STREAM", name)
            found.append(is_journal())
        assert found == [False, True, False]


# Set-up


def forget_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the state that logging has in a new process. (A fixture would run before pytest adds its handlers.)"""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    for logger in (logging.getLogger(), logging.getLogger("scoop_server"), access_log):
        monkeypatch.setattr(logger, "level", logger.level)
    logging.getLogger("scoop_server").setLevel(logging.NOTSET)


def written(capfd: pytest.CaptureFixture[str]) -> list[str]:
    """Return what was written to stderr, line by line."""
    for handler in logging.getLogger().handlers:
        assert isinstance(handler, LogQueue)
        handler.flush()
    return capfd.readouterr().err.splitlines()


@pytest.mark.parametrize("with_access", [False, True], ids=["without", "with"])
def test_the_access_log_depends_on_its_option_alone(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *, with_access: bool
) -> None:
    forget_logging(monkeypatch)
    set_up_logging("error", "json", with_access=with_access)
    log_requests(("192.0.2.1:1", "QUERY|a|\n", "OK\n"))
    assert [json.loads(line)["message"] for line in written(capfd)] == ["192.0.2.1:1 OK QUERY|a|"] * with_access


def test_the_level_can_be_changed_while_the_server_runs(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    forget_logging(monkeypatch)
    log = logging.getLogger("scoop_server")
    set_up_logging("warning", "text")
    log.info("one")
    set_log_level("info")
    log.info("two")
    set_log_level("error")
    log.warning("three")
    assert [line.split()[-1] for line in written(capfd)] == ["two"]


# Requests and errors


def test_the_access_log_shows_the_beginning_of_a_long_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(access_log, "level", logging.INFO)
    request = "QUERY|" + "a" * 60_000
    log_requests(("p", f"{request}\n\n", "ERROR\nERROR\n"))
    assert caplog.messages[:2] == [
        f"p ERROR {request[:REQUEST_CHARACTERS_MAX]}... (60,006 characters)",
        f"p ERROR {NOTHING_KEPT}",
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("index|a|", "unknown command 'index'"),
        ("INDEX|a", "expected 2 bars, got 1"),
        ("INDEX|a b|", "invalid space at column 8 of the line"),
        ("INDEX|a|b,", "empty name at column 11 of the line"),
        ("", NOTHING_KEPT),
        ("(read-only) REMOVE|a|", "this listener is read-only"),
        ("REMOVE|a|", "the request was rejected"),
    ],
)
def test_an_error_is_logged_with_its_reason(line: str, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    log_requests(("p", f"{line}\n", "ERROR\n"))
    assert caplog.messages == [f'answered ERROR to p: {reason}: "{line}"']


@pytest.mark.parametrize(("lines", "answers"), [("QUERY|a|\n", "OK\n"), ("QUERY|a|\n", "FAIL\n"), ("", "")])
def test_nothing_is_logged_without_an_error(lines: str, answers: str, caplog: pytest.LogCaptureFixture) -> None:
    log_requests(("p", lines, answers)).flush(at_once=True)
    assert not caplog.messages


def test_the_first_and_the_last_error_of_each_reason_are_shown_and_the_others_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log_requests(("p", "a\nQUERY|b|\nINDEX||\nb\nc\n", "ERROR\nOK\n" + "ERROR\n" * 3)).flush(at_once=True)
    assert caplog.messages == [
        'answered ERROR to p: expected 2 bars, got 0: "a"',
        'answered ERROR to p: empty name at column 7 of the line: "INDEX||"',
        'answered ERROR to p: expected 2 bars, got 0: "c" (and 1 more like it in the last 0 s)',
    ]


def test_the_reasons_of_a_flood_of_errors_are_not_examined(caplog: pytest.LogCaptureFixture) -> None:
    log_requests(("p", "\n" * 1_000, "ERROR\n" * 1_000), ("p", "a\n" * 5, "ERROR\n" * 5)).flush(at_once=True)
    assert [record.levelname for record in caplog.records] == ["INFO"] * 4
    assert caplog.messages[1] == "answered ERROR to p for reasons that were not examined"
    assert "and 3 more like it" in caplog.messages[3]


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
        assert caplog.messages == ["closed the connection of 192.0.2.1:51: line time-out: incomplete for 30 s"]
        loop.pass_time(30.0)
        assert caplog.messages[1:] == [
            (
                "closed the connection of 192.0.2.1:100: line time-out: incomplete for 30 s "
                "(and 48 more like it in the last 30 s)"
            ),
            "closed the connection of 192.0.2.1:1: idle time-out: no data for 60 s",
        ]
        loop.pass_time(REPEAT_SECONDS)
        assert caplog.messages[3:] == [
            (
                "closed the connection of 192.0.2.1:50: idle time-out: no data for 60 s "
                "(and 48 more like it in the last 10 s)"
            )
        ]
        assert {record.levelname for record in caplog.records} == {"INFO"}


# The process


def test_every_line_of_a_json_log_is_an_object(tmp_path: Path) -> None:
    directory = tmp_path / "a\nb é"
    arguments = ["--log-format", "json", "--log-level", "debug", "--access-log", "--data-dir", str(directory)]
    with ServerProcess(*arguments) as server, server.connect() as client:
        assert client.ask("INDEX|a|", "WHAT\x07|\u00e9", "QUERY|a|") == ["OK", "ERROR", "OK"]
        name = client.name
        assert server.stop() == 0
    events = [json.loads(line) for line in server.log_lines]
    assert all(datetime.fromisoformat(each["time"]).tzinfo is UTC for each in events)
    asked = [(each["response"], each["request"], each["peer"]) for each in events if "response" in each]
    assert asked == [("OK", "INDEX|a|", name), ("ERROR", "WHAT\x07|\u00c3\u00a9", name), ("OK", "QUERY|a|", name)]
    assert any(str(directory) in each["message"] for each in events)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_last_line_is_the_reason_why_there_is_no_server(tmp_path: Path, log_format: str) -> None:
    path = tmp_path / "new\nline\u00e9" / "data"
    ended = run_to_end("--log-format", log_format, "--data-dir", str(path))
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    if log_format == "json":
        assert json.loads(last)["level"] == "error"
        assert str(path) in json.loads(last)["message"]
    else:
        assert re.fullmatch(r"scoop-server: [ -~]*/new\\nline\\xe9[ -~]*", last)


def test_without_a_stderr_nothing_is_written_anywhere_else(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "data"
    close_stderr = (sys.executable, "-c", "import os, sys; os.close(2); os.execv(sys.argv[1], sys.argv[1:])")
    ended = run_to_end("--data-dir", str(path), command=(*close_stderr, *MODULE_COMMAND))
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "")


def test_a_compaction_logs_in_the_format_of_its_server(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    with ServerProcess("--log-format", "json", "--data-dir", str(directory)) as server, server.connect() as client:
        index_chain(client, LONG_PREFIX, 2_000)
        set_file_size_limit(server, LESS_THAN_THEIR_SNAPSHOT)
        server.send_signal(signal.SIGUSR1)
        server.wait_for_log("compaction ended with status 1")
        server.kill()
    events = [json.loads(line) for line in server.log_lines]
    [problem] = [each["message"] for each in events if each["message"].startswith("compaction failed: ")]
    assert f"cannot write {directory}/snapshot-2" in problem


def test_a_flood_of_refusals_is_a_few_lines() -> None:
    with ServerProcess("--memory", "--max-clients", "1") as server, server.connect() as client:
        assert client.ask("QUERY|a|") == ["FAIL"]
        with connected(server, 200) as refused:
            for each in refused:
                each.wait_until_closed()
        assert server.stop() == 0
    lines = [line for line in server.log_lines if "too many clients" in line]
    assert 2 <= len(lines) <= 20
    counts = [int(match[1].replace(",", "")) for line in lines if (match := re.search(r"and ([\d,]+) more", line))]
    assert len(lines) + sum(counts) == 200, "each is told or counted"
