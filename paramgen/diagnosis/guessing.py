"""Initial guessing bias: how far an untrained network prefers some classes (Francazi et al., 2024, arXiv:2306.00809).

gamma is the variance over initial weights of an output's mean over the data, divided by its mean variance within the
data. At 1, the share of inputs that a network of two classes gives the first is uniform over initial weights; beyond,
most networks give nearly all inputs one class.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, final

import torch

from paramgen.diagnosis import Measure, Observation, Threshold, mean_of, measures
from paramgen.diagnosis.trial import Trial


@final
@measures.register("guessing")
class Guessing(Measure):
    """How far the network prefers some classes before training: gamma, and the share of its most frequent answer."""

    __slots__ = ()

    labels: ClassVar[Mapping[str, str]] = {
        "gamma": "gamma: between / within variance",
        "top_share": "inputs with the most frequent answer",
        "chance": "the same without a preference",
    }
    thresholds: ClassVar[Mapping[str, Threshold]] = {
        "gamma": Threshold(
            good=(float("-inf"), 2.0),
            watch=(float("-inf"), 10.0),
            high="The network answers nearly the same whatever the input: centre the data, use normalization, or give "
            "the output smaller weights.",
        ),
    }

    def observe(self, trial: Trial) -> Observation:
        """Run the network; the answers at every token are answers of their own."""
        scores = trial.recorded.scores.float()
        rows = scores.flatten(0, -2).double() if scores.dim() != 4 else scores.movedim(1, -1).flatten(0, -2).double()
        classes = rows.shape[1]
        counts = torch.bincount(rows.argmax(1), minlength=classes)
        top = float(counts.max() / len(rows)) if classes > 1 and bool(rows.isfinite().all()) else None
        chance = None if top is None else _expected_top(len(rows), classes, trial.seed)
        return Observation(
            figures={"top_share": top, "chance": chance},
            pooled={"means": rows.mean(0), "variance": rows.var(0).mean(), "rows": len(rows)},
        )

    def figures(self, observations: Sequence[Observation]) -> Mapping[str, float | None]:
        """Pool the outputs of all networks: at initialization, they are draws from one distribution."""
        means = torch.cat([each.pooled["means"] for each in observations])
        within = torch.stack([each.pooled["variance"] for each in observations]).mean()
        rows = observations[0].pooled["rows"]
        gamma = None
        if len(means) > 1 and bool(within > 0):
            # The mean over so many examples varies by itself, too.
            gamma = max(0.0, float(means.var() / within) - 1 / rows)
        return {
            "gamma": gamma,
            "top_share": mean_of([each.figures["top_share"] for each in observations]),
            "chance": mean_of([each.figures["chance"] for each in observations]),
        }


def _expected_top(rows: int, classes: int, seed: int) -> float:
    """Return the share of the most frequent of `rows` answers that are uniform over the classes, over 20 draws."""
    generator = torch.Generator().manual_seed(seed % 2**32)
    answers = torch.randint(classes, (20, rows), generator=generator)
    return sum(float(torch.bincount(each, minlength=classes).max()) for each in answers) / (20 * rows)
