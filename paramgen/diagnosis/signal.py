"""How signals pass from layer to layer: variance, correlation, gradients (Schoenholz et al., 2017, arXiv:1611.01232).

A layer multiplies the mean square of its signal and the difference between two inputs that nearly agree. Where it
multiplies the difference by chi, relative to the signal, a deep network is at the edge of chaos if chi is 1.
"""

from collections.abc import Mapping, Sequence
from math import exp, isfinite, log
from statistics import linear_regression
from typing import Any, ClassVar, Final, final

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from paramgen.diagnosis import Measure, Observation, Profile, Threshold, measures
from paramgen.diagnosis.recorder import by_example, watching
from paramgen.diagnosis.trial import Trial
from paramgen.slots.init_program import slot_generator

EPSILON: Final = 1e-2  # the difference of two inputs that nearly agree, relative to what the first layer returns
_LAYERS: Final = 4  # fewer say too little of how a difference grows: each adds chance of its own
_LARGE: Final = 0.05  # beyond it, a difference is no longer small; as 1 - cosine
_SMALL: Final = 1e-10  # below it, float32 knows no difference


@final
@measures.register("signal")
class Signal(Measure):
    """Variance, correlation and gradient variance from layer to layer, and chi, the growth of small differences."""

    __slots__ = ()

    labels: ClassVar[Mapping[str, str]] = {
        "forward": "variance, first to last layer",
        "backward": "gradient variance, last to first",
        "chi": "chi: small differences, a layer",
        "correlation": "correlation of two inputs at the end",
    }
    thresholds: ClassVar[Mapping[str, Threshold]] = {
        "forward": Threshold(
            good=(1e-2, 1e2),
            watch=(1e-4, 1e4),
            low="The signal fades on its way through the network: use larger weights, such as he, or normalization.",
            high="The signal grows on its way through the network: use smaller weights, such as he, or normalization.",
        ),
        "backward": Threshold(
            good=(1e-3, 1e3),
            watch=(1e-6, 1e6),
            low="Gradients vanish before they reach the first layers: use larger weights or residual sums.",
            high="Gradients explode towards the first layers: use smaller weights, or clip gradients and warm up.",
        ),
        "chi": Threshold(
            good=(0.85, 1.18),  # batch normalization has 1.16, tanh at a gain of 5/3 has 1.2 and more
            watch=(0.6, 1.5),
            low="Inputs that differ become alike from layer to layer (ordered phase): use a larger gain.",
            high="Inputs that nearly agree come apart from layer to layer (chaotic phase): use a smaller gain.",
        ),
        "correlation": Threshold(
            good=(float("-inf"), 0.95),
            watch=(float("-inf"), 0.99),
            high="The last layers hardly tell two inputs apart: use fewer layers or normalization.",
        ),
    }

    def observe(self, trial: Trial) -> Observation:
        """Run the network once forward and back, and once on inputs that nearly agree."""
        layers = trial.recorded.layers
        differences = differences_of(trial)
        hidden = layers[:-1]  # the output's scale is its own
        squares = [each.square for each in hidden]
        gradients = [each.gradient for each in hidden]
        forward, backward = growth(squares), growth(gradients)
        near = [each if _SMALL < each < _LARGE else None for each in differences.values()]
        return Observation(
            figures={
                "forward": _power(forward, len(hidden) - 1),
                "backward": _power(None if backward is None else -backward, len(hidden) - 1),
                "chi": _power(growth(near), 1) if sum(each is not None for each in near) >= _LAYERS else None,
                "correlation": finite(hidden[-1].correlation) if hidden else None,
            },
            profile=Profile(
                layers=tuple(each.name for each in layers),
                values={
                    "square": tuple(finite(each.square) for each in layers),
                    "variance": tuple(finite(each.variance) for each in layers),
                    "correlation": tuple(finite(each.correlation) for each in layers),
                    "gradient": tuple(finite(each.gradient) for each in layers),
                    "difference": tuple(_aligned(differences, [each.name for each in layers])),
                },
            ),
        )


def differences_of(trial: Trial) -> dict[tuple[str, int], float]:
    """Return, for each call of each layer, 1 - cosine of what two inputs give that nearly agree behind the first."""
    sample = trial.sample.doubled()
    count, found, calls = trial.sample.count, dict[tuple[str, int], float](), dict[str, int]()

    def watch(name: str, child: nn.Module, args: Any, output: Tensor) -> Tensor | None:
        rows = by_example(output, 2 * count)
        if rows is None:
            return None
        calls[name] = calls.get(name, -1) + 1
        changed = None
        if not found:
            generator = slot_generator(trial.seed, "difference", stream="input")
            noise = torch.randn(rows[count:].shape, generator=generator) * rows[count:].square().mean().sqrt()
            changed = torch.cat([rows[:count], rows[count:] + EPSILON * noise]).reshape(output.shape)
            rows = changed.reshape(2 * count, -1)
        first, second = normalize(rows[:count].double(), dim=1), normalize(rows[count:].double(), dim=1)
        found[name, calls[name]] = float((first - second).square().sum(1).mean() / 2)
        return changed

    with torch.no_grad(), watching(trial.module, watch):
        trial.scores(sample)
    return found


def growth(values: Sequence[float | None]) -> float | None:
    """Return the slope of the logarithms of values over their indices, by least squares; None below two values."""
    points = [
        (index, log(value)) for index, value in enumerate(values) if value is not None and isfinite(value) and value > 0
    ]
    if len(points) < 2:
        return None
    return linear_regression(*zip(*points, strict=True)).slope


def finite(value: float | None) -> float | None:
    """Return a number, or None for what is none."""
    return value if value is not None and isfinite(value) else None


def _power(slope: float | None, steps: int) -> float | None:
    return None if slope is None else exp(max(-700.0, min(700.0, slope * max(steps, 1))))


def _aligned(found: Mapping[tuple[str, int], float], names: Sequence[str]) -> list[float | None]:
    """Return the values in the order of the layers, each call of a name after the other."""
    calls: dict[str, int] = {}
    values = []
    for name in names:
        calls[name] = calls.get(name, -1) + 1
        values.append(finite(found.get((name, calls[name]))))
    return values
