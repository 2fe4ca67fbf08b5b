"""Learning to answer as a random network does (Sarnthein et al., 2023, arXiv:2302.12091).

The teacher is the network with its initial weights, which nothing trained; the student begins next to it. Behind both
stands a projector with more outputs than there are classes. No labels are needed, and the projector is thrown away.
"""

import copy
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar, Final, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax, normalize

from paramgen.comparison.tasks import Batch
from paramgen.errors import OptionError
from paramgen.initializers.library import default_weights
from paramgen.preparation import Objective, Preparation, Pupil, Training, check_range, preparations
from paramgen.preparation.output_layer import Features, output_slots
from paramgen.slots.init_program import slot_generator
from paramgen.slots.manifest import state_of
from paramgen.slots.torch_internals import BatchNorm

_HOW: Final = "teacher"


@final
class Projector(nn.Module):
    """Two hidden layers, a bottleneck on the unit sphere, and many outputs."""

    def __init__(self, features: int, hidden: int, bottleneck: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        self.last = nn.Linear(bottleneck, outputs, bias=False)

    def forward(self, features: Float[Tensor, "batch features"]) -> Float[Tensor, "batch outputs"]:
        """Return scores for the outputs."""
        return self.last(normalize(self.layers(features), dim=1))


@final
class Student(nn.Module):
    """A network and the projector behind what its output layer reads."""

    def __init__(self, network: nn.Module, projector: Projector) -> None:
        super().__init__()
        self.network, self.projector = network, projector


@final
@preparations.register("teacher")
@dataclass(frozen=True, kw_only=True)
class Teacher(Preparation):
    """The answers of the network's own random copy, without labels (Sarnthein et al., 2023)."""

    training: ClassVar[Training] = Training(lr=1e-3, batch=256, decay=0.0)

    alpha: float | int = 1e-10  # share of other random weights that the student begins with
    hidden: int = 2048  # of the projector
    bottleneck: int = 256
    outputs: int = 65_536

    def __post_init__(self) -> None:
        check_range(_HOW, "alpha", self.alpha, 0, 1)
        for name in ("hidden", "bottleneck", "outputs"):
            check_range(_HOW, name, getattr(self, name), 2, 1_000_000, whole=True)

    def objective(self, pupil: Pupil) -> Objective:
        """Return the divergence of the student's answers from the teacher's."""
        if pupil.kind != "images":
            raise OptionError("--how teacher is for images; the data are a text. Type: --how warmup, without --data")
        own = pupil.module
        features = self._features(pupil, next(pupil.batches(0)))
        projector = self._projector(pupil, features)
        teacher = copy.deepcopy(Student(own, projector)).eval().requires_grad_(False)
        for part in teacher.modules():
            if isinstance(part, BatchNorm):  # as the student's do, they take the statistics of the batch
                part.train()
        student = Student(own, projector)
        self._move(pupil, student, features)
        seen, shown = Features(pupil.model, student.network), Features(pupil.model, teacher.network)

        def loss(batch: Batch) -> Tensor:
            with torch.no_grad():
                pupil.model.logits(teacher.network, batch[0])
                target = log_softmax(teacher.projector(shown.last), 1)
            pupil.model.logits(student.network, batch[0])
            return kl_div(log_softmax(student.projector(seen.last), 1), target, reduction="batchmean", log_target=True)

        return Objective(
            module=student,
            loss=loss,
            batches=pupil.batches,
            returned=output_slots(pupil.model),
            note="The output layer is as it was initialized: the projector stood in its place.",
        )

    @torch.no_grad()
    def _features(self, pupil: Pupil, batch: Batch) -> int:
        """Return how many features the output layer reads."""
        pupil.module.eval()
        read = Features(pupil.model, pupil.module)
        pupil.logits(batch[0])
        read.close()
        return int(read.last.shape[1])

    def _projector(self, pupil: Pupil, features: int, stream: str = "teacher") -> Projector:
        """Return a projector with torch's default initialization, of which a generator decides the seed."""
        seed = int(torch.randint(2**62, (1,), generator=slot_generator(pupil.seed, "projector", stream=stream)))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return Projector(features, self.hidden, self.bottleneck, self.outputs).to(pupil.device)

    @torch.no_grad()
    def _move(self, pupil: Pupil, student: Student, features: int) -> None:
        """Move the student from the teacher's weights towards other random ones, at the same variance (section 4)."""
        share = float(self.alpha)
        scale = sqrt(share**2 + (1 - share) ** 2)
        other = self._projector(pupil, features, stream="student").state_dict()
        for name, tensor in student.projector.state_dict().items():
            _mix(tensor, other[name], share, scale)
        state = state_of(student.network)
        for slot in pupil.model.architecture.manifest.filled:
            if slot.kind == "parameter":
                drawn = default_weights(slot, pupil.seed + 1).to(pupil.device).float()
                if not torch.equal(drawn, state[slot.name]):  # constants stay
                    _mix(state[slot.name].detach(), drawn, share, scale)


def _mix(tensor: Tensor, other: Tensor, share: float, scale: float) -> None:
    mixed = ((1 - share) * tensor.double() + share * other.double()) / scale
    tensor.copy_(mixed)
