"""Layers that are brought near those of another network (guidance; Subramaniam et al., 2024, arXiv:2410.20035).

The guide is frozen, and may be untrained: its architecture alone says something about images. Nearness is linear CKA
(Kornblith et al., 2019, arXiv:1905.00414) between layers at even depths. The guide is not needed afterwards.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, Final, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from paramgen.comparison.models import model_under_test
from paramgen.comparison.tasks import Batch
from paramgen.diagnosis.recorder import layers_of, watching
from paramgen.errors import OptionError, one_line
from paramgen.initializers.inheritance.by_name import spread
from paramgen.preparation import Objective, Preparation, Pupil, Training, check_range, preparations
from paramgen.preparation.trained_model import TrainedModel
from paramgen.slots.init_program import slot_generator

_ADVICE: Final = "Type: --how guide:timm:resnet18, guide:FOLDER or guide:ARCH:FOLDER"
_LEAST: Final = 32
"""Examples in a batch below which CKA says little."""

_TOKENS: Final = 100  # that random texts are made of: most vocabularies are larger

Run = Callable[[Tensor], Any]
"""Runs a network on a batch of inputs."""


@final
@preparations.register("guide")
@dataclass(frozen=True, kw_only=True)
class Guide(Preparation):
    """Labels, and layers like those of another network, guide:ARCH, guide:FOLDER or guide:ARCH:FOLDER."""

    needs_data: ClassVar[bool] = False
    training: ClassVar[Training] = Training(lr=1e-3, batch=128)

    guide: str = ""  # the guide: an architecture, untrained; a folder with a trained one; or both
    labels: bool = True  # whether the network learns the labels, too; without data there are none
    strength: float | int = 1.0  # of the nearness, beside the labels

    _model: list[TrainedModel] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.guide, str) or not self.guide:
            raise OptionError(f"guide needs a network. {_ADVICE}")
        if not isinstance(self.labels, bool):
            raise OptionError(f"labels is {self.labels!r}. Allowed: true and false")
        check_range("guide:ARCH", "strength", self.strength, 0.001, 1000)
        _, folder = self._parts
        if folder:
            self._model.append(TrainedModel(folder=folder, advice=_ADVICE))

    @property
    def _parts(self) -> tuple[str, str]:
        """The guide's architecture and its folder; either may be empty."""
        if Path(self.guide).is_dir():
            return "", self.guide
        arch, colon, folder = self.guide.rpartition(":")
        return (arch, folder) if colon and Path(folder).is_dir() else (self.guide, "")

    def objective(self, pupil: Pupil) -> Objective:
        """Return the loss on the labels, and 1 - CKA of each layer and the guide's at the same depth."""
        if pupil.batch < _LEAST:
            raise OptionError(
                f"--batch is {pupil.batch}; the nearness of layers needs {_LEAST} examples or more. Type: --batch 128"
            )
        task, learns = pupil.task, self.labels and pupil.task is not None
        guide, run_guide = self._network(pupil)
        pairs = paired([name for name, _ in layers_of(pupil.module)], [name for name, _ in layers_of(guide)])

        def run(inputs: Tensor) -> Tensor:
            return pupil.logits(inputs)

        def loss(batch: Batch) -> Tensor:
            inputs, targets = batch
            with torch.no_grad():
                _, theirs = outputs_of(guide, run_guide, inputs)
            scores, own = outputs_of(pupil.module, run, inputs)
            apart = [1 - linear_cka(own[a], theirs[b]) for a, b in pairs if a in own and b in theirs]
            total = self.strength * torch.stack(apart).sum()
            if not learns:
                return total
            assert task is not None
            return total + cross_entropy(*task.answers(scores, targets))

        batches = pupil.batches if task is not None else _noise(pupil)
        return Objective(module=pupil.module, loss=loss, batches=batches)

    def describe(self) -> Mapping[str, Any]:
        """Return where a trained guide is from and its digest."""
        return self._model[0].describe() if self._model else {}

    def _network(self, pupil: Pupil) -> tuple[nn.Module, Run]:
        """Return the guide, frozen, and what runs it; it is tried once."""
        arch, _ = self._parts
        trained = self._model[0] if self._model else None
        first = next((pupil.batches if pupil.task is not None else _noise(pupil))(0))[0]
        if not arch:
            assert trained is not None
            trained.scores(pupil, first)
            return trained.module, trained.module
        size = (int(first.shape[2]), int(first.shape[3])) if first.dim() == 4 else None
        model = model_under_test(arch, pupil.kind, None, size=size)
        module = model.template if trained is None else trained.loaded_into(model.template)
        module = module.to(pupil.device).eval().requires_grad_(False)
        try:
            with torch.no_grad():
                model.logits(module, first)
        except Exception as error:  # a forward pass may raise anything
            shape = "x".join(map(str, first.shape))
            raise OptionError(
                f"The guide {arch!r} does not run on {shape}, which {pupil.model.name} takes: {type(error).__name__}: "
                f"{one_line(error)}. It must take the same input. {_ADVICE}"
            ) from error
        return module, lambda inputs: model.logits(module, inputs)


def paired(own: list[str], theirs: list[str]) -> list[tuple[str, str]]:
    """Return each of our layers with the guide's at the same depth: first with first, last with last."""
    return [(name, theirs[spread(len(theirs), len(own), place)]) for place, name in enumerate(own)]


def outputs_of(module: nn.Module, run: Run, inputs: Tensor) -> tuple[Any, dict[str, Tensor]]:
    """Run a network and return its result and what each of its layers returned, a row for each example."""
    found: dict[str, Tensor] = {}

    def watch(name: str, layer: nn.Module, args: Any, output: Tensor) -> None:
        if len(output) == len(inputs):
            found[name] = output

    with watching(module, watch):
        result = run(inputs)
    return result, found


def linear_cka(one: Float[Tensor, "batch ..."], other: Float[Tensor, "batch ..."]) -> Float[Tensor, ""]:
    """Return linear CKA of two layers' outputs, 0 to 1: the cosine of their centred Gram matrices (equation 2)."""
    first, second = _gram(one), _gram(other)
    return (first * second).sum() / (first.norm() * second.norm()).clamp_min(1e-12)


def _gram(features: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch batch"]:
    rows = features.flatten(1).float()
    rows = rows - rows.mean(0)
    return rows @ rows.T


def _noise(pupil: Pupil) -> Callable[[int], Iterator[Batch]]:
    """Return batches of Gaussian noise, or of random tokens, with labels that nobody looks at."""

    def batches(start: int) -> Iterator[Batch]:
        for step in count(start):
            generator = slot_generator(pupil.seed, f"step {step}", stream="noise")
            shape = (pupil.batch, *pupil.model.example.shape[1:])
            if pupil.kind == "images":
                inputs = torch.randn(shape, generator=generator)
            else:
                inputs = torch.randint(_TOKENS, shape, generator=generator)
            yield inputs.to(pupil.device), torch.zeros(pupil.batch, dtype=torch.int64, device=pupil.device)

    return batches
