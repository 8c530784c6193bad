"""Figures as text and as charts."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from bench.measurements import ORDERLY_DEPTH, Figures, Result
from bench.plot import Series, line_chart
from bench.sections import Start
from bench.size import QUERY_CLIENTS, QUERY_DEPTH, Growths, Turns

LEGEND: Final = """\
answers/s  ! the load generator used its whole processor, and limited the server
           ~ other programs used the server's processor for more than 5% of the time
CPU us     microseconds of processor time of the server per message; the two above hardly affect it
least      the same in the round with the smallest value: compare this on a busy machine
server     processor share of the server; load: of the load generator
p50 ...    microseconds from sending a block (as many messages as the depth) to its last response
max        the longest of all rounds; every other figure is the median of the rounds
MiB        resident memory of the server after the last round"""

_MEBIBYTE: Final = 1_048_576


def marks(*of_all: Figures) -> str:
    """Return the marks of the responses per second of any of these figures."""
    limit = "!" if any(each.is_generator_limit for each in of_all) else ""
    return limit + ("~" if any(each.is_disturbed for each in of_all) else "")


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as text, with all columns but the first aligned to the right."""
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = [
        "  " + "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines
    ]
    return "\n".join([title, *texts, ""])


def result_table(title: str, results: Sequence[Result], label: Callable[[Result], str] = lambda each: each.peer) -> str:
    """Return the table of results under one load."""
    head = ("", "answers/s  ", "CPU us", "least", "server", "load", "p50", "p99", "p99.9", "max", "MiB")
    return table(title, head, [(label(each), *_cells(each)) for each in results])


def _cells(result: Result) -> Iterator[str]:
    figures = result.median
    yield f"{figures.answers_per_second:,.0f}{marks(figures):2}"
    yield f"{figures.cpu_us_per_message:.3f}"
    yield f"{min(each.cpu_us_per_message for each in result.rounds):.3f}"
    yield f"{figures.server_busy:.0%}"
    yield f"{figures.generator_busy:.0%}"
    for latency in (figures.p50_us, figures.p99_us, figures.p999_us, figures.max_us):
        yield f"{latency:,.0f}"
    yield f"{result.resident_bytes / _MEBIBYTE:.1f}"


def idle_table(results: Sequence[Result]) -> str:
    """Return the table of one peer with and without idle connections."""
    return result_table(
        f"{results[0].peer}, beside idle connections",
        results,
        lambda each: f"{each.shape}, {each.idle_clients:,} idle",
    )


def start_table(starts: Sequence[Start]) -> str:
    """Return the table of starts."""
    rows = [
        (each.peer, f"{each.package_count:,}", f"{each.seconds * 1e3:.0f}", f"{each.resident_bytes / _MEBIBYTE:.1f}")
        for each in starts
    ]
    return table("Start", ("", "packages", "ms", "MiB"), rows)


def growth_tables(found: Growths) -> Iterator[str]:
    """Yield the tables of a large index."""
    count = found.growths[0].package_count
    rows = [
        (
            each.peer,
            f"{each.index_per_second:,.0f}",
            f"{each.index_cpu_us:.2f}",
            f"{each.segments[-1][1].answers_per_second:,.0f}",
            f"{each.segments[-1][1].cpu_us_per_message:.2f}",
            f"{each.bytes_per_package:.0f}",
            f"{each.peak_bytes_per_package:.0f}",
        )
        for each in found.growths
    ]
    yield table(
        f"A growing index: {count:,} packages from 1 client at depth {ORDERLY_DEPTH}",
        ("", "INDEX/s", "CPU us", "at the end", "CPU us", "B/package", "at peak"),
        rows,
    )
    restarts = [(each.peer, each.restart) for each in found.growths if each.restart]
    if restarts:
        yield table(
            "Its restart",
            ("", "stop s", "start s", "of CPU", "B/package"),
            [
                (
                    peer,
                    f"{each.stop_seconds:.2f}",
                    f"{each.start_seconds:.2f}",
                    f"{each.start_cpu_seconds:.2f}",
                    f"{each.bytes_per_package:.0f}",
                )
                for peer, each in restarts
            ],
        )
    yield table(
        "The same by size: CPU us of a message",
        ("packages", *(f"{each.peer} {command}" for each in found.growths for command in ("INDEX", "QUERY"))),
        list(_rows_by_size(found)),
    )
    yield result_table(
        f"A small and a large index: {found.small_and_large[0].shape}",
        found.small_and_large,
        lambda each: f"{each.peer}, {each.package_count:,} packages",
    )


def _rows_by_size(found: Growths) -> Iterator[Sequence[str]]:
    queries = {(each.peer, each.package_count): each.median.cpu_us_per_message for each in found.queries}
    for number, (size, _) in enumerate(found.growths[0].segments):
        cells = [f"{size:,}"]
        for growth in found.growths:
            cells.append(f"{growth.segments[number][1].cpu_us_per_message:.2f}")
            cells.append(f"{queries[growth.peer, size]:.2f}")
        yield cells


def turn_table(found: Sequence[Turns]) -> str:
    """Return the table of turns, in milliseconds."""
    head = ("", "turns", "p50", "p99", "p99.9", "max", "max of CPU", "max with growth", "collection", "too long")
    rows = []
    for each in found:
        seconds, grown = each.report["seconds"], each.report["longest_with_table_growth"]
        longest = [*each.report["longest"], *grown]
        times = [
            *seconds.values(),
            each.report["cpu_seconds"]["max"],
            max((turn["seconds"] for turn in grown), default=0.0),
            max(turn["garbage_collection_seconds"] for turn in longest),
        ]
        cells = [f"{each.report['turns']:,}", *(f"{time * 1e3:.2f}" for time in times)]
        rows.append((each.peer, *cells, f"{each.report['long_turns']:,}"))
    return table(f"Turns in milliseconds, up to {found[0].package_count:,} packages", head, rows)


# Charts


def query_chart(title: str, x_label: str, results: Sequence[Result], x: Callable[[Result], float]) -> str:
    """Return the chart of QUERY by peer, against ``x`` of each result."""
    points = [(each.peer, x(each), each.median) for each in results]
    return _rate_chart(title, x_label, points)


def size_charts(found: Growths) -> dict[str, str]:
    """Return the charts of INDEX and of QUERY against the size of the index, by name."""
    index = [(growth.peer, float(size), figures) for growth in found.growths for size, figures in growth.segments]
    query = [(each.peer, float(each.package_count), each.median) for each in found.queries]
    title, x_label = "Throughput against index size", "packages in the index"
    return {
        "size-index": _rate_chart(f"{title}, INDEX, 1 client, depth {ORDERLY_DEPTH}", x_label, index),
        "size-query": _rate_chart(f"{title}, QUERY, {QUERY_CLIENTS} clients, depth {QUERY_DEPTH}", x_label, query),
    }


def _rate_chart(title: str, x_label: str, points: Sequence[tuple[str, float, Figures]]) -> str:
    series: list[Series] = []
    for name in dict.fromkeys(name for name, _, _ in points):
        own = [(x, figures) for each, x, figures in points if each == name]
        series.append(Series(name, [(x, figures.answers_per_second) for x, figures in own]))
        per_cpu_second = [(x, figures.answers_per_cpu_second) for x, figures in own]
        series.append(Series(name, per_cpu_second, is_dashed=True))
    subtitle = "solid: responses per second; dashed: answers per second of the server's processor"
    return line_chart(title, subtitle, x_label, "responses per second", series)
