"""The configuration of a denoiser's run, which its recipe returns: everything that decides the result."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Literal, final

from paramgen.errors import OptionError
from training.config import Optimization

PredictionType = Literal["sample", "v_prediction", "epsilon", "flow"]


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
    """The configuration of a run."""

    optimization: Optimization
    blocks: Blocks = Blocks()
    denoiser: Denoiser = Denoiser()
    prediction: PredictionType = "sample"  # the prediction type of diffusers; `flow` is flow matching
    snapshots: Literal["last", "all"] = "last"  # which checkpoints of each of the zoo's training runs are trained on
    prompt_dropout: float = 0.1  # share of checkpoints trained without their prompt, for classifier-free guidance
    jitter: float = 0.0  # how far the embedding of a text is moved, relative to its length
    evaluate_every: int = 500  # steps between evaluations
    evaluate_steps: int = 8  # of denoising, in evaluations
    save_every: float = 60.0  # seconds between checkpoints
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.prompt_dropout < 1 and 0 <= self.denoiser.dropout < 1 and self.jitter >= 0):
            raise OptionError("prompt_dropout and dropout must be in [0, 1), and jitter 0 or more. Change the recipe.")

    def to_json(self) -> str:
        """Return the whole as JSON; equal text means equal runs."""
        return json.dumps(dataclasses.asdict(self), indent=2)
