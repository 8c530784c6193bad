import pytest

from scoop_server.text import counted


@pytest.mark.parametrize(("number", "text"), [(0, "0 batches"), (1, "1 batch"), (2, "2 batches"), (21, "21 batches")])
def test_a_noun_agrees_with_its_number(number: int, text: str) -> None:
    assert counted(number, "batch", "batches") == text
    assert counted(number, "client") == text.replace("batches", "clients").replace("batch", "client")
