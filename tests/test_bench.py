"""The benchmark measures only servers that answer correctly, and reports only what it measured."""

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

from bench import command_line, report
from bench.load_generator import REDIS, SCOOP, Address, Block, Load, LoadError, connected, make_blocks
from bench.plot import Series, line_chart
from bench.servers import Peer, Processors, RedisPeer, ScoopPeer, find_redis
from bench.size import sizes_up_to
from bench.workloads import HOMEBREW, WORKLOADS, Answer, mix, read_packages
from scoop_core import Changes, DependencyGraph

from tests.support.pages import ROOT
from tests.support.process import MODULE_COMMAND, WAIT_SECONDS, processes_with

CHARTS: Final = ("depths", "clients", "size-index", "size-query")

needs_redis: Final = pytest.mark.skipif(find_redis() is None, reason="redis-server is not installed")
pytestmark = [
    pytest.mark.any_python,
    pytest.mark.skipif(sys.platform != "linux", reason="the benchmark needs epoll and /proc"),
]


# The command


def bench_command(output: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "bench", "--quick", "--output", str(output), *arguments]


def environment_of(output: Path) -> dict[str, str]:
    """Return the environment of a run, which marks every process that the run starts."""
    return {**os.environ, "BENCH_OUTPUT": str(output)}


def results_of_run(output: Path, *arguments: str) -> Any:
    """Run the benchmark to its end; return the results."""
    command = bench_command(output, *arguments)
    environment = environment_of(output)
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(report.LEGEND + "\n")
    assert processes_of(output) == []
    assert list(output.glob("servers-*")) == []
    return json.loads((output / "results.json").read_text())


def processes_of(output: Path) -> list[int]:
    """Return the processes of a run that have not ended."""
    return processes_with(f"BENCH_OUTPUT={output}")


@pytest.mark.campaign
def test_every_section_measures_every_peer(tmp_path: Path) -> None:
    data = results_of_run(tmp_path, "--peers", "scoop,scoop-memory,floor")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"results.txt", "results.json"} | {f"{name}.svg" for name in CHARTS}
    for chart in tmp_path.glob("*.svg"):
        assert len(lines_of(chart.read_text())) >= 4
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
    assert {(each["peer"], each["package_count"]) for each in data["start"]} == {
        *((peer, 0) for peer in peers),
        ("scoop", 200),
    }
    growths = {each["peer"]: each for each in data["size"]["growths"]}
    assert [size for size, _ in growths["scoop"]["segments"]] == sizes_up_to(2_000)
    assert min(growths["scoop"]["restart"].values()) > 0
    assert growths["scoop-memory"]["restart"] is None
    for turns in data["turns"]:
        assert turns["report"]["longest_with_table_growth"]  # an index that grows copies its tables
    assert data["goals"]


@pytest.mark.campaign
@needs_redis
def test_redis_and_another_server_are_measured_in_alternation(tmp_path: Path) -> None:
    other = f"other={' '.join(MODULE_COMMAND)} --max-line 1000"
    arguments = ("loads", "--rows", "2/3/query", "--rounds", "3", "--peers", "scoop,redis", "--server", other)
    data = results_of_run(tmp_path, *arguments)
    assert [(each["peer"], len(each["rounds"])) for each in data["loads"]] == [
        (name, 3) for name in ("scoop", "other", "redis")
    ]


@pytest.mark.campaign
def test_a_signal_ends_the_run_and_its_servers(tmp_path: Path) -> None:
    arguments = ("loads", "--rows", "1/1/query", "--peers", "scoop,floor", "--seconds", "1000")
    with subprocess.Popen(bench_command(tmp_path, *arguments), cwd=ROOT, env=environment_of(tmp_path)) as process:
        deadline = time.monotonic() + WAIT_SECONDS
        while sum("listening" in log.read_text() for log in tmp_path.glob("servers-*/server-*/log")) < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)  # a file cannot be waited for
        assert len(processes_of(tmp_path)) == 3
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(WAIT_SECONDS) == 128 + signal.SIGTERM
        finally:
            process.kill()
    assert processes_of(tmp_path) == []
    assert list(tmp_path.glob("servers-*")) == []


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
def test_invalid_arguments_are_rejected(tmp_path: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command_line.main(["--output", str(tmp_path / "output"), *arguments])
    assert not (tmp_path / "output").exists()


# The load generator

PEERS: Final = (
    ScoopPeer("scoop", MODULE_COMMAND, keeps_changes=True),
    ScoopPeer("scoop-memory", MODULE_COMMAND, keeps_changes=False),
    pytest.param(RedisPeer("redis"), marks=needs_redis),
    pytest.param(RedisPeer("redis-aof", keeps_changes=True), marks=needs_redis),
)


@pytest.mark.campaign
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_every_peer_answers_a_mix_by_the_rules(peer: Peer, tmp_path: Path) -> None:
    workload = mix(read_packages(HOMEBREW, 100))
    workload = replace(workload, lines=workload.lines[:5_000], is_cycle=True)  # so that it is sent as a whole
    graph = DependencyGraph()
    graph.apply_lines("".join(f"{line}\n" for line in workload.preparation), Changes())
    expected = Counter(graph.apply_lines("".join(f"{line}\n" for line in workload.lines), Changes()).split())
    with (
        peer.running(tmp_path, Processors(None, None)) as server,
        connected(server.address, 1, peer.dialect) as client,
    ):
        client.run_once(iter(make_blocks(workload.preparation, 100, peer.dialect)))
        blocks = make_blocks(workload.lines, 100, peer.dialect)
        load = client.run(workload, blocks, 0)
        assert server.cpu_seconds() > 0
    assert load.answers == expected
    assert len(load.latencies) == len(blocks)


@contextmanager
def server_that_answers(*answers: bytes) -> Iterator[Address]:
    """Serve one client: send each of these responses after a read, and end the stream."""

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
        ([b"OK\n", b"OK\nOK\nOK\n"], "more responses than requests"),
        ([b"OK\n", b"OK\n"], "closed a connection"),
        ([b"OK\n", b"OK\nNO\n"], "2 messages were answered 1 OK"),
    ],
    ids=["one response too many", "one too few", "an unknown one"],
)
def test_a_server_that_breaks_the_protocol_is_not_measured(answers: list[bytes], reason: str) -> None:
    blocks = make_blocks(["QUERY|a|", "QUERY|b|"], 2, SCOOP)
    with (
        server_that_answers(*answers) as address,
        connected(address, 1, SCOOP) as client,
        pytest.raises(LoadError, match=reason),
    ):
        client.run_once(iter(blocks))


def test_a_block_holds_as_many_messages_as_the_depth() -> None:
    lines = ["INDEX|a|b,c", "QUERY|a|", "REMOVE|a|", "BLINDEX|a|", "QUERY|b|"]
    assert make_blocks(lines, 2, SCOOP) == [
        Block(b"INDEX|a|b,c\nQUERY|a|\n", 2),
        Block(b"REMOVE|a|\nBLINDEX|a|\n", 2),
        Block(b"QUERY|b|\n", 1),
    ]
    index = make_blocks(lines, 1, REDIS)[0]
    assert index.data == b"*5\r\n$5\r\nFCALL\r\n$13\r\nindex_package\r\n$1\r\n1\r\n$1\r\na\r\n$3\r\nb,c\r\n"


def test_a_percentile_is_a_measured_latency() -> None:
    load = Load(1_000, 1.0, 1.0, [float(number) for number in range(1, 1_001)], Counter())
    assert [load.latency(share) for share in (0.5, 0.99, 0.999, 1)] == [500, 990, 999, 1_000]
    assert Load(1, 1.0, 1.0, [7.0], Counter()).latency(0.5) == 7


# Workloads and charts


def test_workloads_declare_the_answers_that_they_get() -> None:
    for name, make in WORKLOADS.items():
        workload = make(read_packages(HOMEBREW, 500))
        assert workload.name == name
        graph = DependencyGraph()
        for lines, possible in ((workload.preparation, {Answer.OK}), (workload.lines, workload.answers)):
            answers = graph.apply_lines("".join(f"{line}\n" for line in lines), Changes()).split()
            assert set(answers) <= possible
        assert len(graph) == 0 if workload.is_cycle else len(graph) > 0


def lines_of(chart: str) -> list[ET.Element]:
    """Return the lines of the series of a chart."""
    return ET.fromstring(chart).findall("{http://www.w3.org/2000/svg}polyline")


def test_a_chart_has_one_line_per_series() -> None:
    rising, level = Series("rising", [(1, 10), (10, 100), (100, 1_000)]), Series("level", [(1, 100), (100, 100)])
    chart = line_chart("A & B", "<subtitle>", "x", "y", [rising, level])
    points = [[pair.split(",") for pair in line.attrib["points"].split()] for line in lines_of(chart)]
    assert points[0] == [["80.0", "420.0"], ["370.0", "240.0"], ["660.0", "60.0"]]  # y counts downwards
    assert points[1] == [["80.0", "240.0"], ["660.0", "240.0"]]
