"""epsinas: a score of an architecture by two constant weights (Gracheva, 2023, arXiv:2302.04406).

Every weight, and every scale of a norm, is one constant, once a small and once a large one; biases are zero. The
outputs are brought to the range from 0 to 1 together, and epsilon is the mean absolute difference of the two divided by
their mean. Zeros do not count: the smallest output of each is one. No initialization changes it.
"""

from collections.abc import Mapping
from typing import ClassVar, Final, final

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from paramgen.diagnosis import Measure, Observation, Threshold, measures
from paramgen.diagnosis.trial import Trial
from paramgen.slots.init_program import slot_generator

_CONSTANTS: Final = tuple(10.0**power for power in range(-7, 1))
_UNKNOWN: Final = 0.1  # share of the outputs of a constant that may be zero or no number

Outputs = Float64[Tensor, " outputs"]


@final
@measures.register("epsinas")
class Epsinas(Measure):
    """A score of the architecture, the same for all initial weights: how outputs differ between two constant weights.

    The constants are 1e-7 and 1, or the nearest ones between them for which fewer than 10 % of the outputs are lost.
    """

    __slots__ = ()

    labels: ClassVar[Mapping[str, str]] = {
        "epsilon": "epsilon of the architecture",
        "small": "the smaller constant",
        "large": "the larger constant",
    }
    thresholds: ClassVar[Mapping[str, Threshold]] = {}

    def observe(self, trial: Trial) -> Observation:
        """Run the network with one constant after the other, from both ends."""
        with trial.kept(), torch.no_grad():
            small, first = _usable(trial, _CONSTANTS)
            large, second = _usable(trial, tuple(reversed(_CONSTANTS)))
        known = first is not None and second is not None and large > small
        return Observation(
            figures={
                "epsilon": epsilon(first, second) if known and first is not None and second is not None else None,
                "small": small if known else None,
                "large": large if known else None,
            }
        )


def _usable(trial: Trial, constants: tuple[float, ...]) -> tuple[float, Outputs | None]:
    """Return the first constant of which enough outputs are known, and these."""
    for constant in constants:
        set_constant(trial, constant)
        outputs = normalized(trial.scores())
        if float(outputs.isnan().double().mean()) < _UNKNOWN:
            return constant, outputs
    return constants[-1], None


def set_constant(trial: Trial, constant: float) -> None:
    """Set every weight to a constant and every bias to zero; embeddings, to tell tokens apart, are uniform."""
    embedded = {
        id(child.weight): name
        for name, child in trial.module.named_modules()
        if isinstance(child, (nn.Embedding, nn.EmbeddingBag))
    }
    for name, parameter in trial.module.named_parameters():
        if id(parameter) in embedded:
            parameter.uniform_(generator=slot_generator(trial.seed, embedded[id(parameter)], stream="input"))
        else:
            parameter.fill_(0.0 if name.rpartition(".")[2].startswith("bias") else constant)


def normalized(outputs: Tensor) -> Outputs:
    """Return all outputs in the range from 0 to 1; the zeros among them are NaN."""
    values = outputs.double().flatten()
    values = (values - values.min()) / (values.max() - values.min())
    return torch.where(values == 0, float("nan"), values)


def epsilon(first: Outputs, second: Outputs) -> float | None:
    """Return the mean absolute difference divided by the mean of both; None where no output is known of both."""
    known = ~(first.isnan() | second.isnan())
    if not bool(known.any()):
        return None
    both = torch.stack([first[known], second[known]])
    return float((both[0] - both[1]).abs().mean() / both.mean())
