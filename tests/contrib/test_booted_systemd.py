"""The commands of docs/operations.md and the units of contrib/systemd, on a booted systemd.

Each test describes one thing that an operator does or that goes wrong. They share one machine, on which the page's own
commands have installed the server, and each test leaves the service running.
"""

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.booted_systemd import IS_AVAILABLE, BootedSystemd
from tests.support.pages import ROOT, code_blocks
from tests.support.prometheus import expressions

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.skipif(not IS_AVAILABLE, reason="this needs root, systemd-nspawn and nsenter"),
]

PAGE = ROOT / "docs" / "operations.md"
TLS_PAGE = ROOT / "docs" / "howto-tls.md"

_CLONE = "/srv/clone"
_WHEELS = "/srv/wheels"
_TLS = "/srv/tls"

_ASK = """
import json, socket, ssl, sys
host, port, scheme, lines = "localhost", int(sys.argv[1]), sys.argv[2], sys.argv[3:]
connection = socket.create_connection(("127.0.0.1", port))
if scheme != "tcp":
    context = ssl.create_default_context(cafile="/etc/scoop/tls/authority.pem")
    if scheme == "tls-with-certificate":
        context.load_cert_chain("/srv/tls/client.pem", "/srv/tls/client-key.pem")
    connection = context.wrap_socket(connection, server_hostname=host)
connection.sendall("".join(line + "\\n" for line in lines).encode())
answers = connection.makefile()
print(json.dumps([answers.readline().strip() for _ in lines]))
"""


class Installed:
    """The machine, with the server installed by the page's own commands."""

    def __init__(self, machine: BootedSystemd) -> None:
        self.machine = machine
        self.run = machine.run

    def run_block(self, text: str, *, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the one block of the page that holds ``text``, with other values of its variables."""
        [block] = [block for block in code_blocks(PAGE, "sh") if text in block]
        for name, value in variables.items():
            block, count = re.subn(rf"^{name}=.*$", f"{name}={value}", block, flags=re.MULTILINE)
            assert count == 1, (name, block)
        return self.run(f"cd {_CLONE} && {block.replace('sudo ', '')}", check=check)

    def run_script(self, command: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a script that the page names, with other arguments."""
        assert f"sudo contrib/systemd/{command.split(maxsplit=1)[0]}" in PAGE.read_text()
        return self.run(f"{_CLONE}/contrib/systemd/{command}", check=check)

    def ask(self, *lines: str, port: int = 8080, scheme: str = "tcp") -> list[str]:
        """Send the lines to the server; return their responses."""
        words = " ".join(f"'{line}'" for line in lines)
        done = self.run(f"timeout 60 python3 -c '{_ASK}' {port} {scheme} {words}")
        answers: list[str] = json.loads(done.stdout)
        return answers

    def state(self, unit: str) -> str:
        """Return the state of a unit."""
        return self.run(f"systemctl is-active {unit}", check=False).stdout.strip()

    def main_process(self) -> str:
        return self.run("systemctl show --property=MainPID --value scoop.service").stdout.strip()

    def warnings(self) -> str:
        """Run the page's command that lists warnings and errors, and return what it prints."""
        [command] = re.findall(r"^    (journalctl .*)$", PAGE.read_text(), re.MULTILINE)
        return self.run(command).stdout

    def wait_until(self, condition: str) -> None:
        """Return once a command succeeds."""
        self.run(f"for _ in $(seq 300); do if {condition}; then exit 0; fi; sleep 0.1; done; exit 1")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with everything that an installation takes from the network."""
    directory = tmp_path_factory.mktemp("wheels")
    projects = [
        tomllib.loads((ROOT / "packages" / name / "pyproject.toml").read_text())
        for name in ("scoop-core", "scoop-server")
    ]
    needed = {requirement for project in projects for requirement in project["build-system"]["requires"]}
    needed |= set(projects[1]["project"]["optional-dependencies"]["metrics"])
    subprocess.run(["/usr/bin/python3", "-m", "venv", directory / "env"], check=True)
    subprocess.run(
        [directory / "env" / "bin" / "pip", "wheel", "--quiet", "--wheel-dir", directory, *sorted(needed)], check=True
    )
    return directory


@pytest.fixture(scope="module")
def scoop(wheels: Path) -> Iterator[Installed]:
    with BootedSystemd({ROOT: _CLONE, wheels: _WHEELS}, PIP_NO_INDEX="1", PIP_FIND_LINKS=_WHEELS) as machine:
        installed = Installed(machine)
        [settings] = code_blocks(PAGE, "toml")
        installed.run_block("-m venv --clear")
        for _ in range(2):
            installed.run_block("systemd-sysusers")
            installed.run_block("/usr/local/share/man")
        make_certificates = code_blocks(TLS_PAGE, "sh")[0]
        installed.run(f"mkdir {_TLS} && cd {_TLS} && {make_certificates}")
        [install] = [block for block in code_blocks(PAGE, "sh") if "/etc/scoop/tls" in block]
        installed.run(f"cd {_TLS} && {install.replace('sudo ', '')}")
        installed.run(f"cat > /etc/scoop/scoop.toml <<'END'\n{settings}\nEND")
        installed.run_block("--check-config")
        installed.run_block("systemctl enable --now scoop.socket scoop-tls.socket scoop.service")
        yield installed


# The page


def test_the_installed_service_answers_on_each_socket(scoop: Installed) -> None:
    assert scoop.ask("INDEX|gmp|", "QUERY|gmp|") == ["OK", "OK"]
    assert scoop.ask("QUERY|gmp|", port=8443, scheme="tls-with-certificate") == ["OK"]
    [client] = code_blocks(TLS_PAGE, "python")
    assert scoop.run(f"cd {_TLS} && python3 - <<'END'\n{client}\nEND").stdout == "b'OK\\n'\n"
    for _ in range(2):
        scoop.run_block("socket=scoop-unix.socket")
    assert scoop.run("stat -c '%U %G %a' /run/scoop.sock").stdout == "scoop scoop-clients 660\n"
    assert scoop.run("man --where scoop-server; scoop-server --version").returncode == 0


def test_a_member_of_the_sockets_group_cannot_read_the_key(scoop: Installed) -> None:
    scoop.run("useradd member; usermod --append --groups scoop-clients member")
    assert scoop.run("runuser -u member -- cat /etc/scoop/tls/server-key.pem", check=False).returncode != 0
    assert scoop.run("runuser -u member -- ls /etc/scoop", check=False).returncode != 0
    assert scoop.run("runuser -u scoop -- cat /etc/scoop/tls/server-key.pem").returncode == 0


def test_a_new_address_is_served_after_the_block_that_changes_it(scoop: Installed) -> None:
    [drop_in] = code_blocks(PAGE, "ini")
    path = drop_in.splitlines()[0].removeprefix("# ")
    scoop.run(f"mkdir -p $(dirname {path}); cat > {path} <<'END'\n{drop_in}\nEND")
    for _ in range(2):
        scoop.run_block("socket=scoop-unix.socket", socket="scoop.socket")
        assert scoop.ask("QUERY|gmp|", port=8088) == ["OK"]
        assert scoop.state("scoop-tls.socket") == "active"
    scoop.run("rm /etc/systemd/system/scoop.socket.d/address.conf; systemctl daemon-reload")
    scoop.run(
        "systemctl stop 'scoop*.socket' scoop.service; systemctl start scoop.socket scoop-tls.socket scoop.service"
    )
    assert scoop.ask("QUERY|gmp|") == ["OK"]


def test_a_backup_is_restored_and_its_blocks_can_be_repeated(scoop: Installed) -> None:
    scoop.ask("INDEX|isl|gmp")
    for _ in range(2):
        scoop.run_block("scoop-server dump /var/lib/scoop | gzip")
    assert scoop.run("stat -c %a /var/backups/scoop /var/backups/scoop/*.gz").stdout == "700\n600\n"
    scoop.ask("REMOVE|isl|")
    for _ in range(2):
        scoop.run_block("gunzip --stdout")
    scoop.run_script("replace-index")
    assert scoop.ask("QUERY|isl|", "QUERY|gmp|") == ["OK", "OK"]
    assert scoop.state("scoop-tls.socket") == "active"
    process = scoop.main_process()
    again = scoop.run_script("replace-index", check=False)
    assert again.returncode != 0
    assert scoop.main_process() == process


def test_a_truncated_backup_is_not_put_in_place(scoop: Installed) -> None:
    scoop.run("cd /var/backups/scoop; head -c 30 *.gz > broken")
    assert scoop.run_block("gunzip --stdout", check=False, backup="/var/backups/scoop/broken").returncode != 0
    process = scoop.main_process()
    assert scoop.run_script("replace-index", check=False).returncode != 0
    assert scoop.main_process() == process


def test_a_release_that_does_not_start_is_switched_back(scoop: Installed) -> None:
    scoop.run(
        "mkdir -p /opt/scoop/9-broken/bin; cd /opt/scoop/9-broken/bin; "
        "printf '#!/bin/sh\\n[ \"$1\" = --version ]\\n' > scoop-server; chmod 755 scoop-server"
    )
    done = scoop.run_script("switch-release 9-broken", check=False)
    assert done.returncode == 1
    assert "release 9-broken did not start" in done.stderr
    assert scoop.run("readlink /opt/scoop/current").stdout == "0.1.0\n"
    assert scoop.ask("QUERY|gmp|") == ["OK"]


@pytest.mark.parametrize("action", ["-m venv --clear", "systemd-sysusers", "switch-release", "convert-release"])
@pytest.mark.parametrize("name", ["", "current", ".", "a/b"])
def test_a_name_that_is_no_release_changes_nothing(scoop: Installed, action: str, name: str) -> None:
    process = scoop.main_process()
    if action.endswith("-release"):
        done = scoop.run_script(f"{action} '{name}'", check=False)
    else:
        done = scoop.run_block(action, check=False, release=f"'{name}'")
    assert (done.returncode, done.stderr) == (1, f"expected a release such as 0.1.0, got '{name}'\n")
    assert scoop.run("readlink /opt/scoop/current").stdout == "0.1.0\n"
    assert scoop.main_process() == process


def test_an_upgrade_and_both_ways_back_keep_every_change(scoop: Installed) -> None:
    scoop.run_block("-m venv --clear", release="0.2.0")
    scoop.ask("INDEX|before|")
    scoop.run_script("switch-release 0.2.0")
    assert scoop.run("readlink /opt/scoop/current").stdout == "0.2.0\n"
    assert scoop.ask("QUERY|before|", "INDEX|after|") == ["OK", "OK"]
    assert scoop.run_block("-m venv --clear", check=False, release="0.2.0").returncode == 1  # it is in use
    scoop.run_script("switch-release 0.1.0")
    scoop.run_script("switch-release 0.2.0")
    scoop.run_script("convert-release 0.1.0")
    assert scoop.run("readlink /opt/scoop/current").stdout == "0.1.0\n"
    assert scoop.ask("QUERY|before|", "QUERY|after|") == ["OK", "OK"]
    process = scoop.main_process()
    assert scoop.run_script("convert-release 0.1.0", check=False).returncode != 0
    assert scoop.main_process() == process


def test_metrics_and_a_compaction_work_inside_the_confinement(scoop: Installed) -> None:
    asked = {name for expression in expressions() for name in re.findall(r"\bprocess_\w+", expression)}
    assert asked
    metrics = scoop.run("curl --silent http://127.0.0.1:9180/metrics").stdout
    assert asked <= set(re.findall(r"^(process_\w+)", metrics, re.MULTILINE))
    scoop.ask("INDEX|compacted|")
    scoop.run("systemctl kill --kill-whom=main --signal=USR1 scoop.service")
    scoop.wait_until("journalctl -u scoop.service | grep -q 'compaction into .* is complete'")


# Failures


def test_many_restarts_by_hand_do_not_stop_the_service(scoop: Installed) -> None:
    scoop.run("for _ in $(seq 8); do systemctl restart scoop.service; done")
    assert scoop.ask("QUERY|gmp|") == ["OK"]


def test_a_mistake_in_the_settings_keeps_clients_waiting_until_it_is_corrected(scoop: Installed) -> None:
    scoop.run("echo 'max-line = nonsense' >> /etc/scoop/scoop.toml")
    assert scoop.run("systemctl restart scoop.service", check=False).returncode != 0
    # The client triggers the socket while the service fails again and again.
    scoop.run(
        "systemd-run --quiet --unit=waiting --property=StandardOutput=file:/tmp/answer "
        f"python3 -c '{_ASK}' 8080 tcp 'QUERY|gmp|'"
    )
    scoop.wait_until('[ "$(systemctl show --property=NRestarts --value scoop.service)" -ge 3 ]')
    assert scoop.state("scoop.socket") == scoop.state("scoop-tls.socket") == "active"
    scoop.run("sed -i '/nonsense/d' /etc/scoop/scoop.toml")
    scoop.wait_until("systemctl is-active --quiet scoop.service")
    scoop.wait_until("grep -q OK /tmp/answer")


def test_a_killed_server_is_restarted_and_its_sockets_stay_open(scoop: Installed) -> None:
    process = scoop.main_process()
    scoop.run("systemctl kill --signal=KILL scoop.service")
    assert scoop.ask("QUERY|gmp|") == ["OK"]
    assert scoop.main_process() != process


@pytest.mark.parametrize("only", ["scoop.socket", "scoop-tls.socket"])
def test_one_socket_alone_is_enough(scoop: Installed, only: str) -> None:
    scoop.run(f"systemctl stop 'scoop*.socket' scoop.service; systemctl start {only} scoop.service")
    if only == "scoop.socket":
        assert scoop.ask("QUERY|gmp|") == ["OK"]
    else:
        assert scoop.ask("QUERY|gmp|", port=8443, scheme="tls-with-certificate") == ["OK"]
    scoop.run(
        "systemctl stop 'scoop*.socket' scoop.service; systemctl start scoop.socket scoop-tls.socket scoop.service"
    )


def test_a_read_only_socket_answers_queries_without_a_certificate_and_rejects_changes(scoop: Installed) -> None:
    scoop.run_block("socket=scoop-unix.socket", socket="scoop-tls-read-only.socket")
    assert scoop.ask("QUERY|gmp|", "INDEX|x|", "REMOVE|gmp|", "QUERY|gmp|", port=8444, scheme="tls") == [
        "OK",
        "ERROR",
        "ERROR",
        "OK",
    ]


def test_a_tls_socket_can_accept_certain_certificates_only(scoop: Installed) -> None:
    drop_in = "/etc/systemd/system/scoop-tls.socket.d"
    for names, is_accepted in (("subject=a%%26b&subject=builder", True), ("subject=a%%26b&subject=an other", False)):
        scoop.run(
            f"mkdir -p {drop_in}; cat > {drop_in}/name.conf <<'UNIT'\n[Socket]\nFileDescriptorName=tls?{names}\nUNIT\n"
            "systemctl daemon-reload; systemctl stop 'scoop*.socket' scoop.service; "
            "systemctl start scoop.socket scoop-tls.socket scoop.service"
        )
        if is_accepted:
            assert scoop.ask("QUERY|gmp|", port=8443, scheme="tls-with-certificate") == ["OK"]
        else:
            assert scoop.ask("QUERY|gmp|", port=8443, scheme="tls-with-certificate") == [""]
            assert "(CN=builder) is not accepted here" in scoop.machine.journal()
            assert "tls:[::]:8443?subject=a%26b&subject=an%20other" in scoop.machine.journal()
    scoop.run(f"rm -r {drop_in}; systemctl daemon-reload; systemctl stop 'scoop*.socket' scoop.service")
    scoop.run("systemctl start scoop.socket scoop-tls.socket scoop.service")


def test_warnings_and_errors_are_found_in_a_log_of_json_lines_too(scoop: Installed) -> None:
    scoop.run("sed -i '1i log-format = \"json\"' /etc/scoop/scoop.toml; systemctl restart scoop.service")
    scoop.run("cd /etc/scoop/tls; cp -p server.pem saved; echo nonsense > server.pem")
    assert scoop.run("systemctl reload scoop.service", check=False).returncode != 0
    assert re.search(r'"level": ?"error".*cannot use the certificate', scoop.warnings())
    assert '"info"' not in scoop.warnings()
    scoop.run(
        "cd /etc/scoop/tls; mv saved server.pem; sed -i 1d /etc/scoop/scoop.toml; systemctl restart scoop.service"
    )


def test_a_reload_reads_a_new_certificate_and_fails_on_a_bad_one(scoop: Installed) -> None:
    process = scoop.main_process()
    scoop.run("systemctl reload scoop.service")
    scoop.wait_until("journalctl -u scoop.service | grep -q 'reloaded the certificate'")
    scoop.run("cd /etc/scoop/tls; cp -p server.pem saved; echo nonsense > server.pem")
    assert scoop.run("systemctl reload scoop.service", check=False).returncode != 0
    assert "cannot use the certificate /etc/scoop/tls/server.pem" in scoop.machine.journal()
    scoop.wait_until("curl --silent http://127.0.0.1:9180/metrics | grep -q '^scoop_last_reload_success 0.0$'")
    assert scoop.ask("QUERY|gmp|", port=8443, scheme="tls-with-certificate") == ["OK"]
    scoop.run("cd /etc/scoop/tls; mv saved server.pem; systemctl reload scoop.service")
    assert scoop.main_process() == process
