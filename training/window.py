"""The designs that a run draws from: a window over an endless sequence, decided by seed and step alone."""

import torch

from training.config import Config
from training.spaces import pool, sample
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
        self._first = pool(
            seed_of(config.seed, "pool"),
            config.pool,
            span=config.stages[0].span,
            among=config.families,
            resolutions=config.resolutions,
            budget=config.budget,
        )
        self._later: dict[int, Design] = {}

    def draw(self, step: int, generator: torch.Generator) -> Design:
        """Return a design of the window at a step."""
        start = first_design(self._config, step)
        return self._at(start + int(torch.randint(self._config.pool, (1,), generator=generator)), start)

    def designs(self, step: int) -> tuple[Design, ...]:
        """Return everything that a step may draw."""
        start = first_design(self._config, step)
        return tuple(self._at(place, start) for place in range(start, start + self._config.pool))

    def _at(self, place: int, start: int) -> Design:
        if place < self._config.pool:
            return self._first[place]
        if place not in self._later:
            self._later = {kept: design for kept, design in self._later.items() if kept >= start}
            self._later[place] = self._design(place)
        return self._later[place]

    def _design(self, place: int) -> Design:
        """Return the design at a place behind the first window: of the span of the stage in which it enters."""
        generator = torch.Generator().manual_seed(seed_of(self._config.seed, "design", place))
        names = self._config.families
        return sample(
            generator,
            family=names[place % len(names)],
            span=self._span(place),
            resolutions=self._config.resolutions,
            budget=self._config.budget,
        )

    def _span(self, place: int) -> Span:
        ends = (
            stage
            for stage in self._config.stages
            if first_design(self._config, stage.until) + self._config.pool > place
        )
        return next(ends).span
