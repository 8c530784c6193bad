"""The resources of a start: a data directory that others can write to, and the limit of open files."""

import logging
import os
import pwd
import resource
from contextlib import ExitStack
from pathlib import Path

import pytest

from scoop_server.app.claims import ADMIN_DESCRIPTORS, RESERVED_DESCRIPTORS, Claims, fit_descriptors
from scoop_server.config.limits import Limits

from tests.support.certificates import CertificateFiles
from tests.support.privileges import NOBODY
from tests.support.settings import read_settings

LIMITS = Limits(clients_max=800)
RESERVED = RESERVED_DESCRIPTORS + ADMIN_DESCRIPTORS


@pytest.mark.parametrize(
    ("has_tls", "hard", "soft", "clients", "handshakes"),
    [
        (False, 10_000, RESERVED + 800, 800, LIMITS.handshakes_max),
        (True, 10_000, RESERVED + 800 + LIMITS.handshakes_max, 800, LIMITS.handshakes_max),
        (True, resource.RLIM_INFINITY, RESERVED + 800 + LIMITS.handshakes_max, 800, LIMITS.handshakes_max),
        (False, RESERVED + 400, RESERVED + 400, 400, LIMITS.handshakes_max),
        (True, RESERVED + 400, RESERVED + 400, 350, 50),
        (True, RESERVED, RESERVED, 1, 1),
    ],
)
def test_clients_and_handshakes_fit_the_limit_of_open_files(  # one row, one case
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    has_tls: bool,
    hard: int,
    soft: int,
    clients: int,
    handshakes: int,
) -> None:
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: raised.append(limit))
    fitted = fit_descriptors(LIMITS, has_admin=True, has_tls=has_tls)
    assert raised == [(soft, hard)]
    assert (fitted.clients_max, fitted.handshakes_max) == (clients, handshakes)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [f"allows only {clients} clients" in line for line in warnings] == ([] if clients == 800 else [True])


def test_a_sufficient_limit_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100_000, 100_000))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: pytest.fail("the limit is raised"))
    assert fit_descriptors(LIMITS, has_admin=False, has_tls=True) == LIMITS


def test_a_data_directory_that_every_user_can_write_to_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for mode in (0o755, 0o1777):
        tmp_path.chmod(mode)
        with ExitStack() as resources:
            Claims(read_settings(["--data-dir", str(tmp_path), "--port", "0"]), {}, resources, has_directory=True)
    [message] = caplog.messages
    assert message == (
        f"every user of this machine can write to the data directory {tmp_path}, and so change the index; "
        "remove that permission with chmod o-w"
    )


def test_a_data_directory_of_another_user_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = read_settings(["--data-dir", str(tmp_path), "--port", "0"])
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    with ExitStack() as resources:
        Claims(settings, {}, resources, has_directory=True)
    [message] = caplog.messages
    owner = pwd.getpwuid(tmp_path.stat().st_uid).pw_name
    assert message == (
        f"the data directory {tmp_path} belongs to {owner}, and the server runs as nobody, whose files {owner} cannot "
        f"read; start it as {owner}"
    )


def test_a_key_that_every_user_can_read_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    certificates = CertificateFiles.make(tmp_path / "tls")
    key = Path(certificates.server_arguments[certificates.server_arguments.index("--tls-key") + 1])
    key.chmod(0o644)
    arguments = ["--memory", "--listen", "tls:127.0.0.1:0", *certificates.server_arguments]
    with ExitStack() as resources:
        Claims(read_settings(arguments), {}, resources, has_directory=False)
    assert caplog.messages == [
        f"every user of this machine can read the private key {key}; remove that permission with chmod o-r"
    ]
