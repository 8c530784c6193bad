from pathlib import Path

import pytest

from scoop_server import __version__
from scoop_server.addresses import Address, InternetAddress, UnixAddress, parse_address
from scoop_server.journal import Fsync
from scoop_server.limits import Limits
from scoop_server.logs import LOG_LEVELS
from scoop_server.settings import OPTIONS, Option, Settings, build_parser, read_settings


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
    "--max-line": "1",
    "--max-clients": "1000000",
    "--idle-timeout": "2.5",
    "--admin": "127.0.0.1:9180",
    "--log-level": "debug",
    "--log-format": "json",
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
    limits=Limits(handshake_seconds_max=0.5, line_bytes_max=1, clients_max=1_000_000, idle_seconds_max=2.5),
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
        text = FLAGS[option.flag]
        by_flag, by_variable = read_settings([option.flag, text], {}), read_settings([], {option.variable: text})
    assert by_flag == by_variable
    assert value(by_flag) == value(ALL_SETTINGS)


def test_every_option_has_a_variable_beside_all_the_others() -> None:
    environment = {variable_of(flag): text for flag, text in FLAGS.items()}
    assert read_settings([], environment | {variable_of(flag): "1" for flag in SWITCHES}) == ALL_SETTINGS


def test_every_field_of_the_settings_has_an_option() -> None:
    fields = set(Settings.__dataclass_fields__) - {"limits"}
    assert {option.name for option in OPTIONS if not option.limit} == fields


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


def test_a_switch_can_be_undone_by_a_higher_source() -> None:
    environment = {"SCOOP_MEMORY": "yes", "SCOOP_REJECT_CYCLES": "yes"}
    settings = read_settings(["--no-memory", "--no-reject-cycles"], environment)
    assert (settings.memory, settings.reject_cycles) == (False, False)


A, B = parse_address("tcp:127.0.0.1:1"), parse_address("unix:b")


def test_listen_may_be_given_several_times() -> None:
    assert read_settings(["--listen", str(A), "--listen", str(B)], {}).listen == (A, B)


@pytest.mark.parametrize("text", [f"{A},{B}", f"{A} {B}", f" {A} ,\n {B}, "])
def test_the_addresses_of_a_variable_are_separated_by_commas_or_spaces(text: str) -> None:
    assert read_settings([], {"SCOOP_LISTEN": text}).listen == (A, B)


def test_listen_takes_the_place_of_host_and_port() -> None:
    environment = {"SCOOP_HOST": "::1", "SCOOP_PORT": "2"}
    assert read_settings([], environment).addresses == (InternetAddress("::1", 2),)
    assert read_settings(["--listen", str(A)], environment).addresses == (A,)
    assert read_settings([], environment | {"SCOOP_LISTEN": ""}).addresses == (InternetAddress("::1", 2),)


@pytest.mark.parametrize(
    ("arguments", "environment", "line"),
    [
        (["--listen", "unix:s", "--port", "1"], {}, "--port has no effect beside --listen; give one of them"),
        (["--host", "h"], {"SCOOP_LISTEN": "unix:s"}, "--host has no effect beside SCOOP_LISTEN; give one of them"),
        (["--memory", "--data-dir", "d"], {}, "--data-dir has no effect beside --memory; give one of them"),
        (["--fsync", "never"], {"SCOOP_MEMORY": "1"}, "--fsync has no effect beside SCOOP_MEMORY; give one of them"),
    ],
)
def test_a_flag_without_effect_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], environment: dict[str, str], line: str
) -> None:
    assert refusal(capsys, arguments, environment) == f"scoop-server: {line} (see scoop-server --help)"


def test_a_variable_without_effect_is_passed_over() -> None:
    assert read_settings(["--memory"], {"SCOOP_DATA_DIR": "d", "SCOOP_FSYNC": "never"}).memory


@pytest.mark.parametrize("level", LOG_LEVELS)
def test_log_levels_are_read_in_any_case(level: str) -> None:
    assert read_settings(["--log-level", level.upper()], {}).log_level == level


@pytest.mark.parametrize(
    ("flag", "text", "wanted"),
    [
        ("--host", "", "it is empty"),
        ("--data-dir", "", "it is empty"),
        ("--listen", "8080", "tcp:HOST:PORT, tls:HOST:PORT or unix:PATH is wanted, not '8080'"),
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
