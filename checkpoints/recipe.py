"""What a zoo is made of: everything that decides its bytes, but for the pictures."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, final

from paramgen.errors import OptionError
from paramgen.zoo.layout import Form


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The shared start: `episodes` of `steps` with `group` concepts each, whose own factors begin anew every time."""

    episodes: int = 10
    steps: int = 60
    group: int = 32
    batch: int = 4
    rate: float = 2e-3  # of the base
    own_rate: float = 3e-3  # of what is a concept's own


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A zoo. Concepts of a `group` are trained together; `snapshots` are the steps that are kept."""

    task: Literal["translation", "classification"] = "translation"
    train: int
    validation: int
    test: int
    start: Start
    form: Form = "low_rank"
    rank: int = 4
    alpha: float = 4.0
    common: bool = True  # the factors A are learned with the start, and are the same for all
    seed: int = 0
    repeated: int = 0  # of the first concepts, how many are trained again from two other seeds
    group: int = 32
    batch: int = 4
    snapshots: tuple[int, ...] = (60, 90, 120)
    rate: float = 3e-3
    adversarial: float = 0.01  # pix2pix weighs the distance 100 times (Isola et al., 2017, arXiv:1611.07004, §3.1)
    pictures: int = 512  # of each class, where there are classes
    judged: int = 64  # of which none is trained on

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        if min(self.train, self.group, self.batch, self.pictures, self.judged, self.rank) < 1:
            raise OptionError("A recipe needs at least one training concept, picture, and concept in a group.")
        if not self.snapshots or sorted(set(self.snapshots)) != list(self.snapshots) or self.snapshots[0] < 1:
            raise OptionError(f"The snapshots are {self.snapshots}; they must be ascending steps from 1 on.")

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as the run keeps it."""
        return asdict(self)

    @property
    def identity(self) -> str:
        """Return a hash: a run is continued only with the same."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()
