"""A server with a plug-in: its options, its index, its source, its figures."""

import sys
from importlib import metadata
from types import SimpleNamespace

import pytest

from scoop_server.app.plugin import find_plugins
from scoop_server.errors import ConfigurationError

from tests.support.admin import get, place_of
from tests.support.process import ServerProcess, run_to_end

TOY = (sys.executable, "-m", "tests.support.toy_plugin")


def test_its_index_serves_and_shows_its_figures_and_its_reason() -> None:
    with ServerProcess("--toy", "bear", "--admin", "127.0.0.1:0", command=TOY) as server, server.connect() as client:
        server.wait_for_log(r"listening on \S+ with 0 packages \(toy box\)")
        assert client.ask("INDEX|a|", "QUERY|a|") == ["OK", "OK"]
        assert get(place_of(server), "/readyz") == (503, "read-only\n")
        assert "\nscoop_toys 7.0\n" in get(place_of(server), "/metrics")[1]


@pytest.mark.parametrize(
    ("arguments", "variables", "status", "output"),
    [
        (("check", "--toy", "bear"), {}, 3, "all toys are there\n"),
        (("check",), {"SCOOP_TOY": "bear", "SCOOP_TOY_SECRET": "s"}, 3, "all toys are there\n"),
        (("dump", "--toy", "bear"), {}, 2, "unknown option --toy"),
        (("log", "--json"), {"SCOOP_TOY": "bear"}, 0, "the toy bear was bought by CN=a\n"),
        (("check",), {}, 2, "expected a data directory or --toy NAME"),
        (("--toy", "bear", "--memory"), {}, 2, "memory (flag --memory) contradicts toy (flag --toy)"),
        (("--check-config", "--port", "0", "--toy", "broken"), {}, 2, "cannot use the toy: it is broken"),
        (("--show-config",), {"SCOOP_TOY": "bear"}, 0, 'toy = "bear"  # variable SCOOP_TOY\n'),
        (("--help",), {}, 0, "check|dump|log|restore DIR|--toy NAME"),
        (("--help-all",), {}, 0, "toys:\n  --toy NAME"),
        (("check", "--help"), {}, 0, "an index in a box, instead of DIR:\n  --toy NAME"),
    ],
)
def test_its_options_are_those_of_the_server(
    arguments: tuple[str, ...], variables: dict[str, str], status: int, output: str
) -> None:
    done = run_to_end(*arguments, variables=variables, command=TOY)
    assert (done.returncode, output in done.stdout + done.stderr) == (status, True), done


def test_a_plugin_that_cannot_be_loaded_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> None:
        raise ImportError("no module named grpc")

    monkeypatch.setattr(metadata, "entry_points", lambda **_: [SimpleNamespace(value="toy:PLUGIN", load=load)])
    with pytest.raises(ConfigurationError, match="cannot load toy:PLUGIN: no module named grpc; install its package"):
        find_plugins()
