"""Features as people see likeness: which of two pictures is nearer to a third (Fu et al., 2023, arXiv:2306.09344).

A file lists triplets of pictures with a vote each. The features, of which cosine distances are taken, are what the
output layer reads; a hinge loss with a margin lets them agree with the votes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Final, final

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from paramgen.comparison.tasks import Batch
from paramgen.errors import OptionError, one_line
from paramgen.images.batch import images_of
from paramgen.images.pictures import is_image
from paramgen.preparation import Objective, Preparation, Pupil, Training, check_range, preparations
from paramgen.preparation.output_layer import Features, output_slots
from paramgen.slots.init_program import slot_generator
from paramgen.storage.digest import file_sha256
from paramgen.storage.json_file import read_json_object

MAX_TRIPLETS: Final = 200_000
MAX_TRIPLETS_BYTES: Final = 50_000_000  # of the file
MAX_VALUES: Final = 500_000_000  # of all pictures, at the size that the network takes
_ADVICE: Final = (
    'It must be {"triplets": [["REF.png", "A.png", "B.png", VOTE], ...]}, VOTE 0 where A is nearer, 1 where B is'
)

Triplet = tuple[str, str, str]
"""The names of a picture, of the one that is nearer to it, and of the other."""


@final
@preparations.register("triplets")
@dataclass(frozen=True, kw_only=True)
class Triplets(Preparation):
    """Which of two pictures is nearer to a third, by votes in a file, triplets:FILE.json (Fu et al., 2023)."""

    needs_data: ClassVar[bool] = False
    takes_data: ClassVar[bool] = False
    training: ClassVar[Training] = Training(lr=3e-4, batch=96)

    file: str = ""  # JSON; pictures are named by their paths beside it
    margin: float | int = 0.05  # by which the nearer picture must be nearer

    def __post_init__(self) -> None:
        if not isinstance(self.file, str) or not self.file:
            raise OptionError(f"triplets needs a file. {_ADVICE}. Type: --how triplets:FILE.json")
        check_range("triplets:FILE.json", "margin", self.margin, 0, 2)

    def objective(self, pupil: Pupil) -> Objective:
        """Return the hinge loss on cosine distances of features."""
        if pupil.kind != "images":
            raise OptionError(f"--how triplets is for images; {pupil.model.name} takes text. Type: --how warmup")
        triplets = read_triplets(Path(self.file))
        names = sorted({name for triplet in triplets for name in triplet})
        shape = tuple(int(size) for size in pupil.model.example.shape[1:])
        values = len(names) * torch.Size(shape).numel()
        if values > MAX_VALUES:
            raise OptionError(
                f"{self.file!r} names {len(names):,} pictures, which are {values:,} numbers at the network's size; "
                f"allowed are {MAX_VALUES:,}. List fewer, or type a smaller --example-input"
            )
        pictures = images_of([Path(self.file).parent / name for name in names], shape)
        index = {name: place for place, name in enumerate(names)}
        places = torch.tensor([[index[name] for name in triplet] for triplet in triplets])
        read, size = Features(pupil.model, pupil.module), max(1, pupil.batch // 3)

        def batches(start: int) -> Iterator[Batch]:
            for step in count(start):
                generator = slot_generator(pupil.seed, f"step {step}", stream="triplets")
                chosen = places[torch.randint(len(places), (size,), generator=generator)]
                yield pictures[chosen.T.flatten()].to(pupil.device), chosen.to(pupil.device)

        def loss(batch: Batch) -> Tensor:
            pupil.logits(batch[0])
            reference, nearer, other = read.last.float().chunk(3)
            gain = cosine_similarity(reference, nearer) - cosine_similarity(reference, other)
            return (self.margin - gain).clamp_min(0).mean()

        return Objective(
            module=pupil.module,
            loss=loss,
            batches=batches,
            returned=output_slots(pupil.model),
            note="The output layer is as it was initialized: the features that it reads were trained.",
        )

    def describe(self) -> Mapping[str, Any]:
        """Return the sha256 of the file, not of its pictures."""
        read_triplets(Path(self.file))
        return {"sha256": file_sha256(Path(self.file))}


def read_triplets(file: Path) -> list[Triplet]:
    """Return the triplets of a file, which may be anybody's: pictures stay in its folder.

    Raises:
        OptionError: It is no such file, is too large, or an entry is none.
    """
    found = read_json_object(file, most=MAX_TRIPLETS_BYTES, error=OptionError, advice=_ADVICE).get("triplets")
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_TRIPLETS:
        raise OptionError(f"{file} lists no triplets, or more than {MAX_TRIPLETS:,}. {_ADVICE}")
    return [_triplet(file, entry) for entry in found]


def _triplet(file: Path, entry: Any) -> Triplet:
    if not isinstance(entry, list) or len(entry) != 4 or not all(isinstance(name, str) for name in entry[:3]):
        raise OptionError(f"{file} has the entry {one_line(entry)}, which is no triplet. {_ADVICE}")
    reference, first, second, vote = entry
    if type(vote) is not int or vote not in (0, 1):
        raise OptionError(f"{file} has the vote {one_line(repr(vote))}; allowed are 0 and 1. {_ADVICE}")
    for name in entry[:3]:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\0" in name or not is_image(path):
            raise OptionError(f"{file} names {one_line(repr(name))}, which is no picture in its folder. {_ADVICE}")
    return (reference, first, second) if vote == 0 else (reference, second, first)
