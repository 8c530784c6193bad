from pathlib import Path

import pytest

from scoop_server.config.toml_file import Entry, read_configuration

TEXT = """\
# port = 1

port = 2
listen = [
  "a",  # host = "no"
  "b ] \\" ",
] # host = 3
text = \'\'\'
host = 4
\'\'\'
 "quoted" = "# no comment" # a comment
other = """


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_each_key_comes_with_the_line_that_it_begins_in(tmp_path: Path, end: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes((TEXT + '"last"').replace("\n", end).encode())
    assert read_configuration(str(path)) == [
        Entry("port", 2, 3),
        Entry("listen", ["a", 'b ] " '], 4),
        Entry("text", "host = 4\n", 8),
        Entry("quoted", "# no comment", 11),
        Entry("other", "last", 12),
    ]


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.touch()
    assert read_configuration(str(path)) == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"port = ", "Invalid value \\(at end of document\\); write key = value, a line each"),
        (b"a = 1\nb", "Expected '=' after a key in a key/value pair \\(at end of document\\); write"),
        (b"a = {b = 1, b = 2}", "Duplicate inline table key 'b' \\(at"),
        (b"a = 1\na = 2 3\n", "Cannot overwrite a value \\(at line 2, "),
        (b"a = [\n1,\n", "Unclosed array|Invalid value"),
        (b"a = " + 100_000 * b"[", ""),
        (b"a.b = 1\na.b = 2\nc = " + 100_000 * b"[", "Cannot overwrite a value"),
        (b"a.b = 1\na.b = 2\nc = " + 5_000 * b"9", "Cannot overwrite a value"),
        (b"a = 1\n[b]\na = 1\na = 2\n", "Cannot overwrite a value \\(at line 4, "),
        (b"[[a]]\nx = 1\n[[a]]\nx = 1\nx = 2\n", "Cannot overwrite a value \\(at line 5, "),
        (b"a = '\xff'", "byte 5 is not UTF-8; save it as UTF-8"),
    ],
)
def test_what_is_no_toml_is_one_line_with_the_place(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"^cannot read {path}: {reason}") as error:
        read_configuration(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = 1\n\na = 2\n", "line 3: a is set in line 1 as well"),
        ("a.b = 1\na.c = 2\nd = 1\nd = 2\n", "line 4: d is set in line 3 as well"),
        ("b = [\n1,\n]\n'a' = 1\n# a = 2\n\"a\" = [\n]\na = 3", "line 6: a is set in line 4 as well"),
    ],
)
def test_a_key_that_is_there_twice_is_told_with_both_lines(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"^{path} {reason}$"):
        read_configuration(str(path))


@pytest.mark.parametrize("before", ["", "# 1\n\n"])
def test_a_number_of_too_many_digits_is_told_with_its_line(tmp_path: Path, before: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(f"{before}a = 1\nb = [\n{'9' * 5_000}\n]\n")
    line = 2 + before.count("\n")
    with pytest.raises(ValueError, match=f"^{path} line {line}: a number of fewer digits is wanted$"):
        read_configuration(str(path))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r": No such file or directory; see to it, or name another with --config$"):
        read_configuration(str(tmp_path / "missing"))
