"""The first lines of a long text, whose number is estimated before it is counted."""

import pytest

from scoop_server.text import first_lines

SIZE_MAX = 100_000


@pytest.mark.parametrize(
    "line", ["\n", "a\n", "QUERY|a\n", "QUERY|a|\n", f"QUERY|{'a' * 8}|\n", f"QUERY|{'a' * 24}|\n"]
)
def test_a_long_text_of_short_lines_is_cut_at_the_exact_number(line: str) -> None:
    assert {first_lines(line * 10_000, SIZE_MAX, 50) for _ in range(100)} == {line * 50}


def test_a_long_text_of_few_lines_is_whole() -> None:
    text = f"INDEX|a|{'b' * 200}\n" * 100
    assert first_lines(text, SIZE_MAX, 1_000) == text


def test_lines_that_end_between_the_sampled_characters_are_rarely_missed() -> None:
    text = ("\n" * 60 + "a") * 100 + "\n"
    uncut = sum(first_lines(text, SIZE_MAX, 50) == text for _ in range(1_000))
    assert uncut < 100  # 16 on average
