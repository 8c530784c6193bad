"""The configuration file: TOML, one ``key = value`` per setting, and no tables."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from scoop_server.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class ConfigurationFile:
    """The contents of a configuration file."""

    path: str
    text: str
    values: Mapping[str, object]

    def place_of(self, key: str, number: int = 1) -> str:
        """Return the file and, where a search for the key finds it, its line: ``scoop.toml line 3``.

        Of several tables with this key it is the one with the ``number``, counted from 1.
        """
        name = rf"""[ \t]*["']?{re.escape(key)}["']?[ \t]*"""
        starts = [
            found.start() for found in re.finditer(rf"^(?:{name}[=.]|[ \t]*\[+{name}\])", self.text, re.MULTILINE)
        ]
        lines = [self.text.count("\n", 0, start) + 1 for start in starts[number - 1 : number]]
        return f"{self.path} line {lines[0]}" if lines else self.path


def read_configuration_file(path: str, flag: str = "--config") -> ConfigurationFile:
    """Read and parse the file ``path``, which ``flag`` names. Raises ConfigurationError where that is not possible."""
    try:
        with open(path, "rb") as file:
            text = file.read().decode("utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}; check its name and permissions, or name another file with {flag}"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"cannot read {path}: byte {error.start} is not UTF-8; save it as UTF-8") from error
    try:
        return ConfigurationFile(path, text, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:  # names the line
        raise ConfigurationError(f"cannot read {path}: {error}; write one key = value per line") from error
    except ValueError as error:  # more digits than Python converts
        raise ConfigurationError(f"cannot read {path}: a number has too many digits; correct it") from error
    except RecursionError as error:
        raise ConfigurationError(f"cannot read {path}: values are nested too deeply; correct it") from error


def format_value(value: object) -> str:
    r"""Write a value as TOML: one that is neither a number, a switch nor an array as the text that ``str`` returns.

    >>> from pathlib import Path
    >>> print(format_value(True), format_value(2.5), format_value(("a\n", Path("b"))))
    true 2.5 ["a\n", "b"]
    """
    # JSON spells these values as TOML does, except that TOML does not allow a literal DEL.
    return json.dumps(value, ensure_ascii=False, default=str).replace("\x7f", "\\u007f")
