"""How thoroughly the property tests search: HYPOTHESIS_PROFILE=thorough looks a hundred times as long."""

import os

from hypothesis import HealthCheck, settings

# Neither profile judges by the clock: on a machine with other work to do, slow says nothing about the code.
settings.register_profile(
    "fast",
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("fast"), max_examples=10_000, stateful_step_count=100)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
