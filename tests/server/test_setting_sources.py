import os
import tomllib
from pathlib import Path

import pytest

from scoop_server import __version__
from scoop_server.config.addresses import InternetAddress, parse_address
from scoop_server.config.limits import Limits
from scoop_server.config.options import OPTIONS, Settings
from scoop_server.config.sources import read_settings

from tests.support.process import run_to_end
from tests.support.refusals import refusal


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a configuration file that is empty, in the working directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "scoop.toml"
    path.touch()
    return path


# Which source wins


def test_a_flag_wins_over_its_variable() -> None:
    settings = read_settings(["--port", "1", "--memory"], {"SCOOP_PORT": "2", "SCOOP_MEMORY": "no", "SCOOP_HOST": "h"})
    assert (settings.port, settings.memory, settings.host) == (1, True, "h")


def test_a_flag_wins_over_a_variable_that_could_not_be_read() -> None:
    assert read_settings(["--port", "1"], {"SCOOP_PORT": "many"}).port == 1


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
        (
            ["--listen", "unix:s", "--port", "1"],
            {},
            "flag --port has no effect beside listen (flag --listen); give one of them",
        ),
        (
            ["--host", "h"],
            {"SCOOP_LISTEN": "unix:s"},
            "flag --host has no effect beside listen (variable SCOOP_LISTEN); give one of them",
        ),
        (
            ["--memory", "--data-dir", "d"],
            {},
            "flag --data-dir has no effect beside memory (flag --memory); give one of them",
        ),
        (
            ["--fsync", "never"],
            {"SCOOP_MEMORY": "1"},
            "flag --fsync has no effect beside memory (variable SCOOP_MEMORY); give one of them",
        ),
    ],
)
def test_a_flag_without_effect_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], environment: dict[str, str], line: str
) -> None:
    assert refusal(capsys, arguments, environment) == f"scoop-server: {line} (see scoop-server --help)"


def test_a_variable_without_effect_is_passed_over() -> None:
    assert read_settings(["--memory"], {"SCOOP_DATA_DIR": "d", "SCOOP_FSYNC": "never"}).memory


def test_a_variable_wins_over_the_file_and_the_file_over_the_default(file: Path) -> None:
    file.write_text('port = 1\nhost = "a"\ndata-dir = "d"\nidle_timeout = 3\nreject_cycles = true\n')
    environment = {"SCOOP_CONFIG": "scoop.toml", "SCOOP_HOST": "b", "SCOOP_PORT": "2"}
    assert read_settings(["--port", "3", "--no-reject-cycles"], environment) == Settings(
        port=3, host="b", data_dir=Path("d"), limits=Limits(idle_seconds_max=3.0)
    )


def test_the_file_of_the_flag_wins_over_that_of_the_variable(file: Path) -> None:
    file.write_text("port = 1")
    assert read_settings(["--config", "scoop.toml"], {"SCOOP_CONFIG": "missing.toml"}).port == 1
    assert read_settings([], {"SCOOP_CONFIG": ""}) == Settings()


# The file


def test_a_key_is_written_as_the_flag_or_as_the_field(file: Path) -> None:
    file.write_text('"max-line" = 5\nmax-read = 6\nmax_clients = 7\n')
    assert read_settings(["--config", "scoop.toml"], {}).limits == Limits(
        line_bytes_max=5, read_bytes_max=6, clients_max=7
    )


def test_addresses_are_an_array(file: Path) -> None:
    file.write_text(f'listen = [\n  "{A}",\n  "{B}",\n]\n')
    assert read_settings(["--config", "scoop.toml"], {}).listen == (A, B)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("prot = 1", "scoop.toml line 1: there is no setting 'prot'; did you mean port?"),
        ("PORT = 1", "scoop.toml line 1: there is no setting 'PORT'; did you mean port?"),
        ("MAX-CLIENTS = 1", "scoop.toml line 1: there is no setting 'MAX-CLIENTS'; did you mean max_clients?"),
        ("\n\nmax-lines = 1", "scoop.toml line 3: there is no setting 'max-lines'; did you mean max_line?"),
        ("# port\nport = 1\n[limits]\nmax_line = 1", "scoop.toml line 3: there is no setting 'limits'; leave it out"),
        ("limits.max_line = 1", "scoop.toml line 1: there is no setting 'limits'; leave it out"),
        ("config = 'a'", "scoop.toml line 1: there is no setting 'config'; leave it out"),
        ("'a\x0b' = 1", "cannot read scoop.toml: "),
        ('"\\n" = 1', "scoop.toml line 1: there is no setting '\\n'; leave it out"),
        ("max_line = 1\nmax-line = 2", "scoop.toml line 2: max-line is set in line 1 as well"),
        ("port = '1'", "scoop.toml line 1: port: a number without quotes is wanted"),
        ("port = true", "scoop.toml line 1: port: a number without quotes is wanted"),
        ("port = 65_536", "scoop.toml line 1: port: a whole number from 0 to 65535 is wanted, not '65536'"),
        ("port = 80.5", "scoop.toml line 1: port: a whole number from 0 to 65535 is wanted, not '80.5'"),
        ("idle-timeout = -1", "scoop.toml line 1: idle-timeout: a number of seconds is wanted, not '-1'"),
        ("idle-timeout = nan", "scoop.toml line 1: idle-timeout: a number of seconds is wanted, not 'nan'"),
        ("idle-timeout = 2026-01-01", "scoop.toml line 1: idle-timeout: a number without quotes is wanted"),
        ("memory = 'yes'", "scoop.toml line 1: memory: true or false is wanted"),
        ("memory = 1", "scoop.toml line 1: memory: true or false is wanted"),
        ("host = 1", "scoop.toml line 1: host: a text in quotes is wanted"),
        ("tls_cert = []", "scoop.toml line 1: tls_cert: a text in quotes is wanted"),
        ("data_dir = ''", "scoop.toml line 1: data_dir: it is empty"),
        *(
            (
                f'{key} = "a\\u0000b"',
                f"scoop.toml line 1: {key}: a text without NUL characters is wanted, not 'a\\x00b'",
            )
            for key in ("host", "data_dir", "tls_cert", "tls_key", "tls_client_ca")
        ),
        ('admin = "a\\u0000b:1"', "scoop.toml line 1: admin: HOST:PORT is wanted, "),
        ('listen = ["tcp:a\\u0000b:1"]', "scoop.toml line 1: listen: HOST:PORT is wanted, "),
        ("listen = 'unix:s'", "scoop.toml line 1: listen: an array of texts in quotes is wanted"),
        ("listen = ['unix:s', 1]", "scoop.toml line 1: listen: an array of texts in quotes is wanted"),
        ("listen = [\n'unix:s',\n'8080']", "scoop.toml line 1: listen: tcp:HOST:PORT, tls:HOST:PORT or unix:PATH is "),
        ("fsync = 'sometimes'", "scoop.toml line 1: fsync: one of always, everysec, never is wanted, not 'sometimes'"),
        ("port = 1\nport = 2", "scoop.toml line 2: port is set in line 1 as well"),
        (f"port = {'9' * 5_000}", "scoop.toml line 1: a number of fewer digits is wanted"),
        (f"\nport = 0x{'f' * 5_000}", "scoop.toml line 2: port: a number of fewer digits is wanted"),
        ("port 1", "cannot read scoop.toml: "),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_line(
    file: Path, capsys: pytest.CaptureFixture[str], text: str, line: str
) -> None:
    file.write_text(text)
    told = refusal(capsys, ["--config", "scoop.toml"], {})
    assert told.startswith(f"scoop-server: {line}")
    assert told.endswith(" (see scoop-server --help)")


def test_a_setting_that_a_flag_replaces_must_be_right_in_the_file_all_the_same(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("port = 'http'")
    assert "scoop.toml line 1: port: " in refusal(capsys, ["--config", "scoop.toml", "--port", "1"], {})


@pytest.mark.parametrize("arguments", [["--config", "missing.toml"], ["--config", ""], ["--config", "."]])
def test_a_file_that_cannot_be_read(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert refusal(capsys, arguments, {}).startswith(f"scoop-server: cannot read {arguments[1]}: ")


# Settings that do not go together


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--max-output", "1441791"],
            (
                "max_output (flag --max-output) is 1441791, and must be at least 1441792: output_high_water (default) "
                "and the answers to one read, 6 times max_read (default)"
            ),
        ),
        (
            ["--output-high-water", "16777216", "--max-read", "1"],
            (
                "max_output (default) is 16777216, and must be at least 16777222: output_high_water (flag "
                "--output-high-water) and the answers to one read, 6 times max_read (flag --max-read)"
            ),
        ),
    ],
)
def test_the_hard_limit_of_the_output_leaves_room_above_the_high_water_mark(
    capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    assert refusal(capsys, arguments, {}) == f"scoop-server: {line} (see scoop-server --help)"


CERTIFICATE = ["--tls-cert", "c"]
TLS_KEY_ALONE = "is set, and no certificate; name one with --tls-cert as well"
WITHOUT_TLS = "is set, and no address has TLS; name one with --listen tls:HOST:PORT"


@pytest.mark.parametrize(
    ("arguments", "environment", "line"),
    [
        (["--tls-key", "k"], {}, f"tls_key (flag --tls-key) {TLS_KEY_ALONE}"),
        ([], {"SCOOP_TLS_CLIENT_CA": "a"}, f"tls_client_ca (variable SCOOP_TLS_CLIENT_CA) {TLS_KEY_ALONE}"),
        (
            ["--listen", "unix:s", "--listen", "tls:h:1"],
            {},
            "listen (flag --listen) has tls:h:1, and TLS needs a certificate; name one with --tls-cert, or use tcp:",
        ),
        (CERTIFICATE, {}, f"tls_cert (flag --tls-cert) {WITHOUT_TLS}"),
        ([], {"SCOOP_TLS_CERT": "c", "SCOOP_LISTEN": "unix:s"}, f"tls_cert (variable SCOOP_TLS_CERT) {WITHOUT_TLS}"),
        (CERTIFICATE, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, f"tls_cert (flag --tls-cert) {WITHOUT_TLS}"),
    ],
)
def test_settings_of_tls_that_do_not_go_together(
    capsys: pytest.CaptureFixture[str], arguments: list[str], environment: dict[str, str], line: str
) -> None:
    assert refusal(capsys, arguments, environment) == f"scoop-server: {line} (see scoop-server --help)"


def test_sockets_that_are_handed_over_may_have_tls() -> None:
    environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
    assert read_settings(CERTIFICATE, environment).tls_cert == Path("c")


@pytest.mark.parametrize(
    ("arguments", "environment", "line"),
    [
        (
            ["--listen", "tcp:h:1", "--listen", "unix:s", "--listen", "tcp:h:1"],
            {},
            "tcp:h:1 is given by flag --listen, and again by flag --listen",
        ),
        (
            [*CERTIFICATE, "--listen", "tcp:h:1", "--listen", "tls:h:1"],
            {},
            "tls:h:1 is given by flag --listen, and again by flag --listen",
        ),
        (
            ["--admin", "unix:s"],
            {"SCOOP_LISTEN": "unix:s"},
            "unix:s is given by variable SCOOP_LISTEN, and again by flag --admin",
        ),
        (
            ["--port", "1"],
            {"SCOOP_ADMIN": "127.0.0.1:1"},
            "tcp:127.0.0.1:1 is given by flag --port, and again by variable SCOOP_ADMIN",
        ),
    ],
)
def test_an_address_that_is_given_twice(
    capsys: pytest.CaptureFixture[str], arguments: list[str], environment: dict[str, str], line: str
) -> None:
    wanted = f"scoop-server: {line}; leave one out, or change it (see scoop-server --help)"
    assert refusal(capsys, arguments, environment) == wanted


def test_a_free_port_is_another_one_each_time() -> None:
    arguments = ["--listen", "tcp:h:0", "--listen", "tcp:h:0", "--admin", "h:0"]
    assert len(read_settings(arguments, {}).listen) == 2


# --show-config


def shown(capsys: pytest.CaptureFixture[str], arguments: list[str], environment: dict[str, str]) -> str:
    """Return what --show-config prints."""
    with pytest.raises(SystemExit) as ended:
        read_settings([*arguments, "--show-config"], environment)
    printed = capsys.readouterr()
    assert (ended.value.code, printed.err) == (0, "")
    return printed.out


def test_what_holds_is_shown_with_its_source(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("# by hand\n\nmax-line = 5\nmax_clients = 6\nreject_cycles = true\nidle_timeout = 1.5\n")
    text = shown(
        capsys,
        ["--no-reject-cycles", "--listen", "unix:a", "--listen", "tcp:[::1]:1"],
        {"SCOOP_CONFIG": "scoop.toml", "SCOOP_MAX_CLIENTS": "7", "SCOOP_DATA_DIR": "d", "SCOOP_TLS_CERT": "c"},
    )
    lines = text.splitlines()
    assert lines[0] == f"# scoop-server {__version__}"
    assert [line.removeprefix("# ").split()[0] for line in lines[1:]] == [option.name for option in OPTIONS]
    assert set(lines) >= {
        'listen = ["unix:a", "tcp:[::1]:1"]  # flag --listen',
        "port = 8080  # default",
        'tls_cert = "c"  # variable SCOOP_TLS_CERT',  # for which a socket may be handed over to the service
        "# tls_key is not set  # default",
        'data_dir = "d"  # variable SCOOP_DATA_DIR',
        "memory = false  # default",
        "reject_cycles = false  # flag --reject-cycles",
        "max_line = 5  # scoop.toml line 3",
        "max_clients = 7  # variable SCOOP_MAX_CLIENTS",
        "idle_timeout = 1.5  # scoop.toml line 6",
        'fsync = "always"  # default',
    }


@pytest.mark.parametrize("path", ["plain", 'quo"te', "back\\slash", "new\nline", "\x7f\x01", "\u00fc\U0001f4e6", "# x"])
def test_what_is_shown_is_a_configuration_file_that_says_the_same(
    file: Path, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    arguments = ["--data-dir", path, "--idle-timeout", "1e3", "--listen", f"unix:{path}"]
    file.write_text(shown(capsys, arguments, {"SCOOP_MAX_LINE": "5"}))
    assert read_settings(["--config", "scoop.toml"], {}) == read_settings(arguments, {"SCOOP_MAX_LINE": "5"})
    (tmp := file.parent / path.replace("/", "")).write_bytes(file.read_bytes())
    assert tomllib.loads(shown(capsys, ["--config", tmp.name], {}))["max_line"] == 5


def test_the_process_shows_and_ends() -> None:
    ended = run_to_end("--show-config", "--port", "1")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "\nport = 1  # flag --port\n" in ended.stdout


@pytest.mark.parametrize("flags", [["--tls-key", "k"], ["--listen", "tls:h:1"], ["--listen", "unix:s"] * 2])
def test_the_process_refuses_settings_that_contradict_each_other(flags: list[str]) -> None:
    for arguments in (flags, [*flags, "--show-config"]):
        ended = run_to_end("--memory", *arguments)
        assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)


def test_wrong_settings_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--port: " in refusal(capsys, ["--show-config", "--port", "http"], {})
