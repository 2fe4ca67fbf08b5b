"""How alike two networks see the same examples: relative representations (Moschella et al., 2023, arXiv:2209.15430).

An example is described by the cosines of its features and those of anchors, r_j = cos(e(x), e(a_j)). Two networks whose
features differ by a rotation have the same descriptions. The features are what the last layer reads; half of the
examples, 300 at most, are the anchors, and the others are looked for.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, final

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.diagnosis import Measure, Observation, Threshold, mean_of, measures
from paramgen.diagnosis.trial import Trial
from paramgen.errors import OptionError
from paramgen.slots.init_program import slot_generator

MAX_ANCHORS: Final = 300


@final
@measures.register("relative")
class Relative(Measure):
    """How well examples are found again by their cosines with anchors in the first network that was measured.

    The rank is that of the same example among all that are no anchors, the most similar first: a mean of 1 / rank of 1
    is perfect. Beside it stands the same by the features themselves, and what guessing gives.
    """

    __slots__ = ()

    pairs: ClassVar[bool] = True
    labels: ClassVar[Mapping[str, str]] = {
        "cosine": "cosine of relative representations",
        "mrr": "mean 1 / rank by relative representations",
        "absolute": "mean 1 / rank by the features",
        "chance": "mean 1 / rank by guessing",
    }
    thresholds: ClassVar[Mapping[str, Threshold]] = {}

    def observe(self, trial: Trial) -> Observation:
        """Describe every example that is no anchor."""
        features = features_of(trial)
        order = torch.randperm(len(features), generator=slot_generator(0, "anchors", stream="input"))
        anchors = min(MAX_ANCHORS, len(features) // 2)
        described = features[order[anchors:]]
        return Observation(
            figures=dict.fromkeys(self.labels),
            pooled={"relative": relative_to(described, features[order[:anchors]]), "features": described},
        )

    def beside(self, observation: Observation, reference: Observation) -> Observation:
        """Look for every example of the first network among those of this one."""
        one, other = reference.pooled["relative"], observation.pooled["relative"]
        features, others = reference.pooled["features"], observation.pooled["features"]
        count = len(one)
        alike = bool(one.isfinite().all() and other.isfinite().all())
        same = features.shape == others.shape
        return Observation(
            figures={
                "cosine": float(torch.cosine_similarity(one, other).mean()) if alike else None,
                "mrr": reciprocal_rank(one, other) if alike else None,
                "absolute": reciprocal_rank(features, others) if alike and same else None,
                "chance": sum(1 / rank for rank in range(1, count + 1)) / count,
            }
        )

    def figures(self, observations: Sequence[Observation]) -> Mapping[str, float | None]:
        """Leave out the first network, with which the others are compared."""
        compared = [each for each in observations if each.figures["chance"] is not None] or observations
        return {name: mean_of([each.figures[name] for each in compared]) for name in self.labels}


def features_of(trial: Trial) -> Float[Tensor, "examples width"]:
    """Return what the last layer reads of each example; of tokens, their mean.

    Raises:
        OptionError: It reads no row for each example, or there are too few.
    """
    features, count = trial.recorded.features, trial.sample.count
    if features is None or len(features) % count:
        raise OptionError(
            f"relative compares what the last layer reads of each example, and that of {trial.architecture.spec} reads "
            "no such thing. Leave relative out: --what signal"
        )
    if count < 2 * 2:
        raise OptionError(f"relative needs 4 examples or more, and there are {count}. Type: --examples 64")
    return features.reshape(count, len(features) // count, -1).mean(1).double()


def relative_to(
    features: Float[Tensor, "examples width"], anchors: Float[Tensor, "anchors width"]
) -> Float[Tensor, "examples anchors"]:
    """Return the cosine of each example and each anchor."""
    normalize = torch.nn.functional.normalize
    return normalize(features, dim=1) @ normalize(anchors, dim=1).T


def reciprocal_rank(one: Float[Tensor, "examples _"], other: Float[Tensor, "examples _"]) -> float:
    """Return the mean of 1 / rank of the same row among the rows of the other, by cosine; ties share a rank."""
    cosines = relative_to(one, other)
    own = cosines.diagonal()[:, None]
    above, equal = (cosines > own).sum(1), (cosines == own).sum(1)
    return float((1 / (above + (1 + equal) / 2)).mean())
