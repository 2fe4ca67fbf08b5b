"""The designs that a run draws from: a window over an endless sequence, decided by seed and step alone."""

import torch

from training.config import Config
from training.spaces import pool, sample
from training.spaces.design import Design, Span
from training.targets import seed_of


def first_design(config: Config, step: int) -> int:
    """Return the position in the sequence of the first design in the window at a step."""
    moved = first = 0
    for stage in config.stages:
        end = min(stage.until, step)
        moved += stage.renewed * max(0, end - first)
        first = end
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
        first = first_design(self._config, step)
        return self._at(first + int(torch.randint(self._config.pool, (1,), generator=generator)), first)

    def designs(self, step: int) -> tuple[Design, ...]:
        """Return everything that a step may draw."""
        first = first_design(self._config, step)
        return tuple(self._at(position, first) for position in range(first, first + self._config.pool))

    def _at(self, position: int, first: int) -> Design:
        if position < self._config.pool:
            return self._first[position]
        if position not in self._later:
            self._later = {kept: design for kept, design in self._later.items() if kept >= first}
            self._later[position] = self._design(position)
        return self._later[position]

    def _design(self, position: int) -> Design:
        """Return the design at a position behind the first window, of the span of the stage in which it enters."""
        generator = torch.Generator().manual_seed(seed_of(self._config.seed, "design", position))
        names = self._config.families
        return sample(
            generator,
            family=names[position % len(names)],
            span=self._span(position),
            resolutions=self._config.resolutions,
            budget=self._config.budget,
        )

    def _span(self, position: int) -> Span:
        ends = (
            stage
            for stage in self._config.stages
            if first_design(self._config, stage.until) + self._config.pool > position
        )
        return next(ends).span
