"""Signals wait between turns; SIGTERM and SIGINT interrupt only what declares itself interruptible."""

import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

from scoop_server.app.signals import SignalPipe

from tests.support.held import HeldServer

STOP = [signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("number", [*STOP, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_is_read_from_the_pipe_and_the_previous_handler_is_restored(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with closing(SignalPipe()) as signals:
        os.kill(os.getpid(), number)
        assert signals.read() == bytes([number])
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", STOP)
def test_a_stop_signal_interrupts_only_inside_the_context(number: signal.Signals) -> None:
    with closing(SignalPipe()) as signals:
        with pytest.raises(KeyboardInterrupt), signals.interrupting():
            signal.raise_signal(number)
        signal.raise_signal(number)


@pytest.mark.parametrize("number", STOP)
def test_an_earlier_stop_signal_keeps_the_context_from_beginning(number: signal.Signals) -> None:
    begun = []
    with closing(SignalPipe()) as signals:
        for each in (signal.SIGHUP, number, signal.SIGUSR1):
            signal.raise_signal(each)
        with pytest.raises(KeyboardInterrupt), signals.interrupting():
            begun.append(number)
        signal.raise_signal(number)
    assert not begun


def test_a_sigint_that_is_ignored_at_the_start_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with closing(SignalPipe()) as signals:
            for number in (signal.SIGINT, signal.SIGHUP):
                signal.raise_signal(number)
            assert signals.read() == bytes([signal.SIGHUP])
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_signals_never_interrupt_and_stay_unread() -> None:
    with closing(SignalPipe()) as signals:
        signal.raise_signal(signal.SIGHUP)
        with signals.interrupting():
            signal.raise_signal(signal.SIGUSR1)
        assert signals.read() == bytes([signal.SIGHUP, signal.SIGUSR1])


def test_a_server_stopped_before_it_loads_does_not_read_the_index(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "snapshot-1").write_text("not a snapshot: reading it would end with an error\n")
    with HeldServer("starting", tmp_path, "--data-dir", str(data)) as held:
        held.wait_until_held()
        held.process.send_signal(signal.SIGTERM)
        held.let_go()
        assert held.process.wait() == 0
        held.process.wait_for_log("a signal stopped the server while it loaded the index; nothing was changed")
