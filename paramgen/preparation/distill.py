"""Learning to answer as a trained model does (knowledge distillation; Hinton et al., 2015, arXiv:1503.02531).

The labels of the data are not needed: the model's scores, softened by a temperature, take their place.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, final

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from paramgen.comparison.tasks import Batch
from paramgen.errors import OptionError
from paramgen.preparation import Objective, Preparation, Pupil, Training, check_range, preparations
from paramgen.preparation.trained_model import TrainedModel

_ADVICE: Final = "Type: --how distill:FOLDER, with a trained model that takes the same input"


@final
@preparations.register("distill")
@dataclass(frozen=True, kw_only=True)
class Distill(Preparation):
    """The answers of a trained model on your data, distill:FOLDER."""

    training: ClassVar[Training] = Training(lr=1e-3)

    folder: str = ""  # of the trained model: with config.json and safetensors
    temperature: float | int = 2.0  # by which both networks' scores are divided
    labels: float | int = 0.0  # share of the loss that is the ordinary one, from the labels of the data

    _model: list[TrainedModel] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.folder, str) or not self.folder:
            raise OptionError(f"distill needs a trained model. {_ADVICE}")
        check_range("distill:FOLDER", "temperature", self.temperature, 0.1, 100)
        check_range("distill:FOLDER", "labels", self.labels, 0, 1)
        self._model.append(TrainedModel(folder=self.folder, advice=_ADVICE))

    def objective(self, pupil: Pupil) -> Objective:
        """Return the divergence of the two networks' softened answers, times the square of the temperature."""
        (trained,), task = self._model, pupil.task
        assert task is not None
        heat = float(self.temperature)

        def answers(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
            inputs, targets = batch
            given, wanted = task.answers(pupil.logits(inputs), targets)
            theirs, _ = task.answers(trained.scores(pupil, inputs), targets)
            return given, theirs, wanted

        def loss(batch: Batch) -> Tensor:
            given, theirs, wanted = answers(batch)
            soft, target = log_softmax(given / heat, 1), log_softmax(theirs / heat, 1)
            apart = heat**2 * kl_div(soft, target, reduction="batchmean", log_target=True)
            if not self.labels:
                return apart
            return (1 - self.labels) * apart + self.labels * cross_entropy(given, wanted)

        with torch.no_grad():
            given, theirs, _ = answers(next(pupil.batches(0)))
        if given.shape != theirs.shape:
            raise OptionError(
                f"{self.folder!r} returns {theirs.shape[-1]} scores, {pupil.model.name} {given.shape[-1]}: both must "
                f"answer alike. Type: --set {'vocab_size' if pupil.kind == 'text' else 'num_classes'}="
                f"{theirs.shape[-1]}"
            )
        return Objective(module=pupil.module, loss=loss, batches=pupil.batches)

    def describe(self) -> Mapping[str, Any]:
        """Return where the trained model is from and its digest."""
        return self._model[0].describe()
