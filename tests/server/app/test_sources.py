"""Flags, variables and the file set the same options, in this order of precedence."""

from dataclasses import replace
from pathlib import Path

import pytest

from scoop_etcd.options import EtcdSettings, EtcdUrls, Reads
from scoop_server.app.plugin import OptionTable
from scoop_server.app.sources import resolve
from scoop_server.config.addresses import parse_listen_address
from scoop_server.config.limits import Limits
from scoop_server.config.options import Option
from scoop_server.config.settings import LOG_FORMATS, Fsync, Settings
from scoop_server.errors import ConfigurationError
from scoop_server.telemetry import logs

from tests.support.settings import TABLE, problems, read_settings

OPTIONS = [*TABLE]
TEXTS = {
    "listen": "tls:[::1]:8443",
    "host": "::1",
    "port": "0",
    "tls_cert": "server.pem",
    "tls_key": "server.key",
    "tls_client_ca": "clients.pem",
    "tls_crl": "revoked.pem",
    "access": "access.toml",
    "tls_handshake_timeout": "500ms",
    "data_dir": "somewhere/else",
    "memory": "yes",
    "fsync": "never",
    "compaction_threshold": "0",
    "history": "30d",
    "history_size": "1g",
    "reject_cycles": "on",
    "max_line": "1",
    "max_clients": "1000000",
    "max_clients_per_peer": "9",
    "output_timeout": "0.25",
    "line_timeout": "1e3",
    "idle_timeout": "2.5s",
    "drain_timeout": "4",
    "etcd": "https://h:1,https://[::1]:2",
    "etcd_prefix": "/team",
    "reads": "local",
    "commit_timeout": "3s",
    "etcd_ca": "ca.pem",
    "etcd_cert": "node.pem",
    "etcd_key": "node.key",
    "etcd_user": "scoop",
    "etcd_password_file": "password",
    "admin": "127.0.0.1:9180",
    "log_level": "debug",
    "log_format": "json",
    "access_log": "1",
}
"""A text for each option, whose value is not the default."""

ALL_SETTINGS = Settings(
    listen=(parse_listen_address("tls:[::1]:8443"),),
    host="::1",
    port=0,
    tls_cert=Path("server.pem"),
    tls_key=Path("server.key"),
    tls_client_ca=Path("clients.pem"),
    tls_crl=Path("revoked.pem"),
    access=Path("access.toml"),
    data_dir=Path("somewhere/else"),
    memory=True,
    fsync=Fsync.NEVER,
    reject_cycles=True,
    admin=parse_listen_address("tcp:127.0.0.1:9180"),
    log_level="debug",
    log_format="json",
    access_log=True,
    limits=Limits(
        handshake_seconds_max=0.5,
        compaction_bytes_min=0,
        history_seconds=2_592_000.0,
        history_bytes_max=1_073_741_824,
        line_bytes_max=1,
        clients_max=1_000_000,
        clients_per_peer_max=9,
        output_seconds_max=0.25,
        incomplete_line_seconds_max=1_000.0,
        idle_seconds_max=2.5,
        drain_seconds_max=4.0,
    ),
    parts={
        EtcdSettings: EtcdSettings(
            urls=EtcdUrls(("h:1", "[::1]:2"), is_tls=True),
            prefix="/team/",
            reads=Reads.LOCAL,
            commit_seconds_max=3.0,
            ca=Path("ca.pem"),
            cert=Path("node.pem"),
            key=Path("node.key"),
            user="scoop",
            password_file=Path("password"),
        )
    },
)
ETCD = {"SCOOP_ETCD": "https://a:1", "SCOOP_ETCD_CERT": "c", "SCOOP_ETCD_KEY": "k", "SCOOP_ETCD_USER": "u"}
NEEDED_WITH = (
    {name: {"SCOOP_TLS_CERT": "c"} for name in ("listen", "tls_key", "tls_client_ca")}
    | {
        "tls_crl": {"SCOOP_TLS_CERT": "c", "SCOOP_TLS_CLIENT_CA": "a"},
    }
    | {
        option.name: {variable: text for variable, text in ETCD.items() if variable != option.variable}
        for option in OPTIONS
        if option.owner is EtcdSettings
    }
)
A, B = parse_listen_address("tcp:127.0.0.1:1"), parse_listen_address("unix:b")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the path of an empty scoop.toml in the working directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "scoop.toml"
    path.touch()
    return path


def test_the_defaults() -> None:
    assert read_settings() == Settings()
    assert Settings().addresses == (parse_listen_address("tcp:127.0.0.1:8080"),)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: str(option.name))
def test_an_option_is_set_by_its_flag_its_variable_and_its_key(option: Option, file: Path) -> None:
    text, needed = TEXTS[option.name], NEEDED_WITH.get(option.name, {})
    flag = [option.flag] if option.is_switch else [f"{option.flag}={text}"]
    value = "true" if option.is_switch else f'["{text}"]' if option.is_repeatable else f'"{text}"'
    file.write_text(f"{option.name} = {value}" if not is_plain_integer(option) else f"{option.name} = {text}")
    by_flag = read_settings(flag, needed)
    assert by_flag == read_settings([], needed | {option.variable: text})
    assert by_flag == read_settings(["--config", "scoop.toml"], needed)
    assert by_flag.value_of(option) == ALL_SETTINGS.value_of(option) != option.default


def is_plain_integer(option: Option) -> bool:
    return isinstance(option.default, int) and not option.is_switch and not option.has_units


def test_all_options_are_set_by_variables_together() -> None:
    variables = {option.variable: TEXTS[option.name] for option in OPTIONS if option.name != "memory"}
    assert read_settings([], variables) == replace(ALL_SETTINGS, memory=False)


def test_the_formats_of_the_log_are_those_of_the_option() -> None:
    assert tuple(logs.FORMATTERS) == LOG_FORMATS


# Precedence


def test_a_flag_overrides_a_variable_and_a_variable_the_file(file: Path) -> None:
    file.write_text('port = 1\nhost = "a"\ndata-dir = "d"\nidle_timeout = 3\nreject_cycles = true\n')
    environment = {"SCOOP_CONFIG": "scoop.toml", "SCOOP_HOST": "b", "SCOOP_PORT": "2"}
    resolved = read_settings(["--port", "3", "--no-reject-cycles"], environment)
    assert resolved == Settings(port=3, host="b", data_dir=Path("d"), limits=Limits(idle_seconds_max=3.0))
    names = ("port", "host", "data_dir", "fsync")
    assert [resolved.source_of(name) for name in names] == [
        "flag --port",
        "variable SCOOP_HOST",
        "scoop.toml line 3",
        "default",
    ]


def test_a_flag_replaces_a_variable_with_an_invalid_value() -> None:
    assert read_settings(["--port", "1"], {"SCOOP_PORT": "many"}).port == 1


def test_a_flag_does_not_excuse_an_invalid_value_in_the_file(file: Path) -> None:
    file.write_text("port = 'http'")
    assert problems(["--config", "scoop.toml", "--port", "1"])[0].startswith("scoop.toml line 1: port: ")


def test_the_file_of_the_flag_replaces_that_of_the_variable(file: Path) -> None:
    file.write_text("port = 1")
    assert read_settings(["--config", "scoop.toml"], {"SCOOP_CONFIG": "missing.toml"}).port == 1


@pytest.mark.parametrize("text", [f"{A},{B}", f"{A} {B}", f" {A} ,\n {B}, "])
def test_the_addresses_of_a_variable_are_separated_by_commas_or_spaces(text: str) -> None:
    assert read_settings([], {"SCOOP_LISTEN": text}).listen == (A, B)


def test_listen_may_be_given_several_times_and_replaces_host_and_port() -> None:
    settings = read_settings(["--listen", str(A), "--listen", str(B)], {"SCOOP_HOST": "::1", "SCOOP_PORT": "2"})
    assert settings.addresses == settings.listen == (A, B)


# Empty values


def test_an_empty_variable_counts_as_unset(file: Path) -> None:
    file.write_text("memory = true\nport = 1")
    empty = {option.variable: "" for option in OPTIONS}
    assert read_settings(["--config", "scoop.toml"], empty) == Settings(memory=True, port=1)
    assert read_settings([], {"SCOOP_CONFIG": ""}) == Settings()


@pytest.mark.parametrize(
    "option", [option for option in OPTIONS if not option.is_switch], ids=lambda each: str(each.name)
)
def test_an_empty_flag_or_key_is_an_error(option: Option, file: Path) -> None:
    empty = "[]" if option.is_repeatable else '""'
    file.write_text(f"{option.name} = {empty}")
    assert problems([f"{option.flag}="])[0].startswith(f"{option.flag}: expected ")
    assert problems(["--config", "scoop.toml"])[0].startswith(f"scoop.toml line 1: {option.name}: expected ")


# Unknown names


@pytest.mark.parametrize(
    ("variable", "way_out"),
    [
        ("SCOOP_PROT", "did you mean SCOOP_PORT?"),
        ("SCOOP_MAX_LINES", "did you mean SCOOP_MAX_LINE?"),
        ("SCOOP_Port", "did you mean SCOOP_PORT?"),
        ("SCOOP_MAX-LINE", "did you mean SCOOP_MAX_LINE?"),
        ("SCOOP_", "unset it"),
        ("SCOOP_XYZ", "unset it"),
    ],
)
def test_an_unknown_variable_is_an_error(variable: str, way_out: str) -> None:
    assert problems([], {variable: ""}) == [f"unknown variable {variable}; {way_out}"]


@pytest.mark.parametrize("variable", ["SCOOP_SERVER", "SCOOPS", "scoop_port"])
def test_the_variables_of_other_programs_are_ignored(variable: str) -> None:
    assert read_settings([], {variable: "x"}) == Settings()


def test_all_problems_are_reported_together(file: Path) -> None:
    file.write_text("prot = 1\nmax_line = 0")
    assert [line.split(":")[0] for line in problems(["--config=scoop.toml", "--port=x"], {"SCOOP_FSYNC": "x"})] == [
        "scoop.toml line 1",
        "scoop.toml line 2",
        "SCOOP_FSYNC",
        "--port",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("prot = 1", "scoop.toml line 1: unknown setting 'prot'; did you mean port?"),
        ("PORT = 1", "scoop.toml line 1: unknown setting 'PORT'; did you mean port?"),
        ("\n\nmax-lines = 1", "scoop.toml line 3: unknown setting 'max-lines'; did you mean max_line?"),
        ("[limits]\nmax_line = 1", "scoop.toml line 1: unknown setting 'limits'; remove it"),
        ("config = 'a'", "scoop.toml line 1: unknown setting 'config'; remove it"),
        ('"\\n" = 1', "scoop.toml: unknown setting '\\n'; remove it"),
        ("max_line = 1\nmax-line = 2", "scoop.toml line 2: max-line repeats max_line; remove one of them"),
        ("port = '1'", "scoop.toml line 1: port: expected a number, got '1'"),
        ("port = true", "scoop.toml line 1: port: expected a number, got True"),
        ("port = 65_536", "scoop.toml line 1: port: expected an integer from 0 to 65535, got '65536'"),
        ("port = 80.5", "scoop.toml line 1: port: expected an integer from 0 to 65535, got '80.5'"),
        (f"port = 0x{'f' * 5_000}", "scoop.toml line 1: port: expected a number with fewer digits"),
        (
            "max_line = '64 k'",
            "scoop.toml line 1: max_line: expected a size from 1 to 1g, such as 65536 or 64k, got '64 k'",
        ),
        (
            "idle-timeout = nan",
            "scoop.toml line 1: idle-timeout: expected a time, such as 10, 500ms, 10s or 5m, got 'nan'",
        ),
        (
            "idle-timeout = []",
            "scoop.toml line 1: idle-timeout: expected a number, or a string with a number and its unit, got []",
        ),
        ("memory = 'yes'", "scoop.toml line 1: memory: expected true or false, got 'yes'"),
        ("memory = 1", "scoop.toml line 1: memory: expected true or false, got 1"),
        ("host = 1", "scoop.toml line 1: host: expected a string, got 1"),
        ("listen = 'unix:s'", "scoop.toml line 1: listen: expected an array of strings, got 'unix:s'"),
        ("listen = ['unix:s', 1]", "scoop.toml line 1: listen: expected an array of strings, got ['unix:s', 1]"),
        (
            "listen = [\n'unix:s',\n'8080']",
            "scoop.toml line 1: listen: expected tcp:HOST:PORT, tls:HOST:PORT or unix:PATH, got '8080'",
        ),
    ],
)
def test_a_problem_in_the_file_is_reported_with_its_line_and_key(file: Path, text: str, line: str) -> None:
    file.write_text(text)
    assert problems(["--config", "scoop.toml"]) == [line]


def test_a_name_of_a_package_that_is_missing_tells_how_to_install_it(file: Path) -> None:
    file.write_text("etcd-prefix = '/a/'\n")
    table = OptionTable(tuple)
    with pytest.raises(ConfigurationError) as raised:
        resolve({"config": str(file)}, {"SCOOP_ETCD": "http://h:1", "SCOOP_ETCD_PASSWORD": "p"}, table)
    install = "install it with: pip install 'scoop-server[etcd]'"
    assert raised.value.args == (
        f"{file} line 1: unknown setting 'etcd-prefix'; {install}",
        f"unknown variable SCOOP_ETCD; {install}",
        f"unknown variable SCOOP_ETCD_PASSWORD; {install}",
    )
