"""Starting a thread."""

import threading

import pytest

from scoop_server.telemetry.threads import start_thread


def test_a_thread_that_the_system_does_not_allow_is_an_error_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(OSError, match="can't start new thread"):
            start_thread(lambda: None, "log")
