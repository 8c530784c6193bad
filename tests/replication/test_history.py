"""The check of histories: it accepts what is linearizable, and finds what is not."""

import pytest

from tests.replication.history import SET_UP, Operation, Order, change_line, trail_violations, violations

pytestmark = pytest.mark.any_python

INDEX_A, INDEX_B, REMOVE_A = (
    change_line(1, "INDEX", "a"),
    change_line(2, "INDEX", "b", ["a"]),
    change_line(3, "REMOVE", "a"),
)
LOG = (*SET_UP, INDEX_A, INDEX_B, REMOVE_A)


@pytest.mark.parametrize(
    "operations",
    [
        [Operation(INDEX_A, 1, 2, "OK"), Operation(INDEX_B, 3, 4, "OK"), Operation(REMOVE_A, 5, 6, "FAIL")],
        [Operation(INDEX_B, 1, 9, "OK"), Operation(INDEX_A, 2, 3, "OK"), Operation(REMOVE_A, 1)],
        [Operation(INDEX_A, 1, 9, "OK"), Operation("QUERY|a|", 2, 3, "FAIL"), Operation("QUERY|a|", 4, 5, "OK")],
        [Operation(INDEX_A, 1), Operation("QUERY|a|", 2, 3, "OK")],
    ],
)
def test_a_linearizable_history_is_accepted(operations: list[Operation]) -> None:
    assert violations(operations, Order.of(LOG)) == []


@pytest.mark.parametrize(
    ("operations", "log", "violation"),
    [
        ([Operation(INDEX_A, 1, 2, "OK")], SET_UP, "answered OK, and not in the log"),
        ([Operation(REMOVE_A, 1, 2, "OK")], LOG, "answered OK, expected FAIL"),
        ([], (*LOG, INDEX_A), "applied twice"),
        ([Operation(INDEX_B, 1, 2, "OK"), Operation(INDEX_A, 3, 4, "OK")], LOG, "position 3 after one"),
        ([Operation(INDEX_A, 1, 2, "OK"), Operation("QUERY|a|", 3, 4, "FAIL")], LOG, "no state from 3 to None"),
        ([Operation("QUERY|a|", 1, 2, "OK"), Operation(INDEX_A, 3, 4, "OK")], LOG, "no state from 0 to 3"),
        (
            [
                Operation(INDEX_A, 1, 9, "OK"),
                Operation("QUERY|a|", 2, 3, "OK"),
                Operation("QUERY|a|", 4, 5, "FAIL"),
            ],
            LOG,
            "no state from 3 to None",
        ),
    ],
)
def test_each_violation_is_found(operations: list[Operation], log: tuple[str, ...], violation: str) -> None:
    [found] = violations(operations, Order.of(log))
    assert violation in found


@pytest.mark.parametrize(
    ("trail", "violation"),
    [
        (["a INDEX|a|bit1", "b INDEX|b|bit1,bit0,a"], ""),
        (["a INDEX|a|bit1"], "the trail has None, expected ('b', 'INDEX|b|bit1,bit0,a')"),
        (["a INDEX|a|bit1", "a INDEX|b|bit1,bit0,a"], "has ('a', 'INDEX|b|bit1,bit0,a'), expected ('b', 'INDEX|b|"),
        (["a INDEX|a|bit1", "b INDEX|b|bit1,bit0,a", "c REMOVE|a|"], "has ('c', 'REMOVE|a|'), expected None"),
    ],
)
def test_a_trail_has_the_changes_with_the_identities_of_their_clients(trail: list[str], violation: str) -> None:
    sent = [*(("s", line) for line in SET_UP), ("a", INDEX_A), ("b", INDEX_B), ("c", REMOVE_A)]
    operations = [Operation(line, 1, 2, "OK", identity) for identity, line in sent]
    found = [*sent[: len(SET_UP)], *((identity, line) for identity, line in map(str.split, trail))]
    problems = trail_violations(found, operations, Order.of(LOG))
    assert len(problems) == bool(violation)
    assert violation in "".join(problems)
