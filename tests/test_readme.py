"""The documents match the code: their examples run, their tables are current, their links exist."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from docs.options_page import PAGE, options_page
from scoop_core import Changes, Command, Connection, DependencyGraph, Response

from scoop_server.cli.parser import all_commands
from scoop_server.config.options import SERVE

from tests.support.pages import ROOT, anchors, code_blocks, code_spans, prose, table_rows
from tests.support.process import WAIT_SECONDS, ServerProcess
from tests.support.settings import TABLE

pytestmark = pytest.mark.any_python

README: Final = ROOT / "README.md"
PROTOCOL: Final = ROOT / "docs" / "protocol.md"
ARCHITECTURE: Final = ROOT / "docs" / "architecture.md"
CONTRIBUTING: Final = ROOT / "CONTRIBUTING.md"
PACKAGE_READMES: Final = sorted(ROOT.glob("packages/*/README.md"))
DOCUMENTS: Final = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("bench/*.md"),
        *ROOT.glob("tests/*.md"),
        *PACKAGE_READMES,
    ]
)


def _name(value: object) -> str | None:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else None


# Examples


@pytest.mark.parametrize(
    "document", [README, *(path for path in PACKAGE_READMES if path.parent.name == "scoop-core")], ids=_name
)
def test_library_examples_print_the_shown_results(document: Path) -> None:
    examples = [block for block in code_blocks(document, "python") if "scoop_core" in block]
    assert examples
    for example in examples:
        shown = re.findall(r"^print\(.*\)  # (.+)$", example, re.MULTILINE)
        assert len(shown) == example.count("print(") > 0
        finished = subprocess.run(
            [sys.executable, "-c", example], capture_output=True, text=True, timeout=WAIT_SECONDS, check=True
        )
        assert finished.stdout.splitlines() == shown


@pytest.mark.parametrize("document", [README, *(path for path in PACKAGE_READMES if "server" in str(path))], ids=_name)
def test_the_conversation_with_nc_is_real(document: Path) -> None:
    command, *lines = code_blocks(document, "console")[0].splitlines()
    assert command == "$ nc 127.0.0.1 8080"
    typed, answered = lines[0::2], lines[1::2]
    with ServerProcess("--memory") as server, server.connect() as client:
        assert client.ask_one_by_one(*typed) == answered


def test_the_lines_for_a_machine_without_nc_get_the_shown_responses() -> None:
    [program] = [block for block in code_blocks(README, "python") if "socket" in block]
    assert len(program.replace("\n\n", "\n").splitlines()) == 4
    with ServerProcess("--memory") as server:
        command = [sys.executable, "-c", program.replace("8080", str(server.port))]
        printed = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS, check=True).stdout
    assert printed == program.rpartition("# ")[2]


class Example(NamedTuple):
    """One row of docs/protocol.md."""

    case: str
    messages: list[str]
    answers: list[str]
    reject_cycles: bool


def _protocol_examples() -> Iterator[Example]:
    for header, reject_cycles in (("case", False), ("case, with `--reject-cycles`", True)):
        for case, messages, answers in table_rows(PROTOCOL, header, "messages", "responses"):
            spelled = [message.replace("␍", "\r").replace("␊", "") for message in code_spans(messages)]
            yield Example(case, spelled, code_spans(answers), reject_cycles)


PROTOCOL_EXAMPLES: Final = tuple(_protocol_examples())


@pytest.mark.parametrize("example", PROTOCOL_EXAMPLES, ids=lambda example: str(example.case))
def test_protocol_examples_get_the_shown_responses(example: Example) -> None:
    graph, connection = DependencyGraph(reject_cycles=example.reject_cycles), Connection()
    setup = code_blocks(PROTOCOL, "text")[0]
    assert set(graph.apply_lines(setup, Changes()).split()) == {"OK"}
    sent = "".join(f"{message}\n" for message in example.messages)
    assert graph.apply_lines(connection.receive(sent.encode()), Changes()).split() == example.answers
    assert len(example.messages) == len(example.answers) > 0


def test_protocol_examples_cover_every_response_to_every_command() -> None:
    shown = {
        (message.split("|")[0], answer)
        for example in PROTOCOL_EXAMPLES
        for message, answer in zip(example.messages, example.answers, strict=True)
    }
    every_answer = {(command, answer) for command in Command for answer in Response}
    assert shown >= every_answer


# Tables


def test_the_page_of_options_is_current() -> None:
    assert PAGE.read_text() == options_page(), "run python -m docs.options_page"


def test_the_table_of_commands_is_current() -> None:
    documented = [code_spans(command)[0].split()[:2] for command, _ in table_rows(README, "command", "what it does")]
    assert documented == [["scoop-server", name] for name in all_commands(TABLE) if name != SERVE]


def test_the_table_of_subpackages_is_current() -> None:
    documented = {name for row in table_rows(ARCHITECTURE, "module", "holds") for name in code_spans(row[0])}
    subpackages = {path.parent.name for path in ROOT.glob("packages/*/src/scoop_server/*/__init__.py")}
    assert documented == subpackages


def test_every_session_that_a_document_names_exists() -> None:
    real = {
        node.name
        for node in ast.parse((ROOT / "noxfile.py").read_text()).body
        if isinstance(node, ast.FunctionDef) and node.decorator_list
    }
    named = {name for page in DOCUMENTS for name in re.findall(r"nox -s ([a-z_]+)", page.read_text())}
    assert len(named) > 10
    assert named <= real, named - real


def test_the_table_of_tests_is_current() -> None:
    documented = {
        name for row in table_rows(ROOT / "tests" / "README.md", "directory", "subject") for name in code_spans(row[0])
    }
    files = (path for suffix in ("py", "txt") for path in (ROOT / "tests").rglob(f"*.{suffix}"))
    real = {f"tests/{path.parts[len(ROOT.parts) + 1]}" for path in files if path.parent.name != "tests"}
    assert documented - {"tests/test_*.py"} == real


# Commands and links


def test_ci_runs_the_test_command_of_the_quick_start() -> None:
    run, test = (block.removesuffix("\n") for block in code_blocks(README, "sh"))
    assert run.endswith("scoop-server")
    assert test in (ROOT / ".ci" / "run").read_text().splitlines()
    for command in (run, test):
        assert "\n" not in command
        for path in re.findall(r"(?<= \./)\S+", command):
            assert (ROOT / path / "pyproject.toml").is_file()


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_link_has_a_target(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = (document.parent / path).resolve() if path else document
        assert linked.is_relative_to(ROOT), f"{target} is outside the project"
        assert linked.exists(), f"{target} does not exist"
        assert not anchor or anchor in anchors(linked), f"{target} names a missing heading"


@pytest.mark.parametrize("document", PACKAGE_READMES, ids=_name)
def test_the_readme_of_a_package_links_to_no_file(document: Path) -> None:
    assert not re.search(r"\]\((?!https://)", prose(document)), "it is published without the other files"
