# pyright: strict
"""Samples of the public API as a consumer writes it, with the types that a type checker must see.

mypy (strict) and pyright (strict) both check this file, and test_api.py runs it.
"""

import copy
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import assert_type

import pytest

import scoop_core
from scoop_core import (
    Authors,
    BlockedByDependents,
    BlockedSet,
    Changes,
    ClientConnection,
    ClientConnectionState,
    ClosesCycle,
    Command,
    Connection,
    ConnectionState,
    CriticalPath,
    CycleSearch,
    DependencyGraph,
    DumpError,
    FileReport,
    FormatError,
    GraphEvent,
    HistoryError,
    HistoryGone,
    IndexedGraph,
    InvalidName,
    JournalReader,
    LimitExceeded,
    LoggedBatch,
    LoggedChange,
    MalformedRequest,
    MissingDependencies,
    NotIndexed,
    Observer,
    PackageChange,
    PackageName,
    PartialResponses,
    PeerViolation,
    Plan,
    Position,
    ProtocolError,
    QueuedText,
    RecoveredState,
    Refusal,
    Request,
    RequestRefused,
    Response,
    Scheduler,
    ScoopError,
    Seal,
    SearchQueue,
    SearchTooLong,
    Tally,
    Trail,
    TrailFiles,
    Transaction,
    TranscriptError,
    UnknownPackage,
    UnreadableFile,
    critical_path,
    decode_dot,
    decode_dump,
    decode_graphml,
    decode_node_link,
    decode_snapshot,
    elementary_cycles,
    encode_dot,
    encode_dump,
    encode_graphml,
    encode_mermaid,
    encode_node_link,
    encode_request,
    encode_response,
    encode_snapshot,
    feedback_edges,
    parse_name,
    parse_names,
    parse_request,
    parse_response,
    transitive_reduction,
)


def sample_messages() -> None:
    assert_type(parse_name("gmp"), PackageName)
    assert_type(parse_names("gmp,isl"), tuple[PackageName, ...])
    request = parse_request("INDEX|isl|gmp")
    assert_type(request, Request)
    assert_type(request.command, Command)
    assert_type(request.package, PackageName)
    assert_type(request.dependencies, tuple[PackageName, ...])
    command, package, dependencies = request
    assert request == Request(command, package, dependencies) == Request.of(Command.INDEX, "isl", ["gmp"])
    assert_type(encode_request(request), str)
    assert_type(encode_response(parse_response("OK")), str)
    limits: list[int] = [scoop_core.MAX_NAME_LENGTH, scoop_core.MAX_LINE_LENGTH, scoop_core.MAX_UNANSWERED]
    texts: list[str] = [scoop_core.NAME_CHARACTERS, scoop_core.ENCODING]
    version: int = scoop_core.SNAPSHOT_VERSION
    assert all([*limits, *texts, version])
    assert_type(scoop_core.__version__, str)


def sample_graph() -> None:
    mapping: Mapping[str, list[str]] = {"cloog": ["isl"], "isl": ["gmp"], "gmp": []}
    graph = DependencyGraph.from_mapping(mapping)
    assert_type(graph, DependencyGraph)
    assert_type(graph.copy(), DependencyGraph)
    assert_type(copy.copy(graph), DependencyGraph)
    assert_type(graph.index("mpfr", ("gmp",)), Response)
    assert_type(graph.index("mpfr", {"gmp": 1}), Response)
    assert_type(graph.remove("mpfr"), Response)
    assert_type(graph.query("mpfr"), Response)
    assert_type(graph.apply(Request.of(Command.QUERY, "gmp")), Response)
    assert_type("gmp" in graph, bool)
    assert_type(len(graph), int)
    assert_type(iter(graph), Iterator[str])
    assert_type(graph.dependencies("isl"), tuple[str, ...])
    assert_type(graph.dependents("gmp"), tuple[str, ...])
    assert_type(graph.transitive_dependencies("cloog"), tuple[str, ...])
    assert_type(graph.transitive_dependents("gmp"), tuple[str, ...])
    assert_type(graph.find_path("cloog", "gmp"), tuple[str, ...])
    assert_type(graph.paths_to("gmp"), Mapping[str, tuple[str, ...]])
    assert_type(graph.shortest_paths("cloog", "gmp"), Iterator[tuple[str, ...]])
    assert_type(graph.cut_packages("cloog", "gmp"), tuple[str, ...])
    assert_type(graph.component_layers(["gmp", "isl"]), tuple[tuple[tuple[str, ...], ...], ...])
    assert_type(graph.topological_order(), tuple[str, ...])
    assert_type(graph.layers(), tuple[tuple[str, ...], ...])
    assert_type(graph.cyclic_components(), tuple[tuple[str, ...], ...])
    assert_type(graph.to_mapping(), Mapping[str, tuple[str, ...]])
    assert_type(graph.strongly_connected_components(), tuple[tuple[str, ...], ...])
    assert_type(graph.dependency_count("gmp") + graph.dependent_count("gmp") + graph.edge_count(), int)
    assert_type(graph.edges(), Iterator[tuple[str, str]])
    assert_type(graph.subgraph(["gmp", "isl"]), DependencyGraph)
    assert_type(graph.explain_removal(["gmp", "isl"]), BlockedSet | None)
    assert_type(graph.removal_requests("cloog"), tuple[Request, ...])
    assert_type(graph.dependents_by_package(), Mapping[str, tuple[str, ...]])
    assert_type(graph.missing_dependencies("gcc", ["mpc"]), tuple[str, ...])
    assert_type(graph.blocking_dependents("gmp"), tuple[str, ...])
    assert_type(graph.find_closed_cycle("gmp", ["isl"]), tuple[str, ...])
    assert_type(graph.diff(DependencyGraph(reject_cycles=True)), tuple[Request, ...])
    assert_type(graph.to_requests(), tuple[Request, ...])
    assert_type(graph.to_lines(), Iterator[str])
    assert_type(decode_snapshot(b"".join(encode_snapshot(graph)), reject_cycles=True), DependencyGraph)
    assert DependencyGraph.from_requests(graph.to_requests()) == DependencyGraph.from_lines(graph.to_lines())
    changes = Changes()
    assert_type(graph.apply_lines("INDEX|gcc|gmp\n", changes), str)
    tally = Tally()
    assert_type(graph.apply_lines("INDEX|gcc|gmp\n", tally=tally), str)
    for counted in tally:
        assert_type(counted, tuple[str, Response, int])
    assert_type(changes.lines, list[str])
    assert_type(changes.previous, list[str | None])
    assert_type(changes.entries, tuple[PackageChange, ...])
    graph.undo(changes)
    assert_type(graph.add_dependency("isl", "cloog", changes), Response)
    assert_type(graph.remove_dependency("isl", "cloog"), Response)
    with graph.transaction() as transaction:
        assert_type(transaction, Transaction)
        transaction.index("mpc", ["gmp"])
        transaction.remove("mpc")
    assert_type(transaction.changes, Changes)


def sample_search_in_steps() -> None:
    graph = DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []}, reject_cycles=True)
    part = graph.apply_lines_within(0, "INDEX|gmp|isl\n")
    assert_type(part, PartialResponses)
    assert_type(part.responses, str)
    assert_type(part.rest, str)
    assert_type(part.cost, int)
    assert_type(part.search, CycleSearch | None)
    assert part.search is not None
    assert_type(part.search.step(10), bool | None)
    assert_type(part.search.result, bool | None)
    assert_type(part.search.cost, int)
    assert_type(part.search.restarts, int)
    queue = SearchQueue[int](slice_visits=10)
    assert_type(taken := queue.add([(7, "INDEX|gmp|isl\n")]), list[QueuedText[int]])
    assert_type(queue.settle(taken, [part]), list[tuple[int, str, str | None]])
    assert (queue.is_pending, [each.client for each in queue.advance()]) == (True, [7])


def sample_indexed_graph() -> None:
    graph = IndexedGraph.from_graph(DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []}))
    assert_type(graph, IndexedGraph)
    assert_type(IndexedGraph.from_mapping({"gmp": []}), IndexedGraph)
    events: list[GraphEvent] = []
    observer: Observer = events.append
    unsubscribe = graph.subscribe(observer)
    assert graph.index("gmp", [])
    assert graph.remove("isl")
    unsubscribe()
    assert_type(events[0].changes[0], PackageChange)
    assert (events[0].call, *events[0].changes[0]) == ("remove", "isl", ("gmp",), None)
    with Scheduler(graph, packages=["gmp"]) as scheduler:
        assert_type(scheduler.get_ready(), tuple[str, ...])
        scheduler.done("gmp")
        assert_type(scheduler.is_active(), bool)


def sample_analysis() -> None:
    graph = IndexedGraph.from_mapping({"cloog": ["isl", "gmp"], "isl": ["gmp", "isl"], "gmp": []})
    assert_type(elementary_cycles(graph), Iterator[tuple[str, ...]])
    assert_type(feedback_edges(graph), tuple[tuple[str, str], ...])
    assert_type(transitive_reduction(graph), IndexedGraph)
    path = critical_path(graph, {"gmp": 1, "isl": 2.5}, default=0.5)
    assert_type(path, CriticalPath)
    assert path == (("gmp", "isl", "cloog"), 4.0)


def sample_formats() -> None:
    graph = DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []})
    for pieces in (encode_dot(graph), encode_graphml(graph), encode_mermaid(graph), encode_node_link(graph)):
        assert_type(pieces, Iterator[str])
    assert_type(decode_dot("".join(encode_dot(graph))), DependencyGraph)
    assert graph == decode_graphml(encode_graphml(graph)) == decode_node_link(list(encode_node_link(graph)))
    assert_type(encode_dump(graph), Iterator[bytes])
    assert_type(decode_dump(encode_dump(graph), reject_cycles=True), DependencyGraph)
    assert graph == decode_dump(b"".join(encode_dump(graph)))


def sample_plan() -> None:
    plan = Plan(DependencyGraph.from_mapping({"cloog": ["isl"], "isl": ["gmp"], "gmp": []}))
    plan.remove("cloog")
    plan.index("isl", ["mpc"])
    assert_type(plan.missing_dependencies(), Mapping[str, tuple[str, ...]])
    assert_type(plan.broken(), tuple[str, ...])
    assert plan.orphans(keep=["mpc"]) == ("gmp",)
    plan.index("mpc")
    assert plan.rebuilt() == ("mpc", "isl")
    assert_type(plan.to_graph(), DependencyGraph)


def sample_journal() -> None:
    header, start = scoop_core.encode_journal_header(1, after=scoop_core.NO_BATCH)
    assert_type(header, bytes)
    assert_type(start, Seal)
    authors: Authors = [(0, "CN=builder")]
    batch, end = scoop_core.encode_batch(
        ["INDEX|gmp|"], after=start, synced=0, journal=start.checksum, time=1_764_668_400_123, authors=authors
    )
    reader = JournalReader(header + batch)
    assert_type(list(reader), list[str])
    assert_type(reader.generation + reader.sealed_bytes + reader.unsealed_bytes + end.number, int)
    version: int = scoop_core.JOURNAL_VERSION
    assert (reader.after, reader.head, version) == (scoop_core.NO_BATCH, end, 2)
    assert reader.authors == ((0, "CN=builder"),)
    [change] = LoggedBatch("INDEX|gmp|\n", end, reader.authors).changes("gmp", "CN=builder")
    assert_type(change, LoggedChange)
    assert_type(change.time, datetime)
    assert (change.identity, change.package, change.request.package) == ("CN=builder", "gmp", "gmp")
    assert_type(change.to_json(), str)
    moment = scoop_core.Moment(batch=1)
    assert (moment.includes(end), moment.is_after(end), scoop_core.Moment(time=0).is_after(end)) == (True, True, False)
    assert (scoop_core.format_time(0)[:4], scoop_core.parse_duration("2h")) == ("1970", 7_200.0)
    again = JournalReader(header + batch, generation=1, after=scoop_core.NO_BATCH)
    assert_type(again.apply_to(DependencyGraph()), int)
    assert (again.sealed, again.unsealed_reason[:7]) == (header + batch, "batch 2")
    files: TrailFiles = scoop_core.ArchivedFiles({"journal-1": header + batch})
    assert len(files.read("journal", 1, length=scoop_core.JOURNAL_HEADER_BYTES_MAX)) > len(header)
    trail = Trail(files)
    assert_type(list(trail.batches(scoop_core.BEGINNING)), list[LoggedBatch])
    assert_type(trail.position, Position | None)
    with pytest.raises(HistoryGone):
        list(trail.batches(scoop_core.Moment(batch=2)))
    with pytest.raises(HistoryError):  # without a snapshot
        assert_type(trail.graph_at(scoop_core.END), DependencyGraph)
    with pytest.raises(UnreadableFile):
        assert_type(trail.recover(), RecoveredState | None)
    assert_type(list(scoop_core.verify_files(files)), list[FileReport])
    assert [each.verdict for each in scoop_core.verify_files(files)] == [scoop_core.Verdict.INTACT]


class AuditedGraph(DependencyGraph):
    """A consumer's own kind of graph, which the constructors return."""


def sample_subclass() -> None:
    graph = AuditedGraph.from_mapping({"gmp": ()})
    assert_type(graph, AuditedGraph)
    assert_type(graph.copy(), AuditedGraph)
    assert_type(AuditedGraph.from_lists(["gmp"], [""]), AuditedGraph)
    assert type(copy.copy(graph)) is AuditedGraph


def say_why(refusal: Refusal) -> str:
    match refusal:
        case MissingDependencies(package, missing):
            return f"{package} misses {len(missing)}"
        case BlockedByDependents(package, dependents):
            return f"{package} is needed by {dependents[0]}"
        case BlockedSet(packages, dependents):
            return f"{packages[0]} and others are needed by {dependents[0]}"
        case ClosesCycle(cycle=cycle):
            return "-".join(cycle)
        case SearchTooLong(limit=limit):
            return f"more than {limit}"
        case NotIndexed(package):
            return package


def sample_explanations() -> None:
    graph = DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []}, add_missing=False, reject_cycles=True)
    assert_type(graph.explain(Request.of(Command.QUERY, "gmp")), Refusal | None)
    lines = ["INDEX|gcc|mpc", "REMOVE|gmp|", "INDEX|gmp|isl", "QUERY|gcc|", "QUERY|gmp|"]
    refusals = [graph.explain(parse_request(line)) for line in lines]
    said = [say_why(refusal) for refusal in refusals if refusal]
    assert said == [
        "gcc misses 1",
        "gmp is needed by isl",
        "gmp-isl-gmp",
        "gcc",
    ]


def sample_addresses() -> None:
    address: scoop_core.Address = scoop_core.parse_address("tls:[::1]:8443", port_min=0)
    assert_type(address.is_tls, bool)
    assert isinstance(address, scoop_core.InternetAddress)
    assert not isinstance(address, scoop_core.UnixAddress)
    assert scoop_core.parse_host_and_port(scoop_core.format_host_and_port(address.host, 1)) == (address.host, 1)


def sample_access() -> None:
    def number_of(kind: str, name: str) -> int:
        return {("user", "ci"): 1_000}[kind, name]

    identity = scoop_core.resolve_identity("user=ci", number_of)
    role = scoop_core.AccessRole("ci", [identity, scoop_core.ANONYMOUS], [Command.QUERY], packages=["lib*"])
    assert_type(scoop_core.AccessRules((role,), digest="").role_of([identity]), scoop_core.AccessRole | None)
    screen: scoop_core.Screen = role.screen or scoop_core.reject_changes
    marked, count = screen("INDEX|liba|\n")
    assert (count, scoop_core.rejection_reason(marked, role.name)) == (1, "role ci does not permit this")
    assert not scoop_core.has_change(marked)
    assert not scoop_core.is_http_request(marked)
    with pytest.raises(scoop_core.AccessError) as caught:
        scoop_core.AccessRules.from_mapping({"roles": []}, number_of)
    assert (caught.value.key, caught.value.number) == ("roles", 1)


def sample_connections() -> None:
    server, client = Connection(max_line_length=1_000), ClientConnection(max_line_length=1_000, max_unanswered=10)
    assert_type(client.send(Request.of(Command.QUERY, "gmp")), bytes)
    assert_type(server.receive(b"QUERY|gmp|\n"), str)
    assert_type(server.receive_requests(b"QUERY|gmp|\n"), list[Request | MalformedRequest])
    assert_type(client.unanswered, tuple[Request, ...])
    assert_type(client.unanswered_count, int)
    assert_type(server.incomplete_line_number, int)
    assert_type(server.incomplete_bytes, int)
    assert_type(client.receive(b"FAIL\n"), list[tuple[Request, Response]])
    server.receive_end()
    client.receive_end()
    server_state: ConnectionState = server.state
    client_state: ClientConnectionState = client.state
    assert (server_state, client_state) == (ConnectionState.ENDED, ClientConnectionState.ENDED)


def describe(error: ScoopError) -> tuple[object, ...]:
    match error:
        case PeerViolation():
            assert_type(error.answered, tuple[tuple[Request, Response], ...])
            return (error.text, error.reason)
        case InvalidName() | ProtocolError():
            assert_type(error.column, int)
            return (error.text, error.reason, error.column)
        case LimitExceeded():
            return (error.actual, error.limit, error.unit)
        case UnknownPackage():
            return (error.package,)
        case RequestRefused():
            assert_type(error.refusal, Refusal)
            return (error.refusal,)
        case FormatError():
            return (error.reason,)
        case DumpError():
            return (error.line, error.reason)
        case TranscriptError():
            return (error.offset, error.reason)
        case _:
            return ()


def sample_errors() -> None:
    with pytest.raises(ScoopError) as malformed:
        parse_request("INDEX|emacs elisp|")
    assert describe(malformed.value) == ("INDEX|emacs elisp|", "invalid space at column 12 of the line", 12)
    with pytest.raises(ScoopError) as misread:
        decode_dot("graph {}")
    assert describe(misread.value) == ("expected 'digraph', got 'graph'",)
    with pytest.raises(KeyError) as unknown:
        DependencyGraph().find_path("gmp", "isl")
    assert isinstance(unknown.value, UnknownPackage)
    assert describe(unknown.value) == ("gmp",)
