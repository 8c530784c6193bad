"""The parts of a document in Markdown: code blocks, prose, tables, code spans and anchors."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.support.process import WAIT_SECONDS

ROOT: Final = Path(__file__).parents[2]


def code_blocks(document: Path, language: str) -> list[str]:
    """Return the fenced blocks in ``language``."""
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)


def prose(document: Path) -> str:
    """Return the text without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def table_rows(document: Path, *header: str) -> list[list[str]]:
    """Return the cells of all tables under this header, row by row."""
    rows: list[list[str]] = []
    for table in re.findall(r"(?:^\|.*\|\n)+", prose(document), re.MULTILINE):
        cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines()]
        found, _, *body = [[cell.strip().replace(r"\|", "|") for cell in row] for row in cells]
        if found == list(header):
            rows += body
    return rows


def code_spans(cell: str) -> list[str]:
    """Return the texts between backquotes."""
    return re.findall(r"`([^`]*)`", cell)


def anchors(document: Path) -> set[str]:
    """Return the anchors of the headings."""
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def run_block(commands: str, directory: Path) -> str:
    """Run commands of a page as a shell does, with the programs of this environment; return their output."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", commands],
        cwd=directory,
        env=os.environ | {"PATH": path, "HOME": str(directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=WAIT_SECONDS,
    )
    return done.stdout
