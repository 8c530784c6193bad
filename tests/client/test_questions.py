"""Offline questions, and the sources that they accept."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scoop_core import DependencyGraph, decode_dot, decode_graphml, decode_node_link, encode_graphml, encode_snapshot

from scoop_client import InvalidInput
from scoop_client.inputs import read_graph

from tests.support.command import Scoop
from tests.support.process import WAIT_SECONDS, ServerProcess, run_to_end

GRAPH = DependencyGraph.from_mapping(
    {"gcc": ["isl", "mpfr"], "isl": ["gmp"], "mpfr": ["gmp"], "gmp": [], "a": ["b"], "b": ["a"]}
)
LIST = b"gcc: isl mpfr\nisl: gmp\nmpfr: gmp\na: b\nb: a\n"


@pytest.mark.parametrize(
    ("arguments", "status", "out", "value"),
    [
        (["why", "gcc", "gmp"], 0, "gcc -> isl -> gmp\n", {"path": ["gcc", "isl", "gmp"]}),
        (["why", "gmp", "gcc"], 1, "gmp does not depend on gcc\n", {"path": []}),
        (["needs", "gcc"], 0, "gmp\nisl\nmpfr\n", {"needs": ["gmp", "isl", "mpfr"]}),
        (["needs", "gcc", "--direct"], 0, "isl\nmpfr\n", {"needs": ["isl", "mpfr"]}),
        (["needs", "gmp"], 0, "", {"needs": []}),
        (["impact", "gmp"], 0, "isl\nmpfr\ngcc\n", {"impact": ["isl", "mpfr", "gcc"]}),
        (["impact", "gmp", "isl", "--direct"], 0, "gcc\nmpfr\n", {"impact": ["gcc", "mpfr"]}),
        (
            ["plan", "--remove", "gmp"],
            1,
            "breaks isl: gmp would be missing\nbreaks mpfr: gmp would be missing\nbreaks gcc\n",
            {"breaks": {"isl": ["gmp"], "mpfr": ["gmp"], "gcc": []}, "orphans": [], "rebuilds": []},
        ),
        (
            ["plan", "--remove", "gcc", "--keep", "isl", "--change", "gmp"],
            0,
            "orphan mpfr\nrebuild gmp\nrebuild isl\nrebuild mpfr\n",
            {"breaks": {}, "orphans": ["mpfr"], "rebuilds": ["gmp", "isl", "mpfr"]},
        ),
        (
            ["plan", "--index", "mpc: gmp, mpfr", "--index", "isl"],
            0,
            "rebuild isl\nrebuild gcc\nrebuild mpc\n",
            {"breaks": {}, "orphans": [], "rebuilds": ["isl", "gcc", "mpc"]},
        ),
        (["cycles"], 0, "a b\n", {"cycles": [["a", "b"]]}),
        (["order"], 0, "a\nb\ngmp\nisl\nmpfr\ngcc\n", {"order": ["a", "b", "gmp", "isl", "mpfr", "gcc"]}),
        (["layers"], 0, "a b gmp\nisl mpfr\ngcc\n", {"layers": [["a", "b", "gmp"], ["isl", "mpfr"], ["gcc"]]}),
    ],
)
def test_questions(scoop: Scoop, arguments: list[str], status: int, out: str, value: dict[str, object]) -> None:
    assert scoop(*arguments, "--from", "-", stdin=LIST) == (status, out, "")
    printed = json.loads(scoop(*arguments, "--from", "-", "--json", stdin=LIST).out)
    assert printed | value == printed


def test_stats(scoop: Scoop) -> None:
    lines = scoop("stats", "--from", "-", stdin=LIST).out.splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["packages", "6"],
        ["dependencies", "6"],
        ["layers", "3"],
        ["cyclic", "groups", "1"],
    ]
    value = json.loads(scoop("stats", "--from", "-", "--json", stdin=LIST).out)
    assert value["most_depended_on"]["gmp"] == 2


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["gcc"], ["gcc", "├── isl", "│   └── gmp", "└── mpfr", "    └── gmp"]),
        (["gcc", "--depth", "1"], ["gcc", "├── isl", "└── mpfr"]),
        (["gcc", "--depth", "0"], ["gcc"]),
        (["gmp", "--invert"], ["gmp", "├── isl", "│   └── gcc", "└── mpfr", "    └── gcc"]),
        (["a"], ["a", "└── b", "    └── a (*)"]),
        # Only a package whose branch has been shown is marked, not one at the limit of the depth.
        (["x", "--depth", "2"], ["x", "├── y", "│   └── z", "└── z", "    └── w"]),
        (["x"], ["x", "├── y", "│   └── z", "│       └── w", "└── z (*)"]),
    ],
)
def test_tree(scoop: Scoop, arguments: list[str], lines: list[str]) -> None:
    source = LIST + b"x: z y\ny: z\nz: w\n"
    assert scoop("tree", *arguments, "--from", "-", stdin=source) == (0, "".join(f"{line}\n" for line in lines), "")
    values = scoop("tree", *arguments, "--from", "-", "--json", stdin=source).json()
    found = [(line.count("    ") + line.count("│   ") + ("─" in line), line.split()[-1] == "(*)") for line in lines]
    assert [(value["depth"], value["repeated"]) for value in values if isinstance(value, dict)] == found


def test_a_tree_in_ascii(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(LIST)
    command = [sys.executable, "-m", "scoop_client.cli.main", "tree", "gcc", "--from", str(tmp_path / "list")]
    environment = {**os.environ, "PYTHONIOENCODING": "iso-8859-1"}
    done = subprocess.run(command, capture_output=True, env=environment, timeout=WAIT_SECONDS, check=True)
    assert done.stdout == b"gcc\n|-- isl\n|   `-- gmp\n`-- mpfr\n    `-- gmp\n"


@pytest.mark.parametrize(
    "arguments",
    [["plan"], ["plan", "--index", "a b"], ["tree", "a", "--depth", "-1"], ["tree", "a", "--depth", "x"]],
)
def test_a_question_that_is_not_understood(scoop: Scoop, arguments: list[str]) -> None:
    result = scoop(*arguments, "--from", "-", stdin=LIST)
    assert (result.status, result.out) == (2, "")


def test_diff(scoop: Scoop, tmp_path: Path) -> None:
    (tmp_path / "old").write_text("gmp\nisl: gmp\nmake\n")
    (tmp_path / "new").write_text("gmp\nisl: ppl\n")
    arguments = ("diff", str(tmp_path / "old"), str(tmp_path / "new"))
    assert scoop(*arguments) == (1, "+ ppl\n- make\n~ isl +ppl -gmp\n", "")
    assert json.loads(scoop(*arguments, "--json").out) == {
        "added": ["ppl"],
        "removed": ["make"],
        "changed": ["isl"],
        "requests": ["INDEX|ppl|", "INDEX|isl|ppl", "REMOVE|make|"],
    }
    assert scoop("diff", arguments[1], arguments[1]) == (0, "", "")
    assert scoop("diff", arguments[2], "--from", arguments[1]) == scoop(*arguments)
    for wrong in ((*arguments, "x"), (*arguments, "--from", "x"), ("diff", "-", "--from", "-")):
        result = scoop(*wrong)
        assert (result.status, result.out) == (2, "")


def from_lines(text: str) -> DependencyGraph:
    return DependencyGraph.from_lines(text.splitlines())


@pytest.mark.parametrize(
    ("form", "decode"),
    [("dot", decode_dot), ("graphml", decode_graphml), ("json", decode_node_link), ("lines", from_lines)],
)
def test_export(scoop: Scoop, form: str, decode: Callable[[str], DependencyGraph]) -> None:
    assert decode(scoop("export", "--format", form, "--from", "-", stdin=LIST).out) == GRAPH
    part = decode(scoop("export", "isl", "--format", form, "--from", "-", stdin=LIST).out)
    assert part.to_mapping() == {"isl": ("gmp",), "gmp": ()}
    [value] = scoop("export", "--json", "--from", "-", stdin=LIST).json()
    assert decode_node_link(json.dumps(value)) == GRAPH
    assert scoop("export", "--format", "mermaid", "--from", "-", stdin=LIST).out.startswith("flowchart")
    refused = scoop("export", "--format", "dot", "--json", "--from", "-", stdin=LIST)
    assert (refused.status, refused.out) == (2, "")


def test_an_unknown_package(scoop: Scoop) -> None:
    result = scoop("impact", "nothing", "--from", "-", stdin=LIST)
    assert result == (1, "", "scoop: package 'nothing' is not indexed\n")


class TestSources:
    def test_files_of_every_form(self, tmp_path: Path) -> None:
        forms = {
            "snapshot": b"".join(encode_snapshot(GRAPH)),
            "lines": "".join(f"{line}\n" for line in GRAPH.to_lines()).encode(),
            "unordered": "".join(f"{line}\n" for line in sorted(GRAPH.to_lines(), reverse=True)).encode(),
            "changes": ("".join(f"{line}\n" for line in GRAPH.to_lines()) + "INDEX|x|\nREMOVE|x|\n").encode(),
            "list": LIST,
            "mapping.json": json.dumps({name: list(names) for name, names in GRAPH.to_mapping().items()}).encode(),
        }
        for name, content in forms.items():
            (tmp_path / name).write_bytes(content)
            if name != "unordered":  # of a cycle's two lines the last one counts
                assert read_graph(str(tmp_path / name)) == GRAPH, name

    @pytest.mark.parametrize("form", ["dot", "graphml", "json", "lines"])
    def test_the_output_of_export_is_read_by_its_content(self, scoop: Scoop, tmp_path: Path, form: str) -> None:
        text = scoop("export", "--format", form, "--from", "-", stdin=LIST).out
        (tmp_path / "graph").write_text(text)
        assert read_graph(str(tmp_path / "graph")) == read_graph(str(tmp_path / "graph"), form) == GRAPH
        for arguments in ([], ["--from-format", form], ["--format", form]):
            assert scoop("order", "--from", "-", *arguments, stdin=text.encode()).status == 0
        for arguments in ([], ["--format", form]):
            loaded = scoop("load", "--dry-run", *arguments, stdin=text.encode()).out
            assert DependencyGraph.from_lines(loaded.splitlines()) == GRAPH
        assert scoop("load", "--dry-run", "--format", "list", stdin=text.encode()).status == 2

    def test_dot_whose_first_line_does_not_show_it(self, tmp_path: Path, scoop: Scoop) -> None:
        text = b"/* a | b */\ndigraph\n{ isl -> gmp }\n"
        (tmp_path / "graph").write_bytes(text)
        assert sorted(read_graph(str(tmp_path / "graph"))) == ["gmp", "isl"]
        assert scoop("load", "--dry-run", stdin=text).out == "INDEX|gmp|\nINDEX|isl|gmp\n"
        assert scoop("load", "--dry-run", stdin=text[12:]).out == "INDEX|gmp|\nINDEX|isl|gmp\n"

    def test_xml_in_the_encoding_that_it_names(self, tmp_path: Path) -> None:
        text = (
            "".join(encode_graphml(GRAPH)).replace("UTF-8", "latin-1").replace("<graphml", "<!-- \xe9 --><graphml", 1)
        )
        (tmp_path / "graph").write_bytes(text.encode("latin-1"))
        assert read_graph(str(tmp_path / "graph")) == GRAPH

    def test_a_data_directory_beside_its_server_and_its_dump(self, tmp_path: Path) -> None:
        data = str(tmp_path / "data")
        with ServerProcess("--data-dir", data) as server, server.connect() as client:
            client.ask(*GRAPH.to_lines(), "INDEX|x|", "REMOVE|x|")
            assert read_graph(data) == GRAPH
            dump = run_to_end("dump", data).stdout.encode()
        assert read_graph(data) == GRAPH
        (tmp_path / "dump").write_bytes(dump)
        assert read_graph(str(tmp_path / "dump")) == GRAPH
        (tmp_path / "dump").write_bytes(dump[: len(dump) // 2])
        with pytest.raises(InvalidInput, match=r"the dump is incomplete|ends within this line"):
            read_graph(str(tmp_path / "dump"))
        (tmp_path / "dump").write_bytes(dump.replace(b"gcc", b"gcd"))
        with pytest.raises(InvalidInput, match=r"line \d+: "):
            read_graph(str(tmp_path / "dump"))

    def test_the_default_source_is_the_data_directory_of_a_server_in_this_directory(
        self, scoop: Scoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with ServerProcess(working_directory=tmp_path) as server:
            assert scoop("--server", f"127.0.0.1:{server.port}", "index", "gmp").status == 0
            assert scoop("order").out == "gmp\n"

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"#scoop snapshot 1\n", "its last line is not a trailer"),
            (b"INDEX|a\n", "expected 2 bars, got 1"),
            (b"INDEX|a|\x0bINDEX|b|\n", "expected 2 bars, got 4"),
            (b"a b" * 1_000, "line 1: expected 'name: dependency ...'"),
            (b"INDEX|a|\nINDEX|b\n", "line 2: expected 2 bars, got 1"),
            (b"[1]", "item 1: expected an object with a name, got 1"),
            (b'[{"name":"w","deps":["gmp"]}]', "item 1 (w): expected name and dependencies, got 'deps'"),
            (b'[{"name":"w","dependencies":"gmp"}]', "item 1 (w): expected a list of names, got 'gmp'"),
            (b'{"w": ["gmp", 1]}', "w: expected a list of names, got ['gmp', 1]"),
            (b'[{"name":"w"},{"name":"w"}]', "item 2: 'w' is there twice"),
            (b'{"w": [], "w": ["gmp"]}', "'w' is there twice"),
            (b"w: gmp\n\nw\n", "line 3: 'w' is there twice"),
            (b"digraph { a -- b }", "expected DOT"),
            (b'{"nodes": [{"id": 1}], "links": []}', "expected an object with a text 'id'"),
            (b"{", "Expecting property name"),
            (b"x!\n", "invalid '!'"),
        ],
    )
    def test_invalid_files(self, tmp_path: Path, content: bytes, reason: str) -> None:
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(InvalidInput) as caught:
            read_graph(str(tmp_path / "file"))
        assert caught.value.source == str(tmp_path / "file")
        assert reason in caught.value.reason
        assert len(caught.value.reason) < 200

    def test_a_directory_without_an_index(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="no snapshot"):
            read_graph(str(tmp_path))
