"""How long a training may take, by a clock that nobody can set."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TimeLimit:
    """Seconds from now on: ``whole`` for everything, ``run`` for the training of one run."""

    whole: float = math.inf
    run: float = math.inf
    clock: Callable[[], float] = time.monotonic
    began: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "began", self.clock())

    def for_training(self, seconds_before: float) -> "TimeLimit":
        """Return the limit of a training that begins now and took ``seconds_before`` until it was stopped."""
        return TimeLimit(self.whole - (self.clock() - self.began), self.run - seconds_before, self.clock)

    @property
    def seconds_left(self) -> float:
        """Seconds until the first of the limits, below 0 afterwards."""
        return min(self.whole, self.run) - (self.clock() - self.began)

    @property
    def nearest(self) -> str:
        """Which limit comes first: ``whole`` or ``run``."""
        return "run" if self.run < self.whole else "whole"
