"""A graph that checks each response against a naive index, at the moment at which a request is applied."""

from scoop_core import Changes, DependencyGraph, PartialResponses, Tally

from tests.support.naive_index import NaiveIndex, contents_of


class CheckedGraph(DependencyGraph):
    """A graph whose :meth:`apply_lines_within` is compared with a naive index."""

    def apply_lines_within(
        self, budget: int, text: str, changes: Changes | None = None, tally: Tally | None = None
    ) -> PartialResponses:
        state = {name: names for name, (names, _) in contents_of(self).items()}
        naive = NaiveIndex(state, reject_cycles=self.reject_cycles)
        part = super().apply_lines_within(budget, text, changes, tally)
        answered = text.split("\n")[: part.responses.count("\n")]
        assert part.responses.split() == [naive.answer(line) for line in answered], f"{answered} after {state}"
        assert "".join(f"{line}\n" for line in answered) + part.rest == text
        assert contents_of(self) == naive.contents()
        return part
