"""The roles of ``--access FILE``: who may change what.

A peer has the first role that names one of its identities, from its admission on and after each reload; one without a
role is disconnected. The loop asks :meth:`AccessRules.role_of` once per connection. A role that permits everything
costs nothing after that. Any other one has a :attr:`Role.screen`, which the loop calls with the text of requests that
it has received: it marks each request that the role does not permit, so that the graph answers ERROR. So nothing below
the loop knows of roles.

A file with a mistake raises ConfigurationError with one line: file, line, reason and way out.
"""

import grp
import hashlib
import os
import pwd
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from scoop_core import Command

from scoop_server.config.peer import ANONYMOUS
from scoop_server.config.toml_file import read_configuration_file
from scoop_server.errors import ConfigurationError
from scoop_server.screening import Screen, marker, role_prefix

COMMANDS: Final = tuple(Command)

_KEYS: Final = ("name", "identities", "commands", "packages")
_IDENTITY_KINDS: Final = ("CN", "DNS", "URI", "email", "user", "group")
_ANY: Final = "*"
_WAY_OUT: Final = "correct it, and try it with scoop-server access"

_is_role_name: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}").fullmatch


@dataclass(frozen=True)
class Role:
    """One role of the file. A pattern is a text with at most one ``*``, which stands for any characters."""

    name: str
    identities: tuple[str, ...]
    commands: tuple[Command, ...]
    packages: tuple[str, ...] = (_ANY,)
    """Patterns of the packages that INDEX and REMOVE may name; dependencies may be any."""

    @cached_property
    def names(self) -> Callable[[str], object]:
        """Returns whether it names an identity."""
        return re.compile("|".join(_expression(each, ".") for each in self.identities), re.DOTALL).fullmatch

    @cached_property
    def screen(self) -> Screen | None:
        """Marks the requests that it does not permit; None if it permits everything."""
        if len(set(self.commands)) == len(COMMANDS) and _ANY in self.packages:
            return None
        packages = "|".join(_expression(each, r"[^|\n]") for each in self.packages)
        names = "" if _ANY in self.packages else rf"(?:{packages})\|"
        permitted = "|".join(rf"{each}\|{'' if each is Command.QUERY else names}" for each in self.commands)
        forbidden = rf"^(?=(?:{'|'.join(COMMANDS)})\|)(?!{permitted})"
        return marker(forbidden, role_prefix(self.name))


@dataclass(frozen=True, slots=True)
class AccessRules:
    """The roles of a file, in its order."""

    roles: tuple[Role, ...]
    digest: str
    """Tells files apart, for nodes that must have the same."""

    def role_of(self, identities: Iterable[str]) -> Role | None:
        """Return the first role that names one of ``identities``."""
        given = tuple(identities)
        return next((role for role in self.roles if any(map(role.names, given))), None)


def read_access_file(path: Path) -> AccessRules:
    """Read the file ``path``. Raises ConfigurationError."""
    if os.path.exists(path) and not os.path.isfile(path):  # opening a pipe would block all clients
        raise ConfigurationError(f"cannot read {path}: not a regular file; name a TOML file with --access")
    file = read_configuration_file(str(path), "--access")
    tables = file.values.get("role")
    starts = [match.start() for match in re.finditer(r"^[ \t]*\[\[[ \t]*role[ \t]*\]\]", file.text, re.MULTILINE)]

    def problem(number: int, reason: str) -> ConfigurationError:
        # Every table has a header of its own, unless someone writes the list in another way.
        lines = file.text.count("\n", 0, starts[number]) + 1 if number < len(starts) else 1
        return ConfigurationError(f"cannot use {path} line {lines}: {reason}; {_WAY_OUT}")

    if unknown := sorted(file.values.keys() - {"role"}):
        place = file.place_of(unknown[0])
        raise ConfigurationError(f"cannot use {place}: expected [[role]], got {unknown[0]!r}; {_WAY_OUT}")
    if not isinstance(tables, list) or not tables:
        raise problem(0, "expected at least one [[role]]")
    roles: list[Role] = []
    for number, table in enumerate(tables):
        try:
            role = _role(table)
        except ValueError as error:
            raise problem(number, f"role {number + 1}: {error}") from error
        if role.name in {each.name for each in roles}:
            raise problem(number, f"expected another name for a second role, got {role.name!r}")
        roles.append(role)
    return AccessRules(tuple(roles), hashlib.sha256(file.text.encode()).hexdigest()[:16])


def _role(table: object) -> Role:
    """Return the role that a table describes. Raises ValueError with "expected A, got B"."""
    if not isinstance(table, Mapping) or (unknown := sorted(table.keys() - set(_KEYS))):
        got = repr(unknown[0]) if isinstance(table, Mapping) else "a value without keys"
        raise ValueError(f"expected the keys {', '.join(_KEYS)}, got {got}")
    name = table.get("name")
    if not isinstance(name, str) or not _is_role_name(name):
        raise ValueError(f"expected a name of letters, digits and _ . -, got {name!r}")
    commands = _texts(table, "commands")
    if wrong := next((each for each in commands if each not in COMMANDS), None):
        raise ValueError(f"expected commands among {', '.join(COMMANDS)}, got {wrong!r}")
    identities = tuple(resolve_identity(each) for each in _texts(table, "identities"))
    packages = _texts(table, "packages") if "packages" in table else (_ANY,)
    for pattern in (*identities, *packages):
        if pattern.count(_ANY) > 1 or not pattern:
            raise ValueError(f"expected a pattern with at most one *, got {pattern!r}")
    return Role(name, identities, tuple(map(Command, commands)), packages)


def _texts(table: Mapping[str, object], key: str) -> tuple[str, ...]:
    values = table.get(key)
    if not isinstance(values, list) or not values or not all(isinstance(each, str) for each in values):
        raise ValueError(f"expected a list of texts for {key}, got {values!r}"[:200])
    return tuple(values)


def resolve_identity(text: str) -> str:
    """Return an identity or a pattern as a peer has it: users and groups by their numbers. Raises ValueError."""
    kind, separator, name = text.partition("=")
    if text == ANONYMOUS:
        return text
    if not (separator and name and kind in _IDENTITY_KINDS):
        raise ValueError(f"expected an identity such as CN=NAME, URI=..., user=NAME or {ANONYMOUS}, got {text!r}")
    if kind == "user":
        return f"uid={_number(name, text, lambda: pwd.getpwnam(name).pw_uid)}"
    if kind == "group":
        return f"gid={_number(name, text, lambda: grp.getgrnam(name).gr_gid)}"
    return text


def _number(name: str, text: str, look_up: Callable[[], int]) -> str:
    if name == _ANY or (name.isascii() and name.isdigit()):
        return name
    try:
        return str(look_up())
    except (KeyError, ValueError) as error:  # ValueError: a NUL character
        raise ValueError(f"expected a user or group of this machine, got {text!r}") from error


def _expression(pattern: str, character: str) -> str:
    before, star, after = pattern.partition(_ANY)
    return f"{re.escape(before)}{f'{character}*' if star else ''}{re.escape(after)}"


def explain(rules: AccessRules, identities: Sequence[str], line: str) -> tuple[bool, str]:
    """Return whether a peer with ``identities`` may send ``line`` (empty: connect), and the reason."""
    role = rules.role_of(identities)
    if role is None:
        return False, f"no role names {', '.join(identities)}: it is disconnected"
    listed = f"role {role.name}: {', '.join(role.commands)} of {', '.join(role.packages)}"
    if not line:
        return True, listed
    is_marked = role.screen is not None and role.screen(f"{line}\n")[1] > 0
    return not is_marked, f"{listed}; {'not permitted' if is_marked else 'permitted'}: {line}"
