"""The keywords of `paramgen.compare` that say how it trains."""

from typing import TypedDict


class ProtocolOptions(TypedDict, total=False):
    """The fields of `paramgen.comparison.Protocol`."""

    steps: int
    seeds: int
    rates: tuple[float, ...]
    widen: int
    batch: int
    schedule: str  # cosine or constant
    warmup: float
    decay: float
    clip: float
    evaluations: int
    full_grid: bool
    train_examples: int
    test_examples: int
    length: int | None
