import re
from pathlib import Path

import pytest

from scoop_server import __version__
from scoop_server.journal import Fsync
from scoop_server.limits import Limits
from scoop_server.logs import LOG_LEVELS
from scoop_server.settings import OPTIONS, Settings, build_parser, read_settings


def refusal(capsys: pytest.CaptureFixture[str], arguments: list[str], environment: dict[str, str]) -> str:
    """Return the one line with which the settings are refused."""
    with pytest.raises(SystemExit) as ended:
        read_settings(arguments, environment)
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err.rstrip("\n")


def test_without_flags_and_variables_the_defaults_hold() -> None:
    assert read_settings([], {}) == Settings()
    assert Settings() == Settings(
        host="127.0.0.1",
        port=8080,
        data_dir=Path("scoop-data"),
        memory=False,
        max_line=65_536,
        max_clients=10_000,
        idle_timeout=0.0,
        reject_cycles=False,
        log_level="info",
        log_format="text",
        access_log=False,
        fsync=Fsync.ALWAYS,
    )


def test_the_defaults_are_those_of_the_limits() -> None:
    settings, limits = Settings(), Limits()
    assert settings.max_line == limits.line_bytes_max
    assert settings.max_clients == limits.clients_max
    assert settings.idle_timeout == limits.idle_seconds_max


ALL_FLAGS = {
    "--host": "::1",
    "--port": "0",
    "--data-dir": "somewhere/else",
    "--max-line": "1",
    "--max-clients": "1000000",
    "--idle-timeout": "2.5",
    "--fsync": "never",
    "--log-level": "debug",
    "--log-format": "json",
}
ALL_SETTINGS = Settings(
    host="::1",
    port=0,
    data_dir=Path("somewhere/else"),
    memory=True,
    max_line=1,
    max_clients=1_000_000,
    idle_timeout=2.5,
    reject_cycles=True,
    log_level="debug",
    log_format="json",
    access_log=True,
    fsync=Fsync.NEVER,
)


def test_every_setting_has_a_flag() -> None:
    arguments = [word for pair in ALL_FLAGS.items() for word in pair]
    assert read_settings([*arguments, "--memory", "--reject-cycles", "--access-log"], {}) == ALL_SETTINGS


def test_every_setting_has_an_environment_variable() -> None:
    environment = {f"SCOOP_{flag[2:].replace('-', '_').upper()}": text for flag, text in ALL_FLAGS.items()}
    assert (
        read_settings([], environment | dict.fromkeys(("SCOOP_MEMORY", "SCOOP_REJECT_CYCLES", "SCOOP_ACCESS_LOG"), "1"))
        == ALL_SETTINGS
    )


def test_every_field_of_the_settings_has_an_option() -> None:
    assert [option.name for option in OPTIONS] == list(Settings.__dataclass_fields__)


def test_a_flag_wins_over_its_variable() -> None:
    settings = read_settings(["--port", "1", "--memory"], {"SCOOP_PORT": "2", "SCOOP_MEMORY": "no", "SCOOP_HOST": "h"})
    assert (settings.port, settings.memory, settings.host) == (1, True, "h")


def test_a_flag_wins_over_a_variable_that_could_not_be_read() -> None:
    assert read_settings(["--port", "1"], {"SCOOP_PORT": "many"}).port == 1


@pytest.mark.parametrize("text", ["1", "true", "YES", "On"])
def test_words_that_switch_on(text: str) -> None:
    assert read_settings([], {"SCOOP_MEMORY": text}).memory


@pytest.mark.parametrize("text", ["0", "false", "NO", "Off", ""])
def test_words_that_switch_off(text: str) -> None:
    assert not read_settings([], {"SCOOP_MEMORY": text}).memory


@pytest.mark.parametrize("fsync", Fsync)
def test_fsync_is_read_in_any_case(fsync: Fsync) -> None:
    assert read_settings(["--fsync", fsync.value.upper()], {}).fsync is fsync


def test_every_flag_is_tried() -> None:
    assert {*ALL_FLAGS, "--memory", "--reject-cycles", "--access-log"} == {option.flag for option in OPTIONS}


@pytest.mark.parametrize("level", LOG_LEVELS)
def test_log_levels_are_read_in_any_case(level: str) -> None:
    assert read_settings(["--log-level", level.upper()], {}).log_level == level


@pytest.mark.parametrize(
    ("flag", "text", "wanted"),
    [
        ("--host", "", "it is empty"),
        ("--data-dir", "", "it is empty"),
        *(
            ("--port", text, f"a whole number from 0 to 65535 is wanted, not {text!r}")
            for text in ("65536", "-1", "", "http", "8080.0", "8_080", "\u0662", " 1", "9" * 40, "0" * 20 + "65536")
        ),
        *(
            ("--max-line", text, f"a whole number from 1 to 1073741824 is wanted, not {text!r}")
            for text in ("0", "1073741825", "64k")
        ),
        *(
            ("--max-clients", text, f"a whole number from 1 to 1000000 is wanted, not {text!r}")
            for text in ("0", "1000001")
        ),
        *(
            ("--idle-timeout", text, f"a number of seconds is wanted, not {text!r}")
            for text in ("-1", "", "soon", "nan", "inf", "1e9")
        ),
        ("--fsync", "sometimes", "one of always, everysec, never is wanted, not 'sometimes'"),
        ("--log-level", "loud", "one of debug, info, warning, error is wanted, not 'loud'"),
        ("--log-format", "xml", "one of text, json is wanted, not 'xml'"),
    ],
)
def test_a_bad_value_is_refused_in_one_line_that_names_its_flag_or_variable(
    capsys: pytest.CaptureFixture[str], flag: str, text: str, wanted: str
) -> None:
    assert refusal(capsys, [f"{flag}={text}"], {}) == f"scoop-server: {flag}: {wanted} (see scoop-server --help)"
    variable = f"SCOOP_{flag[2:].replace('-', '_').upper()}"
    assert refusal(capsys, [], {variable: text}) == f"scoop-server: {variable}: {wanted} (see scoop-server --help)"


def test_a_bad_switch_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(capsys, [], {"SCOOP_REJECT_CYCLES": "maybe"})
    assert line == "scoop-server: SCOOP_REJECT_CYCLES: yes or no is wanted, not 'maybe' (see scoop-server --help)"


@pytest.mark.parametrize("arguments", [["--prot", "1"], ["--por", "1"], ["--port"], ["8080"], ["--memory=yes"]])
def test_unknown_and_incomplete_flags_are_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert refusal(capsys, arguments, {}).startswith("scoop-server: ")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read_settings(["--version"], {})
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"scoop-server {__version__}\n"


def test_help_tells_every_flag_and_its_default_and_of_the_variables() -> None:
    text = " ".join(build_parser().format_help().split())
    for option in OPTIONS:
        assert re.search(rf"{option.flag}( {option.metavar})? {re.escape(option.help)}", text), option.flag
    assert "TCP port to listen on; 0 takes a free one (default: 8080)" in text
    assert "SCOOP_PORT" in text
    assert "--version" in text
