import os
import signal
from contextlib import closing

import pytest

from scoop_server.signals import SignalPipe


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
