"""Access control: roles, their decoder, and the screening of requests against a naive model."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scoop_core import (
    AccessError,
    AccessRole,
    AccessRules,
    Command,
    MalformedRequest,
    has_change,
    is_http_request,
    parse_request,
    reject_changes,
    rejection_reason,
    resolve_identity,
)

TEAM = {
    "name": "team-a",
    "identities": ["CN=builder-a", "URI=spiffe://example/team-a/*", "user=root"],
    "commands": ["QUERY", "INDEX", "REMOVE"],
    "packages": ["@team-a/*", "liba*", "zlib"],
}
ADMIN = {"name": "admin", "identities": ["CN=admin", "CN=builder-a"], "commands": ["REMOVE", "INDEX", "QUERY"]}
MIRROR = {"name": "mirror", "identities": ["anonymous"], "commands": ["QUERY"]}


def number_of(kind: str, name: str) -> int:
    return {("user", "root"): 0, ("group", "ci"): 7}[kind, name]


RULES = AccessRules.from_mapping({"role": [TEAM, ADMIN, MIRROR]}, number_of)


@pytest.mark.parametrize(
    ("identities", "role"),
    [
        (("CN=builder-a",), "team-a"),
        (("CN=other", "URI=spiffe://example/team-a/7"), "team-a"),
        (("URI=spiffe://example/team-a/\n",), "team-a"),
        (("uid=0", "gid=0"), "team-a"),
        (("anonymous",), "mirror"),
        (("CN=builder",), None),
        (("CN=builder-a\n",), None),
        (("DNS=builder-a",), None),
    ],
)
def test_a_client_has_the_first_role_that_names_one_of_its_identities(
    identities: tuple[str, ...], role: str | None
) -> None:
    found = RULES.role_of(identities)
    assert (found and found.name) == role


def test_a_role_that_permits_everything_has_no_screen() -> None:
    assert [role.screen is None for role in RULES.roles] == [False, True, False]


@pytest.mark.parametrize(
    ("text", "identity"),
    [("group=ci", "gid=7"), ("user=1000", "uid=1000"), ("user=*", "uid=*"), ("CN=a=b", "CN=a=b")],
)
def test_users_and_groups_are_resolved_unless_they_are_numbers(text: str, identity: str) -> None:
    assert resolve_identity(text, number_of) == identity


# The screens and a naive model

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


def permits_naively(role: AccessRole, line: str) -> bool | None:
    """Return whether ``role`` permits ``line``; None if it is malformed, and answered ERROR anyway."""
    try:
        request = parse_request(line)
    except MalformedRequest:
        return None
    is_named = request.command is Command.QUERY or any(fnmatchcase(request.package, each) for each in role.packages)
    return request.command in role.commands and is_named


@given(COMMANDS, PATTERNS, LINES)
@example([Command.QUERY] * 3, ["*"], ["REMOVE|a|"])
@example([Command.INDEX], ["*"], ["INDEX|a|"])
@example([Command.INDEX, Command.QUERY], ["a*b", "b"], ["INDEX|ab|", "INDEX|aab|", "INDEX|ba|", "QUERY|c|"])
def test_a_screen_marks_what_a_naive_model_does_not_permit(
    commands: list[Command], patterns: list[str], lines: list[str]
) -> None:
    role = AccessRole("r", ["anonymous"], commands, patterns)
    text = "".join(f"{line}\n" for line in lines)
    marked, count = (text, 0) if role.screen is None else role.screen(text)
    for line, result in zip([*lines, ""], marked.split("\n"), strict=True):
        assert permits_naively(role, line) in {None, result == line}
        if result != line:
            assert (result, permits_naively(role, result)) == (f"(role r) {line}", None)
            count -= 1
    assert count == 0


@given(LINES)
def test_changes_are_recognized_and_rejected(lines: list[str]) -> None:
    changes = [line.startswith(("INDEX|", "REMOVE|")) for line in lines]
    marked, count = reject_changes(text := "".join(f"{line}\n" for line in lines))
    assert (bool(has_change(text)), count) == (any(changes), sum(changes))
    reasons = [rejection_reason(line) for line in marked.split("\n")[:-1]]
    assert reasons == ["this listener is read-only" if each else "" for each in changes]


@pytest.mark.parametrize("line", ["A|B / HTTP/1.1", "GET  / HTTP/1.1", "GET /\n / HTTP/1.1", "GET / HTTP/x"])
def test_a_line_that_may_be_of_the_protocol_is_not_taken_for_an_http_request(line: str) -> None:
    assert not is_http_request(line)


# Mistakes

MISTAKES = [
    ([], "expected at least one [[role]]"),
    ([1], "role 1: expected the keys name, identities, commands, packages, got a value without keys"),
    ([MIRROR | {"identity": []}], "role 1: expected the keys name, identities, commands, packages, got 'identity'"),
    ([MIRROR | {"name": "a b"}], "role 1: expected a name of letters, digits and _ . -, got 'a b'"),
    ([TEAM, {"name": "a"}], "role 2: expected a list of texts for commands, got None"),
    ([MIRROR | {"commands": ["DELETE"]}], "role 1: expected commands among INDEX, REMOVE, QUERY, got 'DELETE'"),
    ([MIRROR | {"commands": []}], "role 1: expected a list of texts for commands, got []"),
    ([MIRROR | {"commands": "QUERY"}], "role 1: expected a list of texts for commands, got 'QUERY'"),
    ([MIRROR | {"identities": ["CN="]}], "role 1: expected an identity such as CN=NAME, URI=..., user=NAME or anony"),
    ([MIRROR | {"identities": ["a"]}], "role 1: expected an identity such as CN=NAME, URI=..., user=NAME or anonymous"),
    ([MIRROR | {"identities": ["user=x"]}], "role 1: expected a user or group of this machine, got 'user=x'"),
    ([MIRROR | {"packages": ["l*b*"]}], "role 1: expected a pattern with at most one *, got 'l*b*'"),
    ([MIRROR | {"packages": [""]}], "role 1: expected a pattern with at most one *, got ''"),
    ([TEAM, ADMIN, TEAM], "expected another name for a second role, got 'team-a'"),
]


@pytest.mark.parametrize(("tables", "reason"), MISTAKES)
def test_a_mistake_names_its_table_and_the_reason(tables: list[object], reason: str) -> None:
    with pytest.raises(AccessError) as caught:
        AccessRules.from_mapping({"role": tables}, number_of)
    assert (caught.value.key, caught.value.number) == ("role", max(len(tables), 1))
    assert caught.value.reason.startswith(reason)


def test_a_key_of_no_role_is_rejected() -> None:
    with pytest.raises(AccessError) as caught:
        AccessRules.from_mapping({"role": [MIRROR], "roles": []}, number_of)
    assert (caught.value.key, caught.value.reason) == ("roles", "expected [[role]], got 'roles'")


@pytest.mark.parametrize("commands", [["("], "QUERY"])
def test_a_role_with_wrong_commands_is_rejected(commands: list[Command]) -> None:
    with pytest.raises((AccessError, TypeError), match=r"expected (commands|an iterable)"):
        AccessRole("r", ["anonymous"], commands)


def test_an_explanation_names_the_role_and_what_it_permits() -> None:
    assert RULES.explain(["anonymous"]) == (True, "role mirror: QUERY of *")
    listed = "role team-a: QUERY, INDEX, REMOVE of @team-a/*, liba*, zlib"
    assert RULES.explain(["CN=builder-a"], "INDEX|liba|x") == (True, f"{listed}; permitted: INDEX|liba|x")
    with pytest.raises(TypeError, match="got the string"):
        RULES.explain("anonymous")
