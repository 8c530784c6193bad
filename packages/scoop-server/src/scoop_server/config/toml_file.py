"""A configuration file: TOML, one ``key = value`` a setting, and no tables."""

import contextlib
import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting in a file: its key, its value as TOML has it, and the line that it begins in, counted from 1."""

    key: str
    value: Any
    line: int


def read_configuration(path: str) -> list[Entry]:
    """Return what the file ``path`` says, in its order.

    Raises ValueError where it cannot be read or is no TOML, with one line that names it, the place and the way out.
    """
    try:
        with open(path, "rb") as file:
            text = file.read().decode("utf-8")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}; see to it, or name another with --config") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot read {path}: byte {error.start} is not UTF-8; save it as UTF-8") from error
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(_mistake(path, text, error)) from error
    return [
        Entry(key, value, line)
        for line, statement in _statements(text)
        for key, value in tomllib.loads(statement).items()
    ]


def _mistake(path: str, text: str, error: Exception) -> str:
    """Return what is wrong with ``text``, in one line; some of what tomllib says has a better name, and a place."""
    if isinstance(error, ValueError) and not isinstance(error, tomllib.TOMLDecodeError):
        return f"{path} line {_line_of_long_number(text)}: a number of fewer digits is wanted"
    if str(error).startswith("Cannot overwrite"):
        first_lines: dict[str, int] = {}
        with contextlib.suppress(ValueError, RecursionError):  # what stands further down may be no TOML at all
            for line, statement in _statements(text):
                if statement.lstrip().startswith("["):
                    break  # what follows are the keys of a table, and no settings
                for key, value in tomllib.loads(statement).items():
                    if key in first_lines:
                        return f"{path} line {line}: {key} is set in line {first_lines[key]} as well"
                    if not isinstance(value, dict):  # a.b = 1 and a.c = 2 have a in common and are no repetition
                        first_lines[key] = line
    return f"cannot read {path}: {error}; write key = value, a line each"


def _line_of_long_number(text: str) -> int:
    """Return where the statement begins that has more digits than Python reads."""
    line = 1
    with contextlib.suppress(ValueError, RecursionError):
        for first, statement in _statements(text):
            line = first + statement.count("\n")
    return line


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield the statements of valid TOML, each with the line that it begins in.

    A statement ends where a line does and what has come of it is valid: what may go on in the next line, an array or a
    text in three quotes, is not valid before it is closed.
    """
    statement, first = "", 1
    for number, line in enumerate(text.split("\n"), 1):
        statement += line + "\n"
        try:
            tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        yield first, statement
        statement, first = "", number + 1


def format_value(value: bool | float | str | list[str]) -> str:
    r"""Write a value as TOML.

    >>> print(format_value(True), format_value(2.5), format_value(["a\n"]))
    true 2.5 ["a\n"]
    """
    # TOML writes such values as JSON does, but for one more character that is not allowed as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
