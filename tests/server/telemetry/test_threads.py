"""Starting a thread."""

import threading
from collections.abc import Callable
from functools import partial

import pytest

from scoop_etcd.client.threads import Threads
from scoop_server.telemetry.threads import start_thread


@pytest.mark.parametrize("start", [partial(start_thread, name="log"), Threads("etcd").run])
def test_a_thread_that_the_system_does_not_allow_is_an_error_of_the_system(
    monkeypatch: pytest.MonkeyPatch, start: Callable[[Callable[[], None]], object]
) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(OSError, match="can't start new thread"):
            start(lambda: None)
