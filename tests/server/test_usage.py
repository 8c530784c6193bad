import pytest

from scoop_server.cli.completion import SHELLS
from scoop_server.cli.main import main
from scoop_server.cli.maintenance import COMMAND_NAMES as MAINTENANCE_NAMES
from scoop_server.cli.manual import manual_page
from scoop_server.cli.usage import COMMAND_NAMES, parsers


def test_every_command_has_a_parser_that_calls_it_by_its_name() -> None:
    known = parsers()
    assert next(iter(known)) == ""
    assert set(known) == {"", *MAINTENANCE_NAMES, *COMMAND_NAMES}
    assert all(parser.prog == f"scoop-server {name}".strip() for name, parser in known.items())


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_prints_the_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert capsys.readouterr() == (SHELLS[shell](parsers()), "")


def test_manual_prints_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["manual"]) == 0
    assert capsys.readouterr() == (manual_page(parsers()), "")


@pytest.mark.parametrize("arguments", [["completion"], ["completion", "csh"], ["manual", "extra"]])
def test_what_it_does_not_know_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"scoop-server {arguments[0]}: ")
