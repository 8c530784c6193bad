"""The pages of the explorer by kind, each requested alone, one after the other."""

import http.client
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle, islice
from typing import Final, NamedTuple

_MOST_NEEDED: Final = 200
"""Packages that count as hubs: those that most others depend on directly."""


def sample(lines: Iterable[str], count: int) -> tuple[list[str], list[str]]:
    """Return the names of ``count`` packages of INDEX lines, chosen at random, and the names of hubs."""
    names: list[str] = []
    dependents: Counter[str] = Counter()
    for line in lines:
        _, name, listed = line.rstrip("\n").split("|")
        names.append(name)
        dependents.update(listed.split(",") if listed else ())
    hubs = [name for name, _ in dependents.most_common(_MOST_NEEDED)]
    return random.Random(2).sample(names, min(len(names), count)), hubs


def urls_by_kind(names: Sequence[str], hubs: Sequence[str], count: int) -> Mapping[str, list[str]]:
    """Return ``count`` URLs for each kind of page; "of a hub" if it is about a package that many others need."""

    def urls(form: str, some: Sequence[str]) -> list[str]:
        each = zip(cycle(some), cycle(hubs), strict=False)  # both are endless
        return [form.format(name, hub, name[1:6]) for name, hub in islice(each, count)]

    kinds = {"start": urls("/", names), "cycles": urls("/cycles", names), "changes": urls("/changes", names)}
    kinds["search"] = urls("/search?q={2}", names)
    kinds["search without a match"] = urls("/search?q=zzq{2}", names)
    kinds["search of one letter"] = [f"/search?q={name[0]}" for name in names[:count]]
    kinds["package that is not indexed"] = urls("/packages/{0}-missing", names)
    for about, some in (("", names), (" of a hub", hubs)):
        kinds[f"package{about}"] = urls("/packages/{0}", some)
        for page in ("dependencies", "dependents"):
            kinds[f"all {page}{about}"] = urls(f"/{page}/{{0}}?scope=all", some)
        kinds[f"table of all dependents{about}"] = urls("/dependents/{0}?scope=all&view=table&sort=dependents", some)
        kinds[f"removal{about}"] = urls("/removal/{0}", some)
        kinds[f"rebuild{about}"] = urls("/rebuild/{0}", some)
    kinds["path"] = urls("/path?from={0}&to={1}", names)
    return kinds


class TimedPage(NamedTuple):
    """The time that a page took, and whether it had its whole answer."""

    seconds: float
    is_complete: bool


def time_pages(port: int, urls: Iterable[str]) -> list[TimedPage]:
    """Request pages one after the other. Raises AssertionError for one that is an error."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    pages = []
    for url in urls:
        start = time.perf_counter()
        connection.request("GET", url)
        response = connection.getresponse()
        text = response.read()
        pages.append(TimedPage(time.perf_counter() - start, b"data-pending" not in text))
        if response.status not in {200, 404}:
            raise AssertionError(f"{url} was answered {response.status}")
    connection.close()
    return pages
