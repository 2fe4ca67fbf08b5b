"""What the first gradient reaches: its norm by layer, units that get none, and the rank of the last features."""

from collections.abc import Mapping
from typing import ClassVar, Final, final

import torch
from torch import Tensor

from paramgen.diagnosis import Measure, Observation, Profile, Threshold, measures
from paramgen.diagnosis.signal import finite
from paramgen.diagnosis.trial import Trial

_MOST_ROWS: Final = 512  # of the features whose rank is measured


@final
@measures.register("gradient")
class Gradient(Measure):
    """Gradient norms by layer, dead units, weights without a gradient, and the effective rank of the features."""

    __slots__ = ()

    labels: ClassVar[Mapping[str, str]] = {
        "loss": "loss before training",
        "norm": "gradient norm",
        "spread": "largest / smallest relative step",
        "without": "weights without a gradient",
        "dead": "dead units",
        "rank": "effective rank of the last features",
    }
    thresholds: ClassVar[Mapping[str, Threshold]] = {
        "spread": Threshold(
            good=(0.0, 1e3),
            watch=(0.0, 1e5),
            high="Layers learn at very different speeds: use an optimizer that adapts to each, such as AdamW.",
        ),
        "without": Threshold(
            good=(0.0, 0.9),  # residual branches that begin at zero leave most of theirs without
            watch=(0.0, 0.98),
            high="Most weights get no gradient in the first step: check that the output is not all zero.",
        ),
        "dead": Threshold(
            good=(0.0, 0.1),
            watch=(0.0, 0.4),
            high="Many units are silent for every example, so they do not learn: use smaller biases or a leaky ReLU.",
        ),
        "rank": Threshold(
            good=(0.05, 1.0),
            watch=(0.02, 1.0),
            low="The last features of all examples span very few directions: use orthogonal weights or normalization.",
        ),
    }

    def observe(self, trial: Trial) -> Observation:
        """Look at the gradients of one backward pass."""
        recorded, weights = trial.recorded, trial.weights
        norms = {name: float(gradient.norm()) for name, gradient in recorded.gradients.items()}
        sizes = {name: float(weights[name].detach().norm()) for name in norms}
        steps = {name: norm / sizes[name] for name, norm in norms.items() if sizes[name] > 0 and norm > 0}
        idle = sum(norms.get(name, 0.0) == 0 for name in weights)
        deaths = [layer.dead for layer in recorded.layers if layer.dead is not None]
        return Observation(
            figures={
                "loss": finite(recorded.loss),
                "norm": finite(sum(norm**2 for norm in norms.values()) ** 0.5),
                "spread": finite(max(steps.values()) / min(steps.values())) if steps else None,
                "without": idle / len(weights) if weights else None,
                "dead": sum(deaths) / len(deaths) if deaths else None,
                "rank": None if recorded.features is None else rank_share(recorded.features),
            },
            profile=Profile(
                layers=tuple(norms),
                values={
                    "norm": tuple(finite(each) for each in norms.values()),
                    "relative": tuple(finite(steps.get(name)) for name in norms),
                },
            ),
        )


def effective_rank(spectrum: Tensor) -> float:
    """Return the exponential of the entropy of a spectrum (Roy & Vetterli, 2007): n where n values are equal."""
    positive = spectrum[spectrum > 0].double()
    if not len(positive):
        return 0.0
    shares = positive / positive.sum()
    return float(torch.exp(-(shares * shares.log()).sum()))


def rank_share(features: Tensor) -> float | None:
    """Return the effective rank of rows of features, as a share of the largest that it could be."""
    rows = features[:: max(1, -(-len(features) // _MOST_ROWS))].float()
    if not bool(rows.isfinite().all()) or not bool(rows.any()):
        return None
    return effective_rank(torch.linalg.svdvals(rows)) / min(rows.shape)
