"""Signals of child processes, garbage collection, and the search effort of the property tests.

HYPOTHESIS_PROFILE=thorough tries a hundred times as many examples.
``--hypothesis-profile=short`` tries a quarter: enough where the same properties are searched by another run.
"""

import gc
import os
import signal
import sys

import pytest
from hypothesis import HealthCheck, settings

# A script that runs the tests with "&" starts them with SIGINT ignored, and their child processes would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Collecting the tests makes 400,000 objects that stay. Looking for garbage among them would take a quarter of the time,
# in each worker.
gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Enable the garbage collection again, without the objects that the collection of the tests has made."""
    if sys.implementation.name == "cpython":  # PyPy has no freeze
        gc.freeze()
    gc.enable()


# Neither profile fails on slow examples: on a busy machine, slowness says nothing about the code.
settings.register_profile(
    "fast",
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("short", settings.get_profile("fast"), max_examples=15, stateful_step_count=15)
settings.register_profile("thorough", settings.get_profile("fast"), max_examples=10_000, stateful_step_count=100)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
