"""Simulated time: what happens when, and all randomness of one seed."""

import heapq
from collections.abc import Callable
from random import Random


class Schedule:
    """Actions in the order of their times; ``random`` decides everything that is open."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self.steps = 0
        self._actions: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0

    def clock(self) -> float:
        return self.now

    def after(self, delay: float, action: Callable[[], object]) -> None:
        self._count += 1
        heapq.heappush(self._actions, (self.now + delay, self._count, action))

    def run_until(self, end: float) -> None:
        while self._actions and self._actions[0][0] <= end:
            self.now, _, action = heapq.heappop(self._actions)
            self.steps += 1
            action()
        self.now = end

    def between(self, low: float, high: float) -> float:
        return self.random.uniform(low, high)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability
