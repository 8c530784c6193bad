"""Threads that run blocking functions."""

import threading

from scoop_etcd.client.threads import Threads


def test_functions_run_at_the_same_time_and_threads_are_used_again() -> None:
    threads = Threads("pool")
    together, ran = threading.Barrier(3), threading.Semaphore(0)
    names = set[str]()

    def meet() -> None:
        together.wait()

    def note() -> None:
        names.add(str(threading.get_ident()))
        ran.release()

    for _ in range(2):
        threads.run(meet)
    together.wait()
    for _ in range(20):
        threads.run(note)
        ran.acquire()
    threads.close()
    assert len(names) <= 3


def test_threads_end_when_they_are_closed() -> None:
    threads = Threads("closed")
    started = threading.Event()
    threads.run(started.set)
    started.wait()
    threads.close()
    for thread in threading.enumerate():
        if thread.name == "closed":
            thread.join()
