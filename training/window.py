"""The designs that a run draws from: a window over an endless sequence, decided by seed and step alone."""

import torch

from training.config import Config
from training.spaces import families, pool, sample
from training.spaces.design import Design, Span
from training.targets import seed_of


def first_design(config: Config, step: int) -> int:
    """Return the place in the sequence of the first design in the window at a step."""
    moved = start = 0
    for stage in config.stages:
        end = min(stage.until, step)
        moved += stage.renewed * max(0, end - start)
        start = end
    return moved


class Window:
    """The window, from which designs are drawn in the order of steps; designs that left it are forgotten."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._first = pool(seed_of(config.seed, "pool"), config.pool)
        self._later: dict[int, Design] = {}

    def draw(self, step: int, generator: torch.Generator) -> Design:
        """Return a design of the window at a step."""
        size = self._config.pool
        start = first_design(self._config, step)
        place = start + int(torch.randint(size, (1,), generator=generator))
        if place < size:
            return self._first[place]
        if place not in self._later:
            self._later = {kept: design for kept, design in self._later.items() if kept >= start}
            self._later[place] = self._design(place)
        return self._later[place]

    def _design(self, place: int) -> Design:
        """Return the design at a place behind the first window: of the span of the stage in which it enters."""
        generator = torch.Generator().manual_seed(seed_of(self._config.seed, "design", place))
        names = families.names()
        return sample(generator, family=names[place % len(names)], span=self._span(place))

    def _span(self, place: int) -> Span:
        ends = (
            stage
            for stage in self._config.stages
            if first_design(self._config, stage.until) + self._config.pool > place
        )
        return next(ends).span
