"""Roles: the file, its mistakes, and the screening of requests against a naive model."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scoop_core import Command, MalformedRequest, parse_request

from scoop_server.config.access_file import AccessRules, Role, explain, read_access_file, resolve_identity
from scoop_server.errors import ConfigurationError

TEAMS = """\
# two teams and a mirror
[[role]]
name = "team-a"
identities = ["CN=builder-a", "URI=spiffe://example/team-a/*", "user=root"]
commands = ["QUERY", "INDEX", "REMOVE"]
packages = ["@team-a/*", "liba*", "zlib"]

[[role]]
name = "admin"
identities = ["CN=admin", "CN=builder-a"]
commands = ["REMOVE", "INDEX", "QUERY"]

[[role]]
name = "mirror"
identities = ["anonymous"]
commands = ["QUERY"]
"""


def rules_of(text: str, directory: Path) -> AccessRules:
    """Return the rules of a file with ``text``."""
    path = directory / "access.toml"
    path.write_text(text)
    return read_access_file(path)


@pytest.fixture
def teams(tmp_path: Path) -> AccessRules:
    return rules_of(TEAMS, tmp_path)


@pytest.mark.parametrize(
    ("identities", "role"),
    [
        (("CN=builder-a",), "team-a"),
        (("CN=other", "URI=spiffe://example/team-a/7"), "team-a"),
        (("uid=0", "gid=0"), "team-a"),
        (("CN=admin",), "admin"),
        (("anonymous",), "mirror"),
        (("CN=builder",), None),
        (("CN=builder-a\n",), None),
        (("DNS=builder-a",), None),
    ],
)
def test_a_peer_has_the_first_role_that_names_one_of_its_identities(
    teams: AccessRules, identities: tuple[str, ...], role: str | None
) -> None:
    found = teams.role_of(identities)
    assert (found and found.name) == role


def test_a_role_that_permits_everything_has_no_screen(teams: AccessRules) -> None:
    assert [role.screen is None for role in teams.roles] == [False, True, False]


# The screen and a naive model

NAMES = st.text("ab*|/\n", max_size=3)
PATTERNS = st.lists(st.from_regex(r"[ab/]{0,2}\*?[ab/]{0,2}", fullmatch=True).filter(bool), min_size=1, max_size=3)
COMMANDS = st.lists(st.sampled_from(Command), min_size=1, max_size=4)
LINES = st.lists(
    st.builds(
        "{}|{}|{}".format,
        st.sampled_from([*Command, "index", "", "(role r) INDEX", "INDEXX"]),
        st.text("ab/|-", max_size=4),
        st.sampled_from(["", "a", "b,a", ","]),
    )
)


def permits_naively(role: Role, line: str) -> bool:
    """Return whether ``role`` permits ``line``, one request at a time; a malformed line is not its business."""
    try:
        request = parse_request(line)
    except MalformedRequest:
        return True
    if request.command not in role.commands:
        return False
    if request.command is Command.QUERY:
        return True
    for pattern in role.packages:
        before, star, after = pattern.partition("*")
        name = request.package
        if name == pattern or (
            star and len(name) >= len(before + after) and name.startswith(before) and name.endswith(after)
        ):
            return True
    return False


@given(COMMANDS, PATTERNS, LINES)
@example([Command.QUERY] * 3, ["*"], ["REMOVE|a|"])
def test_a_screen_marks_what_a_naive_model_does_not_permit(
    commands: list[Command], patterns: list[str], lines: list[str]
) -> None:
    role = Role("r", ("anonymous",), tuple(commands), tuple(patterns))
    text = "".join(f"{line}\n" for line in lines)
    marked, count = (text, 0) if role.screen is None else role.screen(text)
    found = marked.split("\n")[:-1]
    assert len(found) == len(lines)
    for line, result in zip(lines, found, strict=True):
        if result == line:
            assert permits_naively(role, line)
        else:
            assert result == f"(role r) {line}"
            with pytest.raises(MalformedRequest):
                parse_request(result)
            if re.fullmatch(r"[A-Z]+\|[^|,]+\|[ab,]*", line):
                assert not permits_naively(role, line) or line.endswith("|,")
    assert count == sum(line != result for line, result in zip(lines, found, strict=True))


# Mistakes

MISTAKES = [
    ("", 1, "expected at least one [[role]]"),
    ("role = 1\n", 1, "expected at least one [[role]]"),
    ("\nroles = 1\n", 2, "expected [[role]], got 'roles'"),
    ('[[role]]\nname = "a"\nidentity = ["anonymous"]\n', 1, "role 1: expected the keys name, identities, commands, pa"),
    ("role = [1]\n", 1, "role 1: expected the keys name, identities, commands, packages, got a value without keys"),
    ('[[role]]\nname = "a b"\n', 1, "role 1: expected a name of letters, digits and _ . -, got 'a b'"),
    ('\n[[role]]\nname = "a"\n', 2, "role 1: expected a list of texts for commands, got None"),
    ('[[role]]\nname = "a"\ncommands = ["DELETE"]\n', 1, "expected commands among INDEX, REMOVE, QUERY, got 'DELETE'"),
    (TEAMS + '[[role]]\nname = "d"\ncommands = ["QUERY"]\nidentities = ["builder"]\n', 17, "role 4: expected an ident"),
    (TEAMS.replace("user=root", "user=no-such-user"), 2, "expected a user or group of this machine, got 'user=no-such"),
    (TEAMS.replace("liba*", "l*b*"), 2, "role 1: expected a pattern with at most one *, got 'l*b*'"),
    (TEAMS.replace('mirror"', 'admin"'), 13, "expected another name for a second role, got 'admin'"),
]


@pytest.mark.parametrize(("text", "line", "reason"), MISTAKES)
def test_a_mistake_is_one_line_with_its_place_and_the_way_out(
    text: str, line: int, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        rules_of(text, tmp_path)
    message = str(caught.value)
    assert message.startswith(f"cannot use {tmp_path}/access.toml line {line}: ")
    assert reason in message
    assert message.endswith("; correct it, and try it with scoop-server access")


def test_a_pipe_and_a_missing_file_are_rejected(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name, reason in ("fifo", "not a regular file"), ("missing", "No such file or directory"):
        with pytest.raises(ConfigurationError, match=reason):
            read_access_file(tmp_path / name)


@settings(max_examples=300)
@given(st.one_of(st.text(), st.lists(st.sampled_from([*TEAMS.splitlines(), "x = [[[", "[[role]", "name = 5", "\0"]))))
@example(["[[role]]", "[[role]]"])
def test_any_text_is_a_file_of_roles_or_a_mistake_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, text: str | list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    path.write_text(text if isinstance(text, str) else "\n".join(text), errors="replace")
    mistakes: tuple[object, ...] = ("",)
    try:
        read_access_file(path)
    except ConfigurationError as error:
        mistakes = error.args
    assert len(mistakes) == 1
    assert "\n" not in str(mistakes[0])


# The command


@pytest.mark.parametrize(
    ("identity", "line", "is_permitted", "reason"),
    [
        ("CN=builder-a", "INDEX|liba|x", True, "permitted: INDEX|liba|x"),
        (
            "CN=builder-a",
            "REMOVE|other|",
            False,
            "of @team-a/*, liba*, zlib; not permitted: REMOVE|other|",
        ),
        ("anonymous", "", True, "role mirror: QUERY of *"),
        ("CN=other", "", False, "no role names CN=other: it is disconnected"),
    ],
)
def test_an_explanation_names_the_role_and_what_it_permits(
    teams: AccessRules, identity: str, line: str, is_permitted: bool, reason: str
) -> None:
    found, text = explain(teams, (resolve_identity(identity),), line)
    assert found == is_permitted
    assert reason in text
