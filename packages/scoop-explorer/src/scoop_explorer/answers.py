"""The answers to questions: plain values, which the pages show and the API sends."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Status:
    """The state of the explorer: part of each page and each answer."""

    source: str
    batch: int
    """The last batch of changes that is shown."""
    packages: int
    lag_seconds: float
    """The time since everything that the source holds was shown."""
    problem: str
    """The reason for which the source cannot be read; empty if it can."""
    is_loaded: bool
    """True once the source has been read to its end."""
    is_served: bool | None
    """False if the server that changes the source is known to have stopped; None if that is unknown."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A part of a list of names."""

    total: int
    names: tuple[str, ...]
    offset: int = 0

    @property
    def more(self) -> int:
        """The number of names behind the part."""
        return self.total - self.offset - len(self.names)


@dataclass(frozen=True, slots=True)
class Needed:
    """A package, and the number of others that depend on it directly."""

    name: str
    dependents: int


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one package, as it was seen."""

    batch: int
    time: str
    """Its time in UTC; if the source does not hold that, the time at which the explorer saw it."""
    is_older: bool
    """True if it was made earlier, while the explorer did not follow the source."""
    package: str
    kind: str
    """``indexed``, ``changed`` or ``removed``."""
    added: tuple[str, ...]
    """The dependencies that were added."""
    dropped: tuple[str, ...]
    """The dependencies that were dropped."""
    more_added: int = 0
    """The number of added ones that are not listed."""
    more_dropped: int = 0
    identity: str = ""
    """The client that made it, such as ``CN=builder``; empty if that is unknown."""


@dataclass(frozen=True, slots=True)
class History:
    """The changes of one package that the source has kept."""

    name: str
    changes: tuple[Change, ...]
    """The latest, the newest first."""
    total: int
    """The number of all that are kept."""
    first_batch: int
    """The first batch that is kept: what happened before is unknown. 0 if there is none."""
    since: str
    """Its time in UTC."""
    problem: str
    """The reason for which there is no history, or a part of it is missing."""


@dataclass(frozen=True, slots=True)
class Survey:
    """The figures of the whole graph as of a batch."""

    batch: int
    packages: int
    dependencies: int
    roots: int
    """Packages that no other package needs."""
    leaves: int
    """Packages that need nothing."""
    layers: int
    most_needed: tuple[Needed, ...]


@dataclass(frozen=True, slots=True)
class Overview:
    """The answer of the start page."""

    survey: Survey | None
    """None while the graph is counted for the first time."""
    cyclic_groups: int
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The direct neighbours of a package."""

    name: str
    dependencies: Listing
    dependents: Listing
    """All packages that depend on it directly, without itself."""
    needs_itself: bool
    drawn_dependencies: tuple[Needed, ...]
    drawn_dependents: tuple[Needed, ...]


@dataclass(frozen=True, slots=True)
class DrawnPackage:
    """A package of a drawing."""

    name: str
    dependents: int
    """The number of other packages that depend on it directly, drawn or not."""
    dependencies: int
    """The number of its direct dependencies, drawn or not."""
    needs: tuple[str, ...]
    """Direct dependencies, among which are all that are drawn."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A part of the graph that is small enough to be drawn."""

    nodes: tuple[DrawnPackage, ...]
    """The packages, those that were asked for first."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The packages that one reaches, and those that reach it."""

    layer: int
    """The number of the layer, from 1: each layer needs the ones before it."""
    dependencies: Listing
    dependents: Listing
    cycle: Listing
    """The other packages that it needs and that need it, directly or not."""


@dataclass(frozen=True, slots=True)
class Removal:
    """The requests that remove packages and all that needs them, in an order in which each is answered OK."""

    packages: tuple[str, ...]
    """The packages that were asked for; a single one comes last."""
    requests: Listing
    releases: int
    """The number of requests that release a cycle: they come first, and index a package without dependencies."""
    graph: Graph | None = None


@dataclass(frozen=True, slots=True)
class RebuildSizes:
    """The numbers of packages that the steps of a rebuild have."""

    packages: int
    steps: int
    sizes: tuple[int, ...]
    """Those of the first steps."""
    cyclic: int
    """The number of packages that can only be built together with others, which they need and which need them."""


@dataclass(frozen=True, slots=True)
class Package:
    """The answer of a package page."""

    neighbours: Neighbours
    is_removable: bool
    graph: Graph
    reach: Reach | None
    """None while it is counted."""
    has_orders: bool
    """False if so many packages need it that their orders are on pages of their own only."""
    removal: Removal | None
    """The first requests of its removal; None while they are found."""
    rebuild: RebuildSizes | None
    """None while it is counted."""


@dataclass(frozen=True, slots=True)
class RelatedPackage:
    """A package in a list of dependencies or dependents."""

    name: str
    dependents: int
    """The number of packages that depend on it directly."""
    distance: int
    """The number of dependencies on a shortest path."""


@dataclass(frozen=True, slots=True)
class RelatedPackages:
    """The dependencies or dependents of a package, direct or all."""

    name: str
    relation: str
    scope: str
    listing: Listing
    """The names; the total is that of those that pass the filter."""
    packages: tuple[RelatedPackage, ...]
    """The same part of the list, with figures."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a rebuild."""

    total: int
    names: tuple[str, ...]
    """A part of its packages."""
    offset: int
    parallel: tuple[str, ...]
    """Those of the part that can be built in parallel."""
    cycles: tuple[Listing, ...]
    """The groups of the others, which need each other: each is built as a whole."""

    @property
    def more(self) -> int:
        """The number of packages behind the part."""
        return self.total - self.offset - len(self.names)

    @property
    def unmentioned(self) -> int:
        """The number of packages that are neither in the first part nor in one of its groups."""
        return self.total - len(self.parallel) - sum(group.total for group in self.cycles)


@dataclass(frozen=True, slots=True)
class Rebuild:
    """The rebuild after a change of packages, step by step."""

    packages: tuple[str, ...]
    """The packages that were asked for."""
    total: int
    steps: tuple[Step, ...]
    """Some of the steps."""
    step_count: int
    """The number of all steps."""
    offset: int
    """The number of steps before the first one in ``steps``."""
    is_single: bool
    """True if one step was asked for, which is listed at length."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A dependency of a package."""

    package: str
    dependency: str


@dataclass(frozen=True, slots=True)
class Path:
    """A shortest path by which one package needs another; empty without a path."""

    start: str
    goal: str
    packages: tuple[str, ...]
    """The part of the path from ``offset`` on."""
    is_reversed: bool
    """True if only the goal needs the start."""
    total: int = 0
    """The number of packages on the whole path."""
    offset: int = 0
    cut_packages: Listing = Listing(0, ())
    """The packages between the ends that are on every path, each of which alone cuts all of them."""
    cut_edges: tuple[Edge, ...] = ()
    """Some of the dependencies that are on every path."""
    cut_edge_total: int = 0
    graph: Graph | None = None


@dataclass(frozen=True, slots=True)
class CyclicGroup:
    """Packages that all need each other, and a few dependencies without which they would not."""

    number: int
    """Its place among the groups, from 1: the larger ones come first."""
    packages: Listing
    breaking: tuple[Edge, ...]
    """The part of them from the same offset on as of the packages."""
    breaking_total: int
    graph: Graph | None = None

    @property
    def more_breaking(self) -> int:
        """The number of dependencies behind the part."""
        return self.breaking_total - self.packages.offset - len(self.breaking)


@dataclass(frozen=True, slots=True)
class Cycles:
    """The answer of the cycles page."""

    total: int
    groups: tuple[CyclicGroup, ...]
    offset: int
    is_single: bool
    """True if one group was asked for, which is listed at length."""


@dataclass(frozen=True, slots=True)
class LatestChanges:
    """The latest changes, the newest first."""

    changes: tuple[Change, ...]
    since: int
    """The batch after which all changes are listed, or could be with a larger ``limit``; older ones are not known."""
    total: int
    """The number of changes that were asked for and are known."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The names that match a query, the best first: by how well they fit, and by how many packages need them."""

    query: str
    hits: tuple[Needed, ...]
    total: int | None
    """The number of matches; None while they are counted."""
    offset: int
    """The number of matches before these."""
    similar: tuple[Needed, ...] | None
    """Names that differ little from the query, if nothing matches; None while they are looked for."""
