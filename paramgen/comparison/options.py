"""The keywords of `paramgen.compare` that say how it trains."""

from collections.abc import Sequence
from typing import Literal, TypedDict

Schedule = Literal["cosine", "constant"]


class ProtocolOptions(TypedDict, total=False):
    """The fields of `Protocol` as keywords, all of them optional."""

    steps: int
    seeds: int
    lr: float | str | Sequence[float]
    widen: int
    batch: int
    schedule: Schedule
    warmup: float
    decay: float
    clip: float
    evaluations: int
    full_grid: bool
    train_examples: int
    test_examples: int
    length: int | None
    rescale_every: int | None
    rescale_std: float | None
    sparse: str | None
