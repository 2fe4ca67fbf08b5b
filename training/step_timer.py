"""Measures where the time of a training step goes: seconds by stage."""

import time
from typing import final

import torch


@final
class StepTimer:
    """Laps of one step. On an accelerator, work that was only queued counts for the stage that waits for it."""

    def __init__(self, device: torch.device, *, exact: bool = False) -> None:
        self.seconds: dict[str, float] = {}
        self._wait = exact and device.type == "cuda"
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Count the time since the last lap for `stage`."""
        if self._wait:
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now

    @property
    def total(self) -> float:
        """The sum over the stages."""
        return sum(self.seconds.values())
