"""What a recipe for a zoo returns: everything a run depends on, as one frozen value with a JSON form."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Literal, final

from paramgen.errors import OptionError
from training.config import Optimization

Prediction = Literal["sample", "v_prediction", "epsilon", "flow"]


@final
@dataclass(frozen=True, kw_only=True)
class Denoiser:
    """The size of the transformer."""

    hidden: int = 128
    depth: int = 2
    heads: int = 4
    dropout: float = 0.2


@final
@dataclass(frozen=True, kw_only=True)
class Blocks:
    """How a checkpoint is turned into blocks."""

    width: int = 32
    components: int = 128  # principal components; 0: the values themselves are cut
    whitening: float = 0.5  # from each component's own spread, 0, to the same for all, 1


@final
@dataclass(frozen=True, kw_only=True)
class WeightsConfig:
    """A whole run."""

    optimization: Optimization
    blocks: Blocks = Blocks()
    denoiser: Denoiser = Denoiser()
    prediction: Prediction = "sample"  # what the denoiser is asked for; `flow` is flow matching
    snapshots: Literal["last", "all"] = "last"  # which of a training run's checkpoints are learned from
    wordless: float = 0.1  # share of checkpoints whose words are withheld, for guidance
    jitter: float = 0.0  # how far the embedding of a text is moved, relative to its length
    judge_every: int = 500  # steps between judgements
    judge_steps: int = 8  # of denoising, when judged
    save_every: float = 60.0  # seconds between checkpoints
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.wordless < 1 and 0 <= self.denoiser.dropout < 1 and self.jitter >= 0):
            raise OptionError("wordless and dropout are shares below 1, jitter is 0 or more. Mend the recipe.")

    def to_json(self) -> str:
        """Return the whole as JSON; equal text means equal runs."""
        return json.dumps(dataclasses.asdict(self), indent=2)
