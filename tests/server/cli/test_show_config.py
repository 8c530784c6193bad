"""The output of --show-config."""

import tomllib
from pathlib import Path

import pytest

from scoop_server import __version__
from scoop_server.cli import serve
from scoop_server.config.settings import Settings

from tests.support.settings import TABLE, read_settings


def format_configuration(resolved: Settings) -> str:
    return serve.format_configuration(resolved, TABLE)


def test_each_setting_is_shown_with_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scoop.toml").write_text("\nmax-line = 5\nmax_clients = 6\nreject_cycles = true\nidle_timeout = '1500ms'\n")
    resolved = read_settings(
        ["--show-config", "--no-reject-cycles", "--listen", "unix:a", "--listen", "tcp:[::1]:1"],
        {"SCOOP_CONFIG": "scoop.toml", "SCOOP_MAX_CLIENTS": "7", "SCOOP_DATA_DIR": "d"},
    )
    lines = format_configuration(resolved).splitlines()
    assert lines[0] == f"# scoop-server {__version__}"
    assert [line.removeprefix("# ").split()[0] for line in lines[1:]] == [option.name for option in TABLE]
    assert set(lines) >= {
        'listen = ["unix:a", "tcp:[::1]:1"]  # flag --listen',
        "port = 8080  # default",
        "# tls_key is not set  # default",
        'data_dir = "d"  # variable SCOOP_DATA_DIR',
        "memory = false  # default",
        "reject_cycles = false  # flag --reject-cycles",
        "max_line = 5  # scoop.toml line 2",
        "max_clients = 7  # variable SCOOP_MAX_CLIENTS",
        "idle_timeout = 1.5  # scoop.toml line 5",
        'fsync = "always"  # default',
    }


@pytest.mark.parametrize("path", ["plain", 'quo"te', "back\\slash", "new\nline", "\x7f\x01", "\u00fc\U0001f4e6", "# x"])
def test_it_is_a_configuration_file_with_the_same_settings(tmp_path: Path, path: str) -> None:
    resolved = read_settings(["--show-config", "--data-dir", path, "--idle-timeout", "1e3", "--listen", f"unix:{path}"])
    file = tmp_path / path
    file.write_text(format_configuration(resolved))
    assert read_settings(["--config", str(file)]) == resolved
    assert (
        tomllib.loads(format_configuration(read_settings(["--show-config", "--config", str(file)])))["data_dir"] == path
    )
