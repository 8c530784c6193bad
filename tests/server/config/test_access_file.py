"""The file of roles: its users and groups, and the place of its mistakes."""

import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scoop_core import AccessRules

from scoop_server.config.access_file import read_access_file
from scoop_server.errors import ConfigurationError

ROLES = """\
# a user and a group
[[role]]
name = "a"
identities = ["user=root", "group=root"]
commands = ["QUERY"]

[[ role ]] # a comment
name = "b"
identities = ["anonymous"]
commands = ["QUERY"]
"""


def rules_of(text: str, directory: Path) -> AccessRules:
    """Return the rules of a file with ``text``."""
    path = directory / "access.toml"
    path.write_text(text)
    return read_access_file(path)


def test_users_and_groups_are_those_of_the_machine(tmp_path: Path) -> None:
    rules = rules_of(ROLES, tmp_path)
    assert [role.identities for role in rules.roles] == [("uid=0", "gid=0"), ("anonymous",)]
    assert rules.digest != rules_of(f"{ROLES}#", tmp_path).digest


MISTAKES = [
    ("", "", "expected at least one [[role]]"),
    ("\nroles = 1\n", " line 2", "expected [[role]], got 'roles'"),
    (ROLES.replace("user=root", r"user=\u0000"), " line 2", "role 1: expected a user or group of this machine"),
    (ROLES.replace('"b"', "5"), " line 7", "role 2: expected a name of letters, digits and _ . -, got 5"),
]


@pytest.mark.parametrize(("text", "line", "reason"), MISTAKES)
def test_a_mistake_is_one_line_with_its_place_and_the_way_out(
    text: str, line: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        rules_of(text, tmp_path)
    message = str(caught.value)
    assert message.startswith(f"cannot use {tmp_path}/access.toml{line}: {reason}")
    assert message.endswith("; correct it, and try it with scoop-server access")


def test_a_pipe_and_a_missing_file_are_rejected(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name, reason in ("fifo", "not a regular file"), ("missing", "No such file or directory"):
        with pytest.raises(ConfigurationError, match=reason):
            read_access_file(tmp_path / name)


@settings(max_examples=300)
@given(st.one_of(st.text(), st.lists(st.sampled_from([*ROLES.splitlines(), "x = [[[", "[[role]", "name = 5", "\0"]))))
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
