from pathlib import Path

import pytest

from scoop_server import __version__
from scoop_server.config.addresses import Address, InternetAddress, UnixAddress
from scoop_server.config.fsync import Fsync
from scoop_server.config.limits import Limits
from scoop_server.config.options import OPTIONS, Option, Settings, build_parser
from scoop_server.config.sources import read_settings
from scoop_server.telemetry.logs import LOG_LEVELS

from tests.support.refusals import refusal


def test_without_flags_and_variables_the_defaults_hold() -> None:
    assert read_settings([], {}) == Settings()
    assert Settings() == Settings(
        host="127.0.0.1",
        port=8080,
        data_dir=Path("scoop-data"),
        memory=False,
        limits=Limits(),
        reject_cycles=False,
        log_level="info",
        log_format="text",
        access_log=False,
        fsync=Fsync.ALWAYS,
    )


FLAGS = {
    "--listen": "tls:[::1]:8443",
    "--host": "::1",
    "--port": "0",
    "--tls-cert": "server.pem",
    "--tls-key": "server.key",
    "--tls-client-ca": "clients.pem",
    "--tls-handshake-timeout": "0.5",
    "--data-dir": "somewhere/else",
    "--fsync": "never",
    "--compaction-threshold": "0",
    "--max-line": "1",
    "--max-clients": "1000000",
    "--max-accepts": "2",
    "--max-read": "3",
    "--output-high-water": "0",
    "--max-output": "1441792",
    "--output-timeout": "0.25",
    "--line-timeout": "1e3",
    "--idle-timeout": "2.5",
    "--admin": "127.0.0.1:9180",
    "--drain-timeout": "4",
    "--log-level": "debug",
    "--log-format": "json",
}
CERTIFICATE = {"SCOOP_TLS_CERT": "server.pem"}
TLS_ADDRESS = {"SCOOP_LISTEN": "tls:[::1]:8443"}
WANTED_BESIDE = {
    "listen": CERTIFICATE,
    "tls_cert": TLS_ADDRESS,
    "tls_key": CERTIFICATE | TLS_ADDRESS,
    "tls_client_ca": CERTIFICATE | TLS_ADDRESS,
}
SWITCHES = ("--memory", "--reject-cycles", "--access-log")
ALL_SETTINGS = Settings(
    listen=(InternetAddress("::1", 8443, is_tls=True),),
    host="::1",
    port=0,
    tls_cert=Path("server.pem"),
    tls_key=Path("server.key"),
    tls_client_ca=Path("clients.pem"),
    data_dir=Path("somewhere/else"),
    memory=True,
    fsync=Fsync.NEVER,
    reject_cycles=True,
    admin=InternetAddress("127.0.0.1", 9180),
    log_level="debug",
    log_format="json",
    access_log=True,
    limits=Limits(
        handshake_seconds_max=0.5,
        journal_bytes_min=0,
        line_bytes_max=1,
        clients_max=1_000_000,
        accepts_per_turn_max=2,
        read_bytes_max=3,
        output_bytes_high_water=0,
        output_bytes_max=1_441_792,
        output_seconds_max=0.25,
        incomplete_line_seconds_max=1_000.0,
        idle_seconds_max=2.5,
        drain_seconds_max=4.0,
    ),
)


def variable_of(flag: str) -> str:
    return f"SCOOP_{flag[2:].replace('-', '_').upper()}"


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: str(option.name))
def test_every_option_has_a_flag_and_a_variable_that_set_one_thing(option: Option) -> None:
    def value(settings: Settings) -> object:
        return getattr(settings.limits, option.limit) if option.limit else getattr(settings, option.name)

    assert value(Settings()) == option.default
    assert value(ALL_SETTINGS) != option.default
    if option.is_switch:
        assert option.flag in SWITCHES
        by_flag, by_variable = read_settings([option.flag], {}), read_settings([], {option.variable: "yes"})
    else:
        text, others = FLAGS[option.flag], WANTED_BESIDE.get(option.name, {})
        by_flag = read_settings([option.flag, text], others)
        by_variable = read_settings([], others | {option.variable: text})
    assert by_flag == by_variable
    assert value(by_flag) == value(ALL_SETTINGS)


def test_every_option_has_a_variable_beside_all_the_others() -> None:
    environment = {variable_of(flag): text for flag, text in FLAGS.items()}
    assert read_settings([], environment | {variable_of(flag): "1" for flag in SWITCHES}) == ALL_SETTINGS


def test_every_field_of_the_settings_has_an_option() -> None:
    fields = set(Settings.__dataclass_fields__) - {"limits"}
    assert {option.name for option in OPTIONS if not option.limit} == fields


@pytest.mark.parametrize("text", ["1", "true", "YES", "On"])
def test_words_that_switch_on(text: str) -> None:
    assert read_settings([], {"SCOOP_MEMORY": text}).memory


@pytest.mark.parametrize("text", ["0", "false", "NO", "Off", ""])
def test_words_that_switch_off(text: str) -> None:
    assert not read_settings([], {"SCOOP_MEMORY": text}).memory


@pytest.mark.parametrize("fsync", Fsync)
def test_fsync_is_read_in_any_case(fsync: Fsync) -> None:
    assert read_settings(["--fsync", fsync.value.upper()], {}).fsync is fsync


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("[::1]:9180", InternetAddress("::1", 9180)),
        ("tcp:localhost:0", InternetAddress("localhost", 0)),
        ("unix:/run/admin.sock", UnixAddress("/run/admin.sock")),
    ],
)
def test_the_address_of_the_admin_endpoint_needs_no_scheme(text: str, address: Address) -> None:
    assert read_settings(["--admin", text], {}).admin == address


def test_every_flag_is_tried() -> None:
    assert {*FLAGS, *SWITCHES} == {option.flag for option in OPTIONS}


@pytest.mark.parametrize("text", ["::1", "[::1]"])
def test_an_address_of_ipv6_may_stand_in_brackets(text: str) -> None:
    assert read_settings(["--host", text], {}).addresses == (InternetAddress("::1", 8080),)


@pytest.mark.parametrize("level", LOG_LEVELS)
def test_log_levels_are_read_in_any_case(level: str) -> None:
    assert read_settings(["--log-level", level.upper()], {}).log_level == level


@pytest.mark.parametrize(
    ("flag", "text", "wanted"),
    [
        ("--host", "", "it is empty"),
        ("--host", "[]", "it is empty"),
        ("--data-dir", "", "it is empty"),
        ("--listen", "8080", "tcp:HOST:PORT, tls:HOST:PORT or unix:PATH is wanted, not '8080'"),
        *(
            ("--port", text, f"a whole number from 0 to 65535 is wanted, not {text!a}")
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
        *(
            (flag, text, f"a number of seconds above 0 is wanted, not {text!r}")
            for flag in ("--line-timeout", "--output-timeout", "--drain-timeout", "--tls-handshake-timeout")
            for text in ("0", "-1", "nan")
        ),
        ("--fsync", "sometimes", "one of always, everysec, never is wanted, not 'sometimes'"),
        ("--admin", "tls:h:1", "HOST:PORT or unix:PATH is wanted, not 'tls:h:1': it speaks plain HTTP"),
        ("--admin", "9180", "HOST:PORT is wanted, with an IPv6 address in brackets, not '9180'"),
        ("--log-level", "loud", "one of debug, info, warning, error is wanted, not 'loud'"),
        ("--log-format", "xml", "one of text, json is wanted, not 'xml'"),
    ],
)
def test_a_bad_value_is_refused_in_one_line_that_names_its_flag_or_variable(
    capsys: pytest.CaptureFixture[str], flag: str, text: str, wanted: str
) -> None:
    assert refusal(capsys, [f"{flag}={text}"], {}) == f"scoop-server: {flag}: {wanted} (see scoop-server --help)"
    variable = variable_of(flag)
    assert refusal(capsys, [], {variable: text}) == f"scoop-server: {variable}: {wanted} (see scoop-server --help)"


def test_a_bad_switch_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(capsys, [], {"SCOOP_REJECT_CYCLES": "maybe"})
    assert line == "scoop-server: SCOOP_REJECT_CYCLES: yes or no is wanted, not 'maybe' (see scoop-server --help)"


@pytest.mark.parametrize("text", ["new\nline", "\x1b[2J", "\u00e9", "\udcff"])
def test_whatever_is_given_it_is_refused_in_one_line_of_printable_ascii(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    for arguments in (["--port", text], [f"--{text}"], ["--config", f"{text}.toml"]):
        line = refusal(capsys, arguments, {})
        assert line.isascii()
        assert line.isprintable()
        assert text.encode("unicode_escape").decode() in line


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
        shown = f"{option.flag}, --no-{option.flag[2:]}" if option.is_switch else f"{option.flag} {option.metavar}"
        assert f"{shown} {option.help} (default: {option.default_text})" in text
    assert "TCP port to listen on; 0 takes a free one (default: 8080)" in text
    assert "SCOOP_PORT" in text
    assert "--version" in text
