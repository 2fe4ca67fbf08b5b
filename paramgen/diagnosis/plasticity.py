"""Whether a network can go on learning: the largest singular values that it begins with, and units that are silent.

The penalty is the sum over layers of (s^k - 1)^2, with s a layer's largest singular value and k = 2, which spectral
regularization keeps small to keep networks trainable (Lewandowski et al., 2024, arXiv:2406.06811); biases, which it
also regularizes, are left out.
"""

from collections.abc import Mapping
from typing import ClassVar, Final, final

import torch
from torch import Tensor

from paramgen.diagnosis import Measure, Observation, Profile, Threshold, measures
from paramgen.diagnosis.gradient import rank_share
from paramgen.diagnosis.signal import finite
from paramgen.diagnosis.trial import Trial

POWER: Final = 2


@final
@measures.register("plasticity")
class Plasticity(Measure):
    """Largest singular values of the layers, the spectral penalty, silent units and the rank of the features."""

    __slots__ = ()

    labels: ClassVar[Mapping[str, str]] = {
        "penalty": "spectral penalty, all layers",
        "largest": "largest singular value",
        "smallest": "smallest of the layers' largest",
        "dead": "dead units",
        "rank": "effective rank of the last features",
    }
    thresholds: ClassVar[Mapping[str, Threshold]] = {
        "largest": Threshold(
            good=(0.0, 10.0),
            watch=(0.0, 100.0),
            high="A layer stretches some inputs far more than others, which makes later learning hard: use orthogonal "
            "weights or smaller ones.",
        ),
    }

    def observe(self, trial: Trial) -> Observation:
        """Compute one singular value of each layer; the rest was recorded in one pass."""
        recorded = trial.recorded
        values = {name: largest_singular_value(weight.detach()) for name, weight in trial.weights.items()}
        known = [each for each in values.values() if each is not None]
        deaths = [layer.dead for layer in recorded.layers if layer.dead is not None]
        return Observation(
            figures={
                "penalty": finite(sum((each**POWER - 1) ** 2 for each in known)) if known else None,
                "largest": max(known) if known else None,
                "smallest": min(known) if known else None,
                "dead": sum(deaths) / len(deaths) if deaths else None,
                "rank": None if recorded.features is None else rank_share(recorded.features),
            },
            profile=Profile(layers=tuple(values), values={"singular": tuple(values.values())}),
        )


def largest_singular_value(weight: Tensor) -> float | None:
    """Return the largest singular value of a weight as outputs x all others; None where it is no number."""
    matrix = weight.flatten(1).double()
    small = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    if not bool(small.isfinite().all()):
        return None
    return float(torch.linalg.eigvalsh(small)[-1].clamp(min=0).sqrt())
