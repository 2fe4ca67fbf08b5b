"""The recipe of a zoo: everything that decides its bytes, except for the pictures."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, final

from paramgen.errors import OptionError
from paramgen.zoo.layout import ZooForm


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BaseTraining:
    """How the base checkpoint is trained: `episodes` of `steps`, each with a `group` of tasks from zero factors."""

    episodes: int = 10
    steps: int = 60
    group: int = 32
    batch: int = 4
    lr: float = 2e-3  # of the base
    task_lr: float = 3e-3  # of what each task has of its own


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ZooRecipe:
    """A zoo. Tasks of a `group` are trained together; `snapshots` are the steps that are kept."""

    kind: Literal["translation", "classification"] = "translation"
    train: int
    validation: int
    test: int
    base: BaseTraining
    form: ZooForm = "low_rank"
    rank: int = 4
    alpha: float = 4.0
    common: bool = True  # the factors A are trained with the base checkpoint, and shared by all tasks
    seed: int = 0
    repeated: int = 0  # of the first tasks, how many are trained again from two other seeds
    group: int = 32
    batch: int = 4
    snapshots: tuple[int, ...] = (60, 90, 120)
    lr: float = 3e-3
    adversarial: float = 0.01  # pix2pix weighs the distance 100 times (Isola et al., 2017, arXiv:1611.07004, §3.1)
    pictures: int = 512  # of each class, where there are classes
    held_out: int = 64  # held out for the metrics

    def __post_init__(self) -> None:
        """Raise OptionError for values that cannot be trained."""
        if min(self.train, self.group, self.batch, self.pictures, self.held_out, self.rank) < 1:
            raise OptionError("A recipe needs at least one training task, picture, and task in a group.")
        if not self.snapshots or sorted(set(self.snapshots)) != list(self.snapshots) or self.snapshots[0] < 1:
            raise OptionError(f"The snapshots are {self.snapshots}; they must be ascending steps from 1 on.")

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as the run keeps it."""
        return asdict(self)

    @property
    def sha256(self) -> str:
        """Return the hash by which a zoo knows that it is continued with the same recipe."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()
