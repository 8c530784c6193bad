import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

from scoop_server.app.signals import SignalPipe

from tests.support.held import HeldServer


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_can_be_read_and_interrupts_nothing(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with closing(SignalPipe()) as signals:
        os.kill(os.getpid(), number)
        assert number in signals.read()
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_may_be_interrupted_is(number: signal.Signals) -> None:
    with closing(SignalPipe()) as signals:
        with pytest.raises(KeyboardInterrupt), signals.interrupting():
            signal.raise_signal(number)
        signal.raise_signal(number)  # and afterwards nothing is


def test_what_looks_for_a_signal_now_and_then_is_interrupted_by_one_that_ends() -> None:
    with closing(SignalPipe()) as signals:
        signals.interrupt_if_asked()
        signal.raise_signal(signal.SIGUSR1)
        signals.interrupt_if_asked()
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signals.interrupt_if_asked()
        signals.interrupt_if_asked()


def test_a_request_for_a_compaction_never_interrupts() -> None:
    with closing(SignalPipe()) as signals, signals.interrupting():
        signal.raise_signal(signal.SIGUSR1)
        assert signals.read() == bytes([signal.SIGUSR1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_may_be_interrupted_does_not_even_begin_where_a_signal_has_come_before(number: signal.Signals) -> None:
    begun = []
    with closing(SignalPipe()) as signals:
        for each in (signal.SIGHUP, number, signal.SIGUSR1):
            signal.raise_signal(each)
        with pytest.raises(KeyboardInterrupt), signals.interrupting():
            begun.append(number)
        signal.raise_signal(number)  # and afterwards nothing is interrupted
    assert not begun


def test_requests_that_have_come_before_are_kept_for_whoever_reads_them() -> None:
    with closing(SignalPipe()) as signals:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGUSR1)
        with signals.interrupting():
            pass
        assert signals.read() == bytes([signal.SIGHUP, signal.SIGUSR1])


def test_a_server_that_is_ended_before_it_reads_its_index_never_begins(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "snapshot-1").write_text("whoever reads this has something to say about it\n")
    with HeldServer("starting", tmp_path, "--data-dir", str(data)) as held:
        held.wait_until_held()
        held.process.send_signal(signal.SIGTERM)
        held.let_go()
        assert held.process.wait() == 0
        held.process.wait_for_log(f"stopped by a signal while {data} was read; it is as it was")
