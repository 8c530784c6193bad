"""``scoop publish`` and ``scoop withdraw``: each step, each of its ends, and what the index then holds."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import pytest

from scoop_core import Command, Request, Response

from scoop_client import Client
from scoop_client.cli.gate import Gate
from scoop_client.cli.output import Output
from scoop_client.cli.status import ExitStatus

from tests.support.command import Result, Scoop
from tests.support.process import WAIT_SECONDS, ServerProcess
from tests.support.scripted_server import Script, ScriptedServer, lines_of
from tests.support.terminal import Terminal

MAIN: Final = (sys.executable, "-m", "scoop_client.cli.main")

SUCCEED: Final = ("sh", "-c", "echo run >> $0")
FAIL: Final = ("sh", "-c", "echo run >> $0; exit 9")


class Place:
    """A server, the command, and a file in which the command that is run leaves a line."""

    def __init__(self, scoop: Scoop, server: ServerProcess, directory: Path) -> None:
        self._scoop = scoop
        self.server = server
        self.log = directory / "log"

    def __call__(self, *arguments: str, run: tuple[str, ...] = ()) -> Result:
        command = ("--", *run, str(self.log)) if run else ()
        return self._scoop("--server", f"127.0.0.1:{self.server.port}", *arguments, *command)

    def index(self, **packages: str) -> None:
        for name, dependencies in packages.items():
            assert self("index", name, *dependencies.split()).status == 0

    def holds(self, *names: str) -> bool:
        return self("query", *names).status == 0

    @property
    def runs(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0


@pytest.fixture
def place(scoop: Scoop, server: ServerProcess, tmp_path: Path) -> Place:
    return Place(scoop, server, tmp_path)


@pytest.mark.any_python
class TestPublish:
    def test_the_command_runs_after_the_index_has_accepted_the_package(self, place: Place) -> None:
        place.index(gmp="", mpfr="gmp")
        query = " ".join((*MAIN, "--server", f"127.0.0.1:{place.server.port}", "query", "isl"))
        result = place("publish", "isl", "--needs", "gmp,mpfr", run=("sh", "-c", f"{query} > $0"))
        assert result == (0, "isl OK: sh exited with status 0\n", "isl: indexed; running sh\n")
        assert place.log.read_text() == "isl OK\n"
        assert place("remove", "mpfr").status == 1

    def test_fail_names_what_is_missing_and_runs_nothing(self, place: Place) -> None:
        place.index(gmp="")
        result = place("publish", "isl", "--needs", "gmp,mpfr,mpc", run=SUCCEED)
        assert result == (1, "isl FAIL: mpfr, mpc are not indexed; sh was not run\n", "")
        assert place.runs == 0

    def test_json(self, place: Place) -> None:
        assert place("publish", "isl", "--needs", "gmp", "--json", run=SUCCEED).json() == [
            {
                "command": "INDEX",
                "package": "isl",
                "dependencies": ["gmp"],
                "response": "FAIL",
                "reason": "gmp is not indexed; sh was not run",
                "missing": ["gmp"],
            }
        ]
        command = [*MAIN, "--json", "--server", f"127.0.0.1:{place.server.port}", "publish", "gmp", "--", "echo", "up"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS, check=True)
        assert done.stdout.startswith('{"command": "INDEX", ')
        assert done.stderr == "gmp: indexed; running echo\nup\n"

    def test_a_new_package_is_removed_again(self, place: Place) -> None:
        result = place("publish", "isl", run=FAIL)
        assert (result.status, result.out) == (ExitStatus.COMMAND_FAILED, "")
        assert result.err.endswith("\nscoop: isl: sh exited with status 9; the index is as before\n")
        assert (place.runs, place.holds("isl")) == (1, False)

    def test_a_package_that_was_indexed_gets_its_list_back_if_a_source_knows_it(
        self, place: Place, tmp_path: Path
    ) -> None:
        place.index(gmp="", mpfr="", isl="gmp")
        result = place("publish", "isl", "--needs", "mpfr", run=FAIL)
        assert result.status == ExitStatus.NOT_UNDONE
        assert "it stays indexed, because its former dependencies are unknown; --from would" in result.err
        assert place("remove", "mpfr").status == 1

        (tmp_path / "list").write_text("isl: gmp\n")
        result = place("publish", "isl", "--needs", "mpfr", "--from", f"{tmp_path}/list", run=FAIL)
        assert result.status == ExitStatus.COMMAND_FAILED
        assert place("remove", "gmp").status == 1
        assert place("remove", "mpfr").status == 0

    def test_an_undo_that_is_refused(self, place: Place) -> None:
        dependent = " ".join((*MAIN, "--server", f"127.0.0.1:{place.server.port}", "index", "cloog", "isl"))
        result = place("publish", "isl", run=("sh", "-c", f"{dependent}; exit 1"))
        assert result.status == ExitStatus.NOT_UNDONE
        assert "status 1; it stays indexed: FAIL: other packages depend on it; scoop impact" in result.err
        assert result.err.endswith("; to undo it: scoop remove isl\n")

    def test_a_command_that_is_killed(self, place: Place) -> None:
        result = place("publish", "isl", run=("sh", "-c", "kill -9 $$"))
        assert result.status == ExitStatus.COMMAND_KILLED
        assert result.err.endswith("scoop: isl: sh was killed by SIGKILL: check the registry; the index is as before\n")
        assert not place.holds("isl")

    def test_a_command_that_is_killed_by_a_signal_without_a_name(self, place: Place) -> None:
        number = signal.SIGRTMIN + 5
        result = place("publish", "isl", run=("sh", "-c", f"kill -{number} $$"))
        assert result.status == ExitStatus.COMMAND_KILLED
        assert result.err.endswith(f"sh was killed by signal {number}: check the registry; the index is as before\n")

    def test_a_command_that_cannot_be_run(self, place: Place) -> None:
        result = place("publish", "isl", run=("/nonexistent",))
        assert result.status == ExitStatus.COMMAND_FAILED
        assert "cannot run /nonexistent: no such file or directory; the index is as before\n" in result.err
        assert not place.holds("isl")

    def test_an_output_that_cannot_be_written_does_not_change_the_status(self, place: Place) -> None:
        command = " ".join((*MAIN, "--server", f"127.0.0.1:{place.server.port}", "publish isl --needs gmp -- true"))
        for redirection in (">/dev/full", ">&-", ">/dev/full 2>&-"):
            done = subprocess.run(
                f"{command} {redirection}", shell=True, capture_output=True, timeout=WAIT_SECONDS, check=False
            )
            assert done.returncode == 1

    def test_the_command_line(self, scoop: Scoop) -> None:
        for arguments in (["publish", "isl"], ["withdraw", "isl", "--"]):
            result = scoop(*arguments)
            assert result.status == 2
            assert f"expected -- and a command at the end (see scoop {arguments[0]} --help)" in result.err
        for arguments in ([], ["isl", "--artifact", "isl.deb"], ["--needs", "gmp", "--artifact", "isl.deb"]):
            result = scoop("publish", *arguments, "--", "true")
            assert result.err == "scoop: expected PACKAGE, with or without --needs, or --artifact\n"
        assert "unknown option --need;" in scoop("publish", "isl", "--need", "gmp", "--", "true").err
        assert scoop("publish", "a b", "--", "true").status == 2


@pytest.mark.any_python
class TestWithdraw:
    def test_the_command_runs_after_the_package_is_removed(self, place: Place) -> None:
        place.index(gmp="", isl="gmp")
        assert place("withdraw", "gmp", run=SUCCEED) == (
            1,
            "gmp FAIL: other packages depend on it; scoop impact --direct names them; sh was not run\n",
            "",
        )
        assert place.runs == 0
        result = place("withdraw", "isl", run=SUCCEED)
        assert result == (0, "isl OK: sh exited with status 0\n", "isl: removed; running sh\n")
        assert (place.runs, place.holds("isl")) == (1, False)

    def test_fail_names_the_dependents_that_a_source_knows(self, place: Place, tmp_path: Path) -> None:
        place.index(gmp="", isl="gmp", mpc="gmp")
        (tmp_path / "list").write_text("isl: gmp\nmpc: gmp\n")
        result = place("withdraw", "gmp", "--from", f"{tmp_path}/list", run=SUCCEED)
        assert result.out == "gmp FAIL: isl, mpc depend on it; sh was not run\n"

    @pytest.mark.parametrize("known", ["--needs=gmp,isl", "--from=list"])
    def test_it_is_indexed_again_with_its_dependencies(
        self, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("list").write_text("isl: gmp isl\n")
        place.index(gmp="", isl="")
        place.index(isl="gmp isl")  # a package may depend on itself once it is indexed
        result = place("withdraw", "isl", known, run=FAIL)
        assert result.status == ExitStatus.COMMAND_FAILED
        assert result.err.endswith("scoop: isl: sh exited with status 9; the index is as before\n")
        assert place("remove", "gmp").status == 1

    def test_it_is_indexed_again_without_dependencies_that_are_unknown(self, place: Place) -> None:
        place.index(gmp="", isl="gmp")
        result = place("withdraw", "isl", run=FAIL)
        assert result.status == ExitStatus.NOT_UNDONE
        assert result.err.endswith(
            "status 9; it is indexed again without its dependencies, which are unknown; --needs would name them\n"
        )
        assert place.holds("isl")

    def test_a_package_that_was_not_indexed_stays_so(self, place: Place) -> None:
        assert place("withdraw", "isl", "--needs", "gmp", run=FAIL).status == ExitStatus.COMMAND_FAILED
        assert not place.holds("isl")

    def test_an_undo_that_is_refused(self, place: Place) -> None:
        place.index(gmp="", isl="gmp")
        remove = " ".join((*MAIN, "--server", f"127.0.0.1:{place.server.port}", "remove", "gmp"))
        result = place("withdraw", "isl", "--needs", "gmp", run=("sh", "-c", f"{remove}; exit 1"))
        assert result.status == ExitStatus.NOT_UNDONE
        assert result.err.endswith("it stays removed: FAIL: gmp is not indexed; to undo it: scoop index isl gmp\n")


Answer = str | Callable[[], str] | None
"""A response, a function that returns it, or None to close the connection."""


class Requests:
    """The script of a server, over all connections: gives the answers in turn and keeps the requests."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = iter(answers)
        self.received: list[str] = []

    def __call__(self, sock: socket.socket, _number: int) -> None:
        for line in lines_of(sock):
            self.received.append(line)
            answer = next(self._answers, None)
            if callable(answer):
                answer = answer()
            if answer is None:
                return
            sock.sendall(f"{answer}\n".encode())


def interrupted(answer: str) -> Callable[[], str]:
    """Return a function that sends signals to this process, and returns ``answer``."""

    def interrupt() -> str:
        for _ in range(100):
            os.kill(os.getpid(), signal.SIGTERM)
        return answer

    return interrupt


INDEX: Final = Request.of(Command.INDEX, "isl", ["gmp"])
REMOVE: Final = Request.of(Command.REMOVE, "isl")


def pass_gate(script: Script, change: Request, command: Iterable[str], former: list[str] | None = None) -> ExitStatus:
    """Run one change in front of a server that may fail, without waiting for another server."""
    with (
        ScriptedServer(script) as server,
        Client(server.address, reconnect_timeout=0.0, response_timeout=WAIT_SECONDS, resend_changes=True) as client,
    ):
        gate = Gate(client=client, change=change, command=[*command], output=Output(is_json=False), former=former)
        return gate.run()


@pytest.mark.any_python
class TestFaultsOfTheServer:
    @pytest.mark.parametrize(
        ("answers", "status", "line"),
        [
            ([None], ExitStatus.NO_CONNECTION, "nothing has changed"),
            (["OK", None], ExitStatus.UNKNOWN, "outcome unknown: it may be indexed; false was not run; repeat"),
            (["OK", "NO"], ExitStatus.UNKNOWN, "outcome unknown: it may be indexed; false was not run; repeat"),
            (["FAIL", "ERROR"], ExitStatus.ERROR, "isl ERROR: the listener is read-only"),
            (["FAIL", "FAIL", None], ExitStatus.FAIL, "isl FAIL: false was not run"),
            (["FAIL", "OK", None], ExitStatus.NOT_UNDONE, "outcome unknown: it may stay indexed: lost the connection"),
            (["FAIL", "OK", "ERROR"], ExitStatus.NOT_UNDONE, "it stays indexed: ERROR: the listener is read-only"),
            (["FAIL", "OK", "OK"], ExitStatus.COMMAND_FAILED, "false exited with status 1; the index is as before"),
        ],
    )
    def test_each_step_can_fail(
        self, capsys: pytest.CaptureFixture[str], answers: list[Answer], status: ExitStatus, line: str
    ) -> None:
        assert pass_gate(Requests(*answers), INDEX, ["false"]) is status
        out, err = capsys.readouterr()
        assert line in out + err
        has_run = "running false\n" in err
        assert has_run is (status in {ExitStatus.NOT_UNDONE, ExitStatus.COMMAND_FAILED})
        assert (out + err).count("\n") == 1 + has_run

    def test_a_change_is_sent_again_after_a_broken_connection(self) -> None:
        requests = Requests("FAIL", None, "OK")
        with (
            ScriptedServer(requests) as server,
            Client(server.address, reconnect_timeout=WAIT_SECONDS, resend_changes=True) as client,
        ):
            gate = Gate(client=client, change=INDEX, command=["true"], output=Output(is_json=False), former=None)
            assert gate.run() is ExitStatus.OK
        assert requests.received == ["QUERY|isl|", "INDEX|isl|gmp", "INDEX|isl|gmp"]

    def test_a_server_that_does_not_answer(self, scoop: Scoop) -> None:
        requests = Requests("FAIL", lambda: "", None)
        with ScriptedServer(requests) as server:
            flags = ("--server", server.address, "--response-timeout", "50ms")
            result = scoop(*flags, "withdraw", "isl", "--", "true")
        assert result.status == ExitStatus.UNKNOWN
        assert "outcome unknown: it may be removed" in result.err

    def test_a_server_that_dies_before_the_change(self, capsys: pytest.CaptureFixture[str]) -> None:
        class QueryThenKill(Client):
            def query(self, package: str) -> Response:
                response = super().query(package)
                server.kill()
                return response

        with (
            ServerProcess("--memory") as server,
            QueryThenKill(f"127.0.0.1:{server.port}", reconnect_timeout=0.0, resend_changes=True) as client,
        ):
            gate = Gate(client=client, change=INDEX, command=["true"], output=Output(is_json=False), former=None)
            assert gate.run() is ExitStatus.NO_CONNECTION
        assert capsys.readouterr().err.endswith("connection refused; nothing has changed\n")

    def test_no_server_before(self, scoop: Scoop) -> None:
        result = scoop("--server", "unix:/nonexistent", "publish", "isl", "--", "true")
        expected = "scoop: isl: cannot connect to unix:/nonexistent: no such file or directory; nothing has changed\n"
        assert result == (ExitStatus.NO_CONNECTION, "", expected)

    @pytest.mark.parametrize(("end", "status"), [("exit 0", ExitStatus.OK), ("exit 1", ExitStatus.NOT_UNDONE)])
    def test_a_server_that_dies_while_the_command_runs(
        self, capsys: pytest.CaptureFixture[str], end: str, status: ExitStatus
    ) -> None:
        with (
            ServerProcess("--memory") as server,
            Client(f"127.0.0.1:{server.port}", reconnect_timeout=0.0, resend_changes=True) as client,
        ):
            command = ["sh", "-c", f"kill -9 {server.pid}; {end}"]
            change = Request.of(Command.INDEX, "isl")
            gate = Gate(client=client, change=change, command=command, output=Output(is_json=False), former=None)
            assert gate.run() is status
            server.wait()
        if status is ExitStatus.NOT_UNDONE:
            assert capsys.readouterr().err.endswith("; to undo it: scoop remove isl\n")


COUNT_INTERRUPTS: Final = """
import os, select, signal
read_end, write_end = os.pipe()
os.set_blocking(write_end, False)
signal.set_wakeup_fd(write_end)  # a handler that runs just before input() waits would leave it waiting
signal.signal(signal.SIGINT, lambda *_: None)
print("begun", flush=True)
times = 0
while read_end in select.select([0, read_end], [], [])[0]:
    times += len(os.read(read_end, 100))
    print("interrupted", flush=True)
print("times:", times)
"""


class TestSignals:
    @pytest.mark.parametrize(
        ("answers", "change", "status", "line"),
        [
            ([interrupted("OK")], INDEX, ExitStatus.TERMINATED, "ended by SIGTERM; nothing has changed"),
            (["OK", interrupted("OK")], INDEX, ExitStatus.UNKNOWN, "ended by SIGTERM; outcome unknown: it may be"),
            (["OK", interrupted("OK")], REMOVE, ExitStatus.UNKNOWN, "it may be removed; false was not run; repeat"),
            (["FAIL", "OK", interrupted("OK")], INDEX, ExitStatus.COMMAND_FAILED, "false exited with status 1; the"),
            (["OK", "FAIL", interrupted("OK")], INDEX, ExitStatus.FAIL, "isl FAIL: "),
        ],
    )
    def test_a_signal_during_a_request(
        self,
        capsys: pytest.CaptureFixture[str],
        answers: list[Answer],
        change: Request,
        status: ExitStatus,
        line: str,
    ) -> None:
        def wait_for_signal(sock: socket.socket, number: int) -> None:
            Requests(*answers)(sock, number)
            for _ in lines_of(sock):  # the client closes the connection once it has met the signal
                pass

        former = signal.getsignal(signal.SIGTERM)
        assert pass_gate(wait_for_signal, change, ["false"]) is status
        assert signal.getsignal(signal.SIGTERM) is former
        out, err = capsys.readouterr()
        assert line in out + err

    def start(self, server: ServerProcess, script: str, ignored: signal.Signals | None = None) -> subprocess.Popen[str]:
        """Start a publish whose command has just begun."""

        def set_signals() -> None:  # those of a background job of a shell are ignored in part
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN if number is ignored else signal.SIG_DFL)

        command = [*MAIN, "--server", f"127.0.0.1:{server.port}", "publish", "isl", "--", "sh", "-c", script]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # without the terminal of the person who runs the tests
            preexec_fn=set_signals,  # noqa: PLW1509  # it only sets dispositions
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        return process

    @pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM])
    def test_a_command_that_hangs_is_ended_with_scoop(
        self, scoop: Scoop, server: ServerProcess, number: signal.Signals
    ) -> None:
        with self.start(server, "echo begun; exec sleep 1000") as process:
            process.send_signal(number)
            _, err = process.communicate(timeout=WAIT_SECONDS)
        assert process.returncode == 128 + number
        assert err.endswith(
            f"isl: ended by {number.name}: sh was killed by {number.name}: check the registry; the index is as before\n"
        )
        assert scoop("--server", f"127.0.0.1:{server.port}", "query", "isl").status == 1

    def test_ctrl_c_reaches_the_command_once(self, server: ServerProcess, tmp_path: Path) -> None:
        program = tmp_path / "count"
        program.write_text(COUNT_INTERRUPTS)
        command = [*MAIN, "--server", f"127.0.0.1:{server.port}", "publish", "isl", "--", sys.executable, str(program)]
        with Terminal(command, os.environ) as terminal:
            terminal.wait_for("begun")
            for _ in range(10):  # two signals in quick succession can look like one
                terminal.send_keys("\x03")
                terminal.wait_for("interrupted")
            terminal.send_keys("how many?\r")
            assert terminal.wait_for(r"times: \d+").endswith("times: 10")
            assert terminal.wait() == 0

    def test_a_command_that_succeeds_in_spite_of_a_signal(self, server: ServerProcess) -> None:
        with self.start(server, "trap 'exit 0' TERM; echo begun; while :; do sleep 0.01; done") as process:
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=WAIT_SECONDS)
        assert (process.returncode, out) == (0, "isl OK: sh exited with status 0\n")

    def test_a_signal_that_was_ignored_stays_ignored(self, server: ServerProcess) -> None:
        with self.start(server, "echo begun; read line", ignored=signal.SIGHUP) as process:
            process.send_signal(signal.SIGHUP)
            out, _ = process.communicate("go on\n", timeout=WAIT_SECONDS)
        assert (process.returncode, out) == (0, "isl OK: sh exited with status 0\n")
