"""What a recipe returns: everything a run depends on, as one frozen value with a JSON form."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Literal, final

from paramgen.hypernets.config import HypernetConfig


@final
@dataclass(frozen=True, kw_only=True)
class Objective:
    """What the hypernet is trained on: the loss of its predictions at once, and after some steps of training."""

    task: float = 1.0  # weight of the gradient at step 0
    lookahead: float = 1.0  # weight of the gradient after `inner_steps`, taken as if it were one at step 0
    departure: float = 0.0  # weight of the relative distance between prediction and base
    inner_steps: int = 4
    inner_rate: float = 1e-3
    inner_optimizer: Literal["adam", "sgd"] = "adam"
    label_smoothing: float = 0.1


@final
@dataclass(frozen=True, kw_only=True)
class Optimization:
    """How the hypernet is trained."""

    steps: int
    networks: int = 2  # per step and process
    batch: int = 64
    rate: float = 1e-3
    warmup: int = 100
    schedule: Literal["cosine", "constant"] = "cosine"
    floor: float = 0.05  # the schedule ends at this share of the rate
    weight_decay: float = 0.0
    clip: float = 1.0
    average: float = 0.998  # decay of the moving average of the hypernet, which is what is kept


@final
@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole run."""

    hypernet: HypernetConfig
    objective: Objective
    optimization: Optimization
    pool: int = 480  # how many designs the run trains on; each is traced once
    held_out: int = 6  # how many designs beyond the training range it is judged on as it goes
    judge_every: int = 250  # steps between judgements
    save_every: float = 120.0  # seconds between checkpoints
    seed: int = 0

    def to_json(self) -> str:
        """Return the whole as JSON; equal text means equal runs."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain = values | {
            "hypernet": self.hypernet.to_json(),
            "objective": dataclasses.asdict(self.objective),
            "optimization": dataclasses.asdict(self.optimization),
        }
        return json.dumps(plain, indent=2)
