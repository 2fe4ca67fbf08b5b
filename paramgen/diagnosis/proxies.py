"""Proxies of neural architecture search: scores of an untrained network (Abdelfattah et al., 2021, arXiv:2101.08134).

snip (Lee et al., 2019), grasp (Wang et al., 2020), synflow (Tanaka et al., 2020), fisher (Turner et al., 2020) and the
gradient norm, as that paper's code has them: summed over the weights of linear maps. They rank networks and initial
weights against each other, and none of them is right or wrong by itself.
"""

from collections.abc import Mapping
from typing import ClassVar, final

from paramgen.diagnosis import Measure, Observation, Threshold, measures
from paramgen.diagnosis.signal import finite
from paramgen.diagnosis.trial import Trial
from paramgen.graphs.analysis.saliency import hessian_gradient, synaptic_flow


@final
@measures.register("proxies")
class Proxies(Measure):
    """Scores of architecture search for untrained networks: grad_norm, snip, grasp, synflow and fisher."""

    __slots__ = ()

    labels: ClassVar[Mapping[str, str]] = {
        "grad_norm": "grad norm",
        "snip": "snip",
        "grasp": "grasp",
        "synflow": "synflow",
        "fisher": "fisher",
    }
    thresholds: ClassVar[Mapping[str, Threshold]] = {}

    def observe(self, trial: Trial) -> Observation:
        """Compute each from one or two passes over the examples."""
        recorded, weights = trial.recorded, trial.weights
        gradients = recorded.gradients
        snip = sum(float((weights[name].detach() * each).abs().sum()) for name, each in gradients.items())
        return Observation(
            figures={
                "grad_norm": finite(sum(float(each.norm()) for each in gradients.values())),
                "snip": finite(snip),
                "grasp": finite(grasp(trial)),
                "synflow": finite(synflow(trial)),
                "fisher": finite(sum(each.fisher for each in recorded.layers)),
            }
        )


def grasp(trial: Trial) -> float:
    """Return the sum of -w * (H g), with H the Hessian of the loss and g its gradient."""
    weights = trial.weights
    curved = hessian_gradient(trial.loss(trial.scores()), weights)
    return -sum(float((each * weights[name].detach()).sum()) for name, each in curved.items())


def synflow(trial: Trial) -> float:
    """Return the synaptic flow of all weights; of tokens, that of the first example.

    Batch normalization keeps what it holds.
    """
    one, names = trial.sample.part(0, 1), {id(each): name for name, each in trial.module.named_parameters()}
    weights = {names[id(each)]: each for each in trial.weights.values()}
    with trial.as_held():
        try:
            flow = synaptic_flow(trial.module, weights, one.args, one.kwargs, spec=trial.architecture.spec)
        except RuntimeError:  # a network that converts to float32 by itself
            return float("nan")
    return sum(float(each.sum()) for each in flow.values())
