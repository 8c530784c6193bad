"""Typed access to parsed JSON and TOML, whose shape is not known."""

from collections.abc import Mapping

Table = Mapping[str, object]


def table(value: object) -> Table:
    """Return ``value`` if it is a table, else an empty one.

    >>> table({"a": 1}), table(None)
    ({'a': 1}, {})
    """
    return value if isinstance(value, dict) else {}


def tables(value: object) -> list[Table]:
    """Return the tables of an array."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def text(value: object) -> str:
    """Return ``value`` if it is a text, else an empty one."""
    return value if isinstance(value, str) else ""


def texts(value: object) -> list[str]:
    """Return the texts of an array."""
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
