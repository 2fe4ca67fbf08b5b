"""The configuration of a hypernet's run, which its recipe returns: everything that decides the result."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Literal, final

from paramgen.errors import OptionError, UnknownNameError
from paramgen.hypernets.config import HypernetConfig
from paramgen.hypernets.supernet import SupernetConfig
from training.spaces import families, families_of
from training.spaces.design import RESOLUTIONS, Takes

Precision = Literal["no", "bf16"]
ClassSubset = Literal["all", "even", "odd"]


@final
@dataclass(frozen=True, kw_only=True)
class Objective:
    """The objective of the hypernet: the loss of its predictions without training, and after some training steps."""

    task: float = 1.0  # weight of the gradient at step 0
    lookahead: float = 1.0  # weight of the gradient after `inner_steps`, taken as if it were one at step 0
    residual: float = 0.0  # weight of the relative size of the residual: prediction minus default initialization
    inner_steps: int = 4
    inner_lr: float = 1e-3
    inner_optimizer: Literal["adam", "sgd"] = "adam"
    label_smoothing: float = 0.1


@final
@dataclass(frozen=True, kw_only=True)
class Optimization:
    """How the hypernet is trained."""

    steps: int
    batch: int = 64
    lr: float = 1e-3
    warmup: int = 100
    schedule: Literal["cosine", "constant"] = "cosine"
    floor: float = 0.05  # the schedule ends at this share of lr
    weight_decay: float = 0.0
    clip: float = 1.0
    precision: Precision = "no"  # mixed precision, of the networks and of the hypernet
    average: float = 0.998  # decay of the moving average of the hypernet, which is what is kept


@final
@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage of a run: which designs it draws, how many, and the objective.

    The designs are a window of `Config.pool` over an endless sequence. A fixed window is memorized fast; a moving one
    prevents that.
    """

    until: int  # the first step that is no longer part of it
    objective: Objective
    networks: int = 2  # per step
    span: Literal["small", "wide"] = "small"  # of the designs that enter the window
    renewed: int = 0  # designs that enter, and leave, at each step


@final
@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """A data set of a run, by the name that `--data NAME=PATH` refers to; each step draws one of them."""

    name: str = "images"
    classes: int | None = None  # None: as many as the folder has
    share: float = 1.0  # how often it is drawn, relative to the others
    subset: ClassSubset = "all"  # of its classes, in the order of their names; every other class leaves half unseen


@final
@dataclass(frozen=True, kw_only=True)
class Config:
    """The configuration of a run."""

    hypernet: HypernetConfig | SupernetConfig
    optimization: Optimization
    stages: tuple[Stage, ...]
    datasets: tuple[DatasetConfig, ...] = (DatasetConfig(),)
    families: tuple[str, ...] = dataclasses.field(default_factory=lambda: families_of("images"))
    resolutions: tuple[int, ...] = RESOLUTIONS  # sides of the images, or lengths of the texts, that designs may take
    budget: float = 1.0  # what a design may cost, in multiples of its family's limit
    pool: int = 240  # designs in the window
    evaluated: int = 6  # designs of the evaluation: so many unseen ones of the training range, and as many beyond it
    evaluate_every: int = 250  # steps between evaluations
    save_every: float = 120.0  # seconds between checkpoints
    seed: int = 0

    def __post_init__(self) -> None:
        ends = [stage.until for stage in self.stages]
        if ends != sorted(set(ends)) or ends[-1:] != [self.optimization.steps]:
            raise OptionError(
                f"Stages end at {ends}; they must rise, to the run's last step {self.optimization.steps}."
            )
        names = [each.name for each in self.datasets]
        if not names or len(set(names)) < len(names):
            raise OptionError(f"Datasets are called {names}; a recipe needs at least one, and no name twice.")
        known = families.names()
        for family in self.families or ("",):
            if family not in known:
                raise UnknownNameError.of("family", family, known, "A family is a file of training/spaces.")
        if len({families.get(family).takes for family in self.families}) > 1:
            raise OptionError(f"{', '.join(self.families)} do not all take images, or all texts, as one run's must.")

    @property
    def takes(self) -> Takes:
        """What all networks of the run take."""
        return families.get(self.families[0]).takes

    def stage(self, step: int) -> Stage:
        """Return the stage that a step is part of."""
        return next(stage for stage in self.stages if step < stage.until)

    def to_json(self) -> str:
        """Return the configuration as JSON; equal text means equal runs."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain = values | {
            "hypernet": self.hypernet.to_json(),
            "stages": [dataclasses.asdict(stage) for stage in self.stages],
            "optimization": dataclasses.asdict(self.optimization),
            "datasets": [dataclasses.asdict(each) for each in self.datasets],
        }
        return json.dumps(plain, indent=2)
