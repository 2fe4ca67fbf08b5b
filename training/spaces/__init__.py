"""Architectures sampled on the fly: one family per file, each design a small frozen dataclass that builds its network.

A design says everything about a network but its numbers. Held-out designs are wider or deeper than any in training.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import torch

from paramgen.errors import OptionError
from paramgen.registry import Registry
from training.spaces.design import CLASSES, Design, Span, Takes

HELD_OUT_FACTOR: Final = 16  # a held-out network may cost so many times what a training network may

_TRIES: Final = 1000

families = Registry[Design]("family", "training.spaces")


def sample(
    generator: torch.Generator,
    *,
    family: str | None = None,
    span: Span = "small",
    resolutions: Sequence[int] = (),
    budget: float = 1.0,
) -> Design:
    """Draw a design of the named family, or of any for images, that costs at most `budget` times its family's limit.

    No `resolutions` means any.
    """
    names = families_of("images")
    allowed = HELD_OUT_FACTOR if span == "held_out" else budget
    for _ in range(_TRIES):
        name = family or names[int(torch.randint(len(names), (1,), generator=generator))]
        design = families.get(name).sample(generator, span=span)
        if design.resolution in (resolutions or (design.resolution,)) and design.cost() <= design.limit * allowed:
            return design
    raise OptionError(f"No design of {family or 'any family'} is cheap enough, in {_TRIES} tries; raise its `limit`.")


def pool(
    seed: int,
    size: int,
    *,
    span: Span = "small",
    among: Sequence[str] = (),
    classes: int = CLASSES,
    resolutions: Sequence[int] = (),
    budget: float = 1.0,
) -> tuple[Design, ...]:
    """Return `size` designs, families in turn, so that each has its share; `among` no families means all for images."""
    generator = torch.Generator().manual_seed(seed)
    names = tuple(among) or families_of("images")
    drawn = (
        sample(generator, family=names[index % len(names)], span=span, resolutions=resolutions, budget=budget)
        for index in range(size)
    )
    return tuple(replace(design, classes=classes) for design in drawn)


def families_of(takes: Takes) -> tuple[str, ...]:
    """Return the names of the families whose networks take images, or texts."""
    return tuple(name for name in families.names() if families.get(name).takes == takes)


def family_of(design: Design) -> str:
    """Return the name of a design's family, which is that of its file."""
    return type(design).__module__.rpartition(".")[2]
