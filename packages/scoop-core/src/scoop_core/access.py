r"""Access control: roles, which say what a client may send, and screens, which mark the requests that it may not.

A client has the first role that names one of its identities, such as ``CN=builder`` or ``uid=1000``. A screen takes the
text of complete lines, as :meth:`Connection.receive` returns it. Its mark makes a line malformed, so a graph answers
ERROR, and :func:`rejection_reason` returns the reason:

>>> reject_changes("REMOVE|gmp|\nQUERY|gmp|\n")
('(read-only) REMOVE|gmp|\nQUERY|gmp|\n', 1)
>>> bool(has_change("QUERY|gmp|\n")), bool(has_change("QUERY|gmp|\nREMOVE|gmp|\n"))
(False, True)
>>> bool(is_http_request("POST / HTTP/1.1\r\n")), bool(is_http_request("QUERY|gmp|\n"))
(True, False)
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final, NamedTuple, Self, TypeAlias

from scoop_core.errors import AccessError
from scoop_core.messages import Command
from scoop_core.names import listed_names

Screen: TypeAlias = Callable[[str], tuple[str, int]]
"""Marks the requests in a text that are not permitted; returns the text and their number."""

ANONYMOUS: Final = "anonymous"
"""The only identity of a client without a name."""

_ANY: Final = "*"
_ALL: Final = tuple(Command)
_KEYS: Final = ("name", "identities", "commands", "packages")
_KINDS: Final = ("CN", "DNS", "URI", "email", "user", "group")
_NUMBERED: Final = {"user": "uid", "group": "gid"}
"""The kinds of identities that clients have as numbers, and how these are spelled."""
_READ_ONLY_MARK: Final = "(read-only) "
_CHANGE: Final = r"^(?=(?:INDEX|REMOVE)\|)"

_is_role_name: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}").fullmatch

# A method without a bar, so that no line of the protocol is taken for one.
is_http_request: Final[Callable[[str], object]] = re.compile(r"[!-{}-~]+ [^ \n]* HTTP/[0-9]").match
"""Returns whether a text begins with an HTTP request, as a web page can make a browser send it."""

has_change: Final[Callable[[str], object]] = re.compile(_CHANGE, re.MULTILINE).search
"""Returns whether a text of complete lines has an INDEX or a REMOVE."""


def _screen(forbidden: str, mark: str) -> Screen:
    """Return a screen that puts ``mark`` before each line that the zero-width expression ``forbidden`` matches."""
    return partial(re.compile(forbidden, re.MULTILINE).subn, mark)


reject_changes: Final[Screen] = _screen(_CHANGE, _READ_ONLY_MARK)
"""Marks each INDEX and REMOVE, for clients that may only read."""


class AccessRole:
    r"""The requests that some clients may send. Raises :exc:`AccessError` for a wrong name, command or pattern.

    ``packages`` are patterns of the packages that INDEX and REMOVE may name; dependencies may be any. A pattern is a
    text with at most one ``*``, which matches any characters. ``names`` returns whether the role names an identity,
    and ``screen`` marks what the role does not permit; it is None if the role permits everything.

    >>> role = AccessRole("team-a", ["CN=a", "URI=spiffe://example/a/*"], list(Command), ["@a/*", "zlib"])
    >>> bool(role.names("URI=spiffe://example/a/7")), bool(role.names("CN=b"))
    (True, False)
    >>> role.screen("INDEX|zlib|\nINDEX|gmp|\n")
    ('INDEX|zlib|\n(role team-a) INDEX|gmp|\n', 1)
    >>> AccessRole("team-a", ["CN=a"], [])
    Traceback (most recent call last):
    scoop_core.errors.AccessError: expected at least one command, got none
    """

    def __init__(
        self, name: str, identities: Iterable[str], commands: Iterable[Command], packages: Iterable[str] = (_ANY,)
    ) -> None:
        self.name: Final = _checked_name(name)
        self.identities: Final = tuple(listed_names(identities, "identities"))
        self.commands: Final = tuple(map(_checked_command, listed_names(commands, "commands")))
        self.packages: Final = tuple(listed_names(packages, "patterns"))
        for pattern in (*self.identities, *self.packages):
            if pattern.count(_ANY) > 1 or not pattern:
                raise AccessError(f"expected a pattern with at most one *, got {pattern!r}")
        if not self.commands:
            raise AccessError("expected at least one command, got none")
        expression = "|".join(_expression(each, ".") for each in self.identities)
        self.names: Final[Callable[[str], object]] = re.compile(expression, re.DOTALL).fullmatch
        self.screen: Final = self._screen()

    def __repr__(self) -> str:
        return f"AccessRole{(self.name, self.identities, tuple(map(str, self.commands)), self.packages)}"

    def _screen(self) -> Screen | None:
        if _ANY in self.packages and set(self.commands) == set(_ALL):
            return None
        packages = "|".join(_expression(each, r"[^|\n]") for each in self.packages)
        names = "" if _ANY in self.packages else rf"(?:{packages})\|"
        permitted = "|".join(rf"{each}\|{'' if each is Command.QUERY else names}" for each in self.commands)
        return _screen(rf"^(?=(?:{'|'.join(_ALL)})\|)(?!{permitted})", _role_mark(self.name))


class AccessRules(NamedTuple):
    """Roles in order of precedence. Servers that have read the same file of rules have the same ``digest``.

    >>> AccessRules((AccessRole("mirror", ["anonymous"], [Command.QUERY]),)).role_of(["CN=builder"])
    """

    roles: tuple[AccessRole, ...]
    digest: str = ""

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object], look_up: Callable[[str, str], int], digest: str = "") -> Self:
        """Return the rules in a mapping whose key ``role`` has a list of tables, as in a TOML file.

        ``look_up`` is that of :func:`resolve_identity`. Raises :exc:`AccessError`.

        >>> table = {"name": "ci", "identities": ["user=ci"], "commands": ["QUERY"]}
        >>> AccessRules.from_mapping({"role": [table]}, lambda kind, name: 1000).roles
        (AccessRole('ci', ('uid=1000',), ('QUERY',), ('*',)),)
        """
        if unknown := sorted(mapping.keys() - {"role"}):
            raise AccessError(f"expected [[role]], got {unknown[0]!r}", unknown[0])
        tables = mapping.get("role")
        if not isinstance(tables, list) or not tables:
            raise AccessError("expected at least one [[role]]", "role", 1)
        roles: dict[str, AccessRole] = {}
        for number, table in enumerate(tables, 1):
            try:
                role = _decode_role(table, look_up)
            except AccessError as error:
                raise AccessError(f"role {number}: {error}", "role", number) from error
            if role.name in roles:
                reason = f"expected another name for a second role, got {role.name!r}"
                raise AccessError(reason, "role", number)
            roles[role.name] = role
        return cls(tuple(roles.values()), digest)

    def role_of(self, identities: Iterable[str]) -> AccessRole | None:
        """Return the first role that names one of ``identities``.

        >>> rules = AccessRules((AccessRole("team-a", ["CN=a"], [*Command]), AccessRole("all", ["*"], [Command.QUERY])))
        >>> rules.role_of(["CN=b"])
        AccessRole('all', ('*',), ('QUERY',), ('*',))
        """
        given = tuple(listed_names(identities, "identities"))
        return next((role for role in self.roles if any(map(role.names, given))), None)

    def explain(self, identities: Iterable[str], line: str = "") -> tuple[bool, str]:
        """Return whether a client with ``identities`` may send ``line`` (empty: connect), and the reason.

        >>> rules = AccessRules((AccessRole("mirror", ["anonymous"], [Command.QUERY]),))
        >>> rules.explain(["anonymous"], "REMOVE|gmp|")
        (False, 'role mirror: QUERY of *; not permitted: REMOVE|gmp|')
        >>> rules.explain(["CN=builder"])
        (False, 'no role names CN=builder: it is disconnected')
        """
        given = tuple(listed_names(identities, "identities"))
        role = self.role_of(given)
        if role is None:
            return False, f"no role names {', '.join(given)}: it is disconnected"
        listed = f"role {role.name}: {', '.join(role.commands)} of {', '.join(role.packages)}"
        if not line:
            return True, listed
        is_marked = role.screen is not None and role.screen(f"{line}\n")[1] > 0
        return not is_marked, f"{listed}; {'not permitted' if is_marked else 'permitted'}: {line}"


def resolve_identity(text: str, look_up: Callable[[str, str], int]) -> str:
    """Return an identity, or a pattern of identities, with a user or group as a number, as clients have them.

    ``look_up`` takes ``user`` or ``group`` and a name; it returns the number, or raises KeyError or ValueError.
    Raises :exc:`AccessError`.

    >>> resolve_identity("user=ci", lambda kind, name: 1000), resolve_identity("CN=builder-*", lambda kind, name: 0)
    ('uid=1000', 'CN=builder-*')
    """
    kind, _, name = text.partition("=")
    if text == ANONYMOUS:
        return text
    if kind not in _KINDS or not name:
        raise AccessError(f"expected an identity such as CN=NAME, URI=..., user=NAME or {ANONYMOUS}, got {text!r}")
    if kind not in _NUMBERED:
        return text
    if name != _ANY and not (name.isascii() and name.isdigit()):
        try:
            name = str(look_up(kind, name))
        except (KeyError, ValueError) as error:
            raise AccessError(f"expected a user or group of this machine, got {text!r}") from error
    return f"{_NUMBERED[kind]}={name}"


def rejection_reason(line: str, role: str = "") -> str:
    """Return why a screen has marked ``line`` of a client with the role ``role``; empty if none has.

    >>> rejection_reason("(role mirror) REMOVE|gmp|", "mirror")
    'role mirror does not permit this'
    >>> rejection_reason("(role mirror) REMOVE|gmp|", "team-a"), rejection_reason("REMOVE|gmp|")
    ('', '')
    """
    if line.startswith(_READ_ONLY_MARK):
        return "this listener is read-only"
    return f"role {role} does not permit this" if role and line.startswith(_role_mark(role)) else ""


def _decode_role(table: object, look_up: Callable[[str, str], int]) -> AccessRole:
    if not isinstance(table, Mapping) or (unknown := sorted(table.keys() - set(_KEYS))):
        got = repr(unknown[0]) if isinstance(table, Mapping) else "a value without keys"
        raise AccessError(f"expected the keys {', '.join(_KEYS)}, got {got}")
    name = _checked_name(table.get("name"))
    commands = [_checked_command(each) for each in _texts(table, "commands")]
    identities = [resolve_identity(each, look_up) for each in _texts(table, "identities")]
    packages = _texts(table, "packages") if "packages" in table else [_ANY]
    return AccessRole(name, identities, commands, packages)


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not _is_role_name(name):
        raise AccessError(f"expected a name of letters, digits and _ . -, got {name!r}")
    return name


def _checked_command(command: str) -> Command:
    if command not in _ALL:
        raise AccessError(f"expected commands among {', '.join(_ALL)}, got {command!r}")
    return Command(command)


def _texts(table: Mapping[str, object], key: str) -> list[str]:
    values = table.get(key)
    if not isinstance(values, list) or not values or not all(isinstance(each, str) for each in values):
        raise AccessError(f"expected a list of texts for {key}, got {values!r}"[:200])
    return values


def _expression(pattern: str, character: str) -> str:
    before, star, after = pattern.partition(_ANY)
    return f"{re.escape(before)}{f'{character}*' if star else ''}{re.escape(after)}"


def _role_mark(name: str) -> str:
    """Return the mark of a request that the role ``name`` does not permit: no command begins with it."""
    return f"(role {name}) "
