"""The configuration file as TOML: the line of a key, and the errors of a file that cannot be read."""

from pathlib import Path

import pytest

from scoop_server.config.toml_file import ConfigurationFile, read_configuration_file
from scoop_server.errors import ConfigurationError

TEXT = """\
# port = 1
port = 2
listen = [
  "a",
] # port = 3
 "max-line" = "# no comment" # a comment
'host' = "b"
[table]
x = 1
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "scoop.toml"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_values_have_the_line_of_their_key(path: Path, newline: str) -> None:
    path.write_bytes(TEXT.replace("\n", newline).encode())
    file = read_configuration_file(str(path))
    assert file.values == {"port": 2, "listen": ["a"], "max-line": "# no comment", "host": "b", "table": {"x": 1}}
    lines = [file.place_of(key) for key in file.values]
    assert lines == [f"{path} line {number}" for number in (2, 3, 6, 7, 8)]


def test_a_key_that_a_search_does_not_find_has_no_line() -> None:
    assert ConfigurationFile("scoop.toml", '"p\\u006frt" = 1', {"port": 1}).place_of("port") == "scoop.toml"


def test_a_dotted_key_is_found_by_its_first_part() -> None:
    assert ConfigurationFile("scoop.toml", "\nlimits.max_line = 1", {}).place_of("limits") == "scoop.toml line 2"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"port = ", r"Invalid value \(at end of document\); write one key = value per line"),
        (b"a = 1\nb", r"Expected '=' after a key in a key/value pair \(at end of document\); write "),
        (b"a = 1\n\na = 2\n", r"Cannot overwrite a value \(at line 3, column 6\); write "),
        (b"a = [\n1,\n", "Unclosed array|Invalid value"),
        (b"a = 1\nb = " + 5_000 * b"9", "a number has too many digits; correct it"),
        (b"a = " + 100_000 * b"[", "values are nested too deeply; correct it|.*; write"),
        (b"a = '\xff'", "byte 5 is not UTF-8; save it as UTF-8"),
    ],
)
def test_an_invalid_file_is_rejected_in_one_line(path: Path, data: bytes, reason: str) -> None:
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match=rf"^cannot read {path}: (?:{reason})[^\n]*$"):
        read_configuration_file(str(path))


@pytest.mark.parametrize(("name", "reason"), [("missing", "No such file or directory"), ("", "Is a directory")])
def test_a_file_that_cannot_be_opened_is_rejected(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=f": {reason}; check its name and permissions, or name another file"):
        read_configuration_file(str(tmp_path / name))
