"""The benchmark runs, and tells of what has really happened. Nothing here is about how fast anything is."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import pytest

from bench import report
from bench.load_generator import REDIS, SCOOP, Address, Block, Load, LoadError, connected, make_blocks
from bench.measurements import Shape
from bench.plot import Series, line_chart
from bench.servers import FloorPeer, Peer, Processors, RedisPeer, ScoopPeer, find_redis
from bench.size import sizes_up_to
from bench.workloads import (
    HOMEBREW,
    MIX_PER_CENT,
    WORKLOADS,
    Answer,
    Packages,
    Workload,
    mix,
    random_packages,
    read_packages,
)
from scoop_core import Changes, DependencyGraph

ROOT: Final = Path(__file__).parents[1]
SCOOP_COMMAND: Final = (sys.executable, "-m", "scoop_server")
WAIT_SECONDS: Final = 120.0
CHARTS: Final = ("depths", "clients", "size-index", "size-query")
NO_PINS: Final = Processors(None, None)

needs_redis: Final = pytest.mark.skipif(find_redis() is None, reason="redis-server is not installed")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmark needs epoll and /proc")


def bench_command(output: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "bench", "--quick", "--output", str(output), *arguments]


def environment_of(output: Path, path: str = os.environ["PATH"]) -> dict[str, str]:
    """Return the environment of a run, by which all processes that it has started can be found."""
    return {**os.environ, "PATH": path, "BENCH_OUTPUT": str(output)}


def run_bench(output: Path, *arguments: str, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    finished = subprocess.run(
        bench_command(output, *arguments),
        cwd=ROOT,
        env=environment_of(output, path),
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert processes_of(output) == []
    assert list(output.glob("servers-*")) == []
    return finished


def processes_of(output: Path) -> list[int]:
    """Return the processes of a run that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = path.read_bytes().split(b"\0")
        except OSError:  # it has just ended, or is not ours
            continue
        if f"BENCH_OUTPUT={output}".encode() in variables:
            found.append(int(path.parent.name))
    return found


def results_of(output: Path) -> Any:
    return json.loads((output / "results.json").read_text())


# The command


def test_every_section_runs_and_leaves_its_results_and_nothing_else(tmp_path: Path) -> None:
    finished = run_bench(tmp_path, "--peers", "scoop,scoop-memory,floor")
    assert finished.returncode == 0, finished.stderr
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"results.txt", "results.json"} | {f"{name}.svg" for name in CHARTS}
    assert finished.stdout.endswith(report.LEGEND + "\n")
    assert (tmp_path / "results.txt").read_text().endswith(report.LEGEND + "\n")
    for chart in tmp_path.glob("*.svg"):
        assert len(lines_of(chart.read_text())) >= 4

    data = results_of(tmp_path)
    peers = ["scoop", "scoop-memory", "floor"]
    assert [(each["shape"]["workload"], each["peer"]) for each in data["loads"]] == [
        (workload, peer) for workload in ("cycle", "mix") for peer in peers
    ]
    for result in [*data["loads"], *data["depths"], *data["clients"], *data["idle"], *data["size"]["queries"]]:
        for figures in result["rounds"]:
            assert figures["answers_per_second"] > 0
            assert figures["cpu_us_per_message"] > 0
            assert 0 < figures["p50_us"] <= figures["p99_us"] <= figures["p999_us"] <= figures["max_us"]
        assert 0 < result["resident_bytes"] <= result["peak_bytes"]
    assert {each["idle_clients"] for each in data["idle"]} == {0, 20}
    assert {(each["peer"], each["package_count"]) for each in data["start"]} == {
        *((peer, 0) for peer in peers),
        ("scoop", 200),
    }
    growths = {each["peer"]: each for each in data["size"]["growths"]}
    assert growths.keys() == {"scoop", "scoop-memory"}
    assert [size for size, _ in growths["scoop"]["segments"]] == sizes_up_to(2_000)
    assert min(growths["scoop"]["restart"].values()) > 0
    assert growths["scoop-memory"]["restart"] is None
    for turns in data["turns"]:
        assert turns["report"]["turns"] >= 2_000 / 100
        longest, grown = turns["report"]["longest"], turns["report"]["longest_with_table_growth"]
        assert longest
        assert grown  # an index that fills up grows its tables
        assert max(longest[0]["seconds"], grown[0]["seconds"]) == turns["report"]["seconds"]["max"]
    assert data["goals"]


def test_another_server_is_measured_in_alternation(tmp_path: Path) -> None:
    other = f"other={' '.join(SCOOP_COMMAND)} --max-line 1000"
    finished = run_bench(
        tmp_path, "loads", "--rows", "2/3/query", "--rounds", "3", "--peers", "scoop", "--server", other
    )
    assert finished.returncode == 0, finished.stderr
    data = results_of(tmp_path)
    assert [(each["peer"], len(each["rounds"])) for each in data["loads"]] == [("scoop", 3), ("other", 3)]


@needs_redis
def test_redis_is_measured_where_it_is_installed(tmp_path: Path) -> None:
    finished = run_bench(tmp_path, "loads", "size", "--peers", "redis,redis-aof")
    assert finished.returncode == 0, finished.stderr
    data = results_of(tmp_path)
    assert {each["peer"] for each in data["loads"]} == {"redis", "redis-aof"}
    assert {each["peer"] for each in data["size"]["growths"]} == {"redis", "redis-aof"}


def test_it_says_so_where_redis_is_not_installed(tmp_path: Path) -> None:
    finished = run_bench(tmp_path, "loads", "--rows", "1/1/query", "--peers", "floor,redis", path=str(tmp_path))
    assert finished.returncode == 0, finished.stderr
    assert "redis-server is not installed" in finished.stdout
    assert {each["peer"] for each in results_of(tmp_path)["loads"]} == {"floor"}


def test_a_server_that_does_not_start_ends_the_run_with_its_own_words(tmp_path: Path) -> None:
    broken = f"broken={' '.join(SCOOP_COMMAND)} --no-such-option"
    finished = run_bench(tmp_path, "loads", "--peers", "floor", "--server", broken)
    assert finished.returncode == 1
    assert "has ended with status 2 instead of starting\n" in finished.stderr
    assert "--no-such-option" in finished.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-section"],
        ["--peers", "scoop,memcached"],
        ["--rows", "1/1/delete"],
        ["--rows", "0/1/query"],
        ["--rounds", "0"],
        ["--server", "python -m scoop_server"],
    ],
)
def test_what_cannot_be_measured_is_refused(tmp_path: Path, arguments: list[str]) -> None:
    finished = run_bench(tmp_path / "output", *arguments)
    assert finished.returncode == 2
    assert not (tmp_path / "output").exists()


def test_ended_by_a_signal_it_ends_its_servers(tmp_path: Path) -> None:
    arguments = ("loads", "--rows", "1/1/query", "--peers", "scoop,floor", "--seconds", "1000")
    with subprocess.Popen(bench_command(tmp_path, *arguments), cwd=ROOT, env=environment_of(tmp_path)) as process:
        deadline = time.monotonic() + WAIT_SECONDS
        while sum("listening" in log.read_text() for log in tmp_path.glob("servers-*/server-*/log")) < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)  # a file says nothing of itself
        assert len(processes_of(tmp_path)) == 3
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(WAIT_SECONDS) == 128 + signal.SIGTERM
        finally:
            process.kill()
    assert processes_of(tmp_path) == []
    assert list(tmp_path.glob("servers-*")) == []


# The load generator

PEERS: Final = (
    ScoopPeer("scoop", SCOOP_COMMAND, keeps_changes=True),
    ScoopPeer("scoop-memory", SCOOP_COMMAND, keeps_changes=False),
    pytest.param(RedisPeer("redis"), marks=needs_redis),
    pytest.param(RedisPeer("redis-aof", keeps_changes=True), marks=needs_redis),
)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_every_peer_answers_a_mix_as_the_rules_say(peer: Peer, tmp_path: Path) -> None:
    workload = mix(read_packages(HOMEBREW, 100))
    workload = replace(workload, lines=workload.lines[:5_000], is_cycle=True)  # so that it is sent as a whole
    graph = DependencyGraph()
    graph.apply_lines("".join(f"{line}\n" for line in workload.preparation), Changes())
    expected = Counter(graph.apply_lines("".join(f"{line}\n" for line in workload.lines), Changes()).split())
    with peer.running(tmp_path, NO_PINS) as server, connected(server.address, 1, peer.dialect) as client:
        client.run_once(iter(make_blocks(workload.preparation, 100, peer.dialect)))
        blocks = make_blocks(workload.lines, 100, peer.dialect)
        load = client.run(workload, blocks, 0)
        assert server.cpu_seconds() > 0
    assert load.answers == expected
    assert load.messages == len(workload.lines)
    assert len(load.latencies) == len(blocks)


def test_whoever_answers_otherwise_is_not_measured(tmp_path: Path) -> None:
    workload = Workload("query", ["QUERY|a|"], [], frozenset({Answer.FAIL}))
    blocks = make_blocks(workload.lines, 1, SCOOP)
    with (
        FloorPeer("floor").running(tmp_path, NO_PINS) as server,
        connected(server.address, 1, SCOOP) as client,
        pytest.raises(LoadError, match=r"messages were answered [0-9]+ OK"),
    ):
        client.run(workload, blocks, 0)


@contextmanager
def server_that_answers(*answers: bytes) -> Iterator[Address]:
    """Serve one client: these answers, each to something, and then the end."""

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            for answer in answers:
                client.recv(1_000)
                client.sendall(answer)
            client.shutdown(socket.SHUT_WR)
            while client.recv(1_000):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()
        thread.join(WAIT_SECONDS)


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([b"OK\n", b"OK\nOK\nOK\n"], "answered what it was not asked"),
        ([b"OK\n", b"OK\n"], "closed a connection"),
        ([b"OK\n"], "closed a connection"),
        ([b"OK\n", b"OK\nNO\n"], "2 messages were answered 1 OK"),
    ],
    ids=["one answer too many", "one too few", "none", "an unknown one"],
)
def test_whoever_breaks_the_protocol_is_not_measured(answers: list[bytes], reason: str) -> None:
    blocks = make_blocks(["QUERY|a|", "QUERY|b|"], 2, SCOOP)
    with (
        server_that_answers(*answers) as address,
        connected(address, 1, SCOOP) as client,
        pytest.raises(LoadError, match=reason),
    ):
        client.run_once(iter(blocks))


def test_whoever_is_not_let_in_is_not_measured() -> None:
    refused = pytest.raises(LoadError, match="closed the connection of a client that asks")
    with server_that_answers() as address, refused, connected(address, 1, SCOOP):
        pass


def test_a_block_of_bytes_has_as_many_messages_as_the_depth_says() -> None:
    lines = ["INDEX|a|b,c", "QUERY|a|", "REMOVE|a|", "BLINDEX|a|", "QUERY|b|"]
    assert make_blocks(lines, 2, SCOOP) == [
        Block(b"INDEX|a|b,c\nQUERY|a|\n", 2),
        Block(b"REMOVE|a|\nBLINDEX|a|\n", 2),
        Block(b"QUERY|b|\n", 1),
    ]
    [index, query, remove, broken, _] = make_blocks(lines, 1, REDIS)
    assert index.data == b"*5\r\n$5\r\nFCALL\r\n$13\r\nindex_package\r\n$1\r\n1\r\n$1\r\na\r\n$3\r\nb,c\r\n"
    assert query.data == b"*3\r\n$7\r\nHEXISTS\r\n$12\r\ndependencies\r\n$1\r\na\r\n"
    assert remove.data == b"*4\r\n$5\r\nFCALL\r\n$14\r\nremove_package\r\n$1\r\n1\r\n$1\r\na\r\n"
    assert broken.data == b"*2\r\n$7\r\nBLINDEX\r\n$1\r\na\r\n"


def test_a_percentile_is_what_so_many_did_not_exceed() -> None:
    load = Load(1_000, 1.0, 1.0, [float(number) for number in range(1, 1_001)], Counter())
    assert [load.latency(share) for share in (0.5, 0.99, 0.999, 1)] == [500, 990, 999, 1_000]
    assert Load(1, 1.0, 1.0, [7.0], Counter()).latency(0.5) == 7


# The workloads


@pytest.mark.parametrize("packages", [read_packages(HOMEBREW), random_packages(500)], ids=["real", "random"])
def test_workloads_are_answered_as_they_say(packages: Packages) -> None:
    for name, make in WORKLOADS.items():
        workload = make(packages)
        assert workload.name == name
        graph = DependencyGraph()
        for lines, possible in ((workload.preparation, {Answer.OK}), (workload.lines, workload.answers)):
            answers = graph.apply_lines("".join(f"{line}\n" for line in lines), Changes()).split()
            assert set(answers) <= possible
        assert len(graph) == 0 if workload.is_cycle else len(graph) > 0


def test_the_first_packages_of_a_list_are_the_ones_that_they_depend_on_too(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("a: c b\nb: d\nc: d d\n")
    assert list(read_packages(path).items()) == [("d", ()), ("c", ("d",)), ("b", ("d",)), ("a", ("c", "b"))]
    assert list(read_packages(path, 2)) == ["d", "c"]
    path.write_text("a: b\nb: a\n")
    with pytest.raises(ValueError, match="depends on itself"):
        read_packages(path)


def test_random_packages_depend_on_so_many_others() -> None:
    packages = random_packages(300)
    assert [len(set(names)) for names in packages.values()] == [min(5, number) for number in range(300)]
    assert packages == random_packages(300)


def test_the_mix_is_mixed_as_it_says() -> None:
    commands = Counter(line.partition("|")[0] for line in mix(random_packages(300)).lines)
    commands["broken"] = commands.pop("BLINDEX")
    assert {name: round(count / commands.total() * 100) for name, count in commands.items()} == MIX_PER_CENT


def test_a_growing_index_is_looked_at_in_tenths_and_powers_of_ten() -> None:
    assert sizes_up_to(1_000_000) == [1_000, 10_000, *range(100_000, 1_000_001, 100_000)]


def test_a_shape_is_spelled_as_it_is_read() -> None:
    assert str(Shape.parse("50/16/query")) == "50/16/query"


# The charts


def lines_of(chart: str) -> list[ET.Element]:
    """Return the lines of the series of a chart, which must be well-formed."""
    return ET.fromstring(chart).findall("{http://www.w3.org/2000/svg}polyline")


def test_a_chart_has_a_line_for_each_series_in_its_place() -> None:
    chart = line_chart(
        "A & B",
        "<subtitle>",
        "x",
        "y",
        [Series("rising", [(1, 10), (10, 100), (100, 1_000)]), Series("level", [(1, 100), (100, 100)], is_dashed=True)],
    )
    rising, level = ([pair.split(",") for pair in line.attrib["points"].split()] for line in lines_of(chart))
    assert rising == [["80.0", "420.0"], ["370.0", "240.0"], ["660.0", "60.0"]]  # y counts downwards
    assert level == [["80.0", "240.0"], ["660.0", "240.0"]]
    texts = {text.text for text in ET.fromstring(chart).iter("{http://www.w3.org/2000/svg}text")}
    assert texts >= {"A & B", "<subtitle>", "x", "y", "rising", "level", "10", "100", "1k"}


def test_a_chart_of_a_single_point_has_room_for_it() -> None:
    assert len(lines_of(line_chart("", "", "", "", [Series("one", [(1, 5)])]))) == 1
