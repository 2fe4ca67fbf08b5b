"""What single weights are like: rank, norm, variance, spatial rank, number of values."""

from typing import Any, Final

import torch
from torch import Tensor, nn

from benchmarks.closed_forms.networks import SEEDS, Plain, filled, normal, spread

WIDTH: Final = 512
RANK: Final = 51  # a tenth


def _weights(init: str, seed: int) -> Tensor:
    module = filled(
        lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10)), init, seed, f"2x{WIDTH}"
    )
    return module.get_parameter("0.weight").detach()


def _signal(init: str, seed: int) -> float:
    """Return the second moment of the pre-activations of a tenth layer over that of the first."""
    states = filled(lambda: Plain(WIDTH, 10, torch.relu), init, seed, f"2x{WIDTH}").states(
        normal(256, WIDTH, seed=seed)
    )  # type: ignore[operator]
    return float(states[-1].square().mean() / states[0].square().mean())


def lowrank() -> dict[str, Any]:
    """Return rank and norm behind `lowrank`, and what ten layers make of signals, beside He's."""
    pairs = [(_weights("he", seed), _weights(f"he|lowrank:{RANK}", seed)) for seed in SEEDS]
    return {
        "width": WIDTH,
        "rank": sorted({int(torch.linalg.matrix_rank(after)) for _, after in pairs}),
        "norm_over_norm_before": spread([float(after.norm() / before.norm()) for before, after in pairs]),
        "second_moment_layer_10_over_1": {
            init: spread([_signal(init, seed) for seed in SEEDS])
            for init in ("he", "he|lowrank:0.1", "he|lowrank:0.1?draw=true")
        },
    }


def blocks() -> dict[str, Any]:
    """Return density and variance behind `blocks`, and what ten layers make of signals, beside He's."""
    pairs = [(_weights("he", seed), _weights("he|blocks:0.25", seed)) for seed in SEEDS]
    return {
        "width": WIDTH,
        "density": sorted({float(after.ne(0).float().mean()) for _, after in pairs}),
        "variance_over_variance_before": spread(
            [float(after.square().mean() / before.square().mean()) for before, after in pairs]
        ),
        "second_moment_layer_10_over_1": {
            init: spread([_signal(init, seed) for seed in SEEDS]) for init in ("he", "he|blocks:0.25")
        },
    }


def shift() -> dict[str, Any]:
    """Return how many values `shift` leaves, and how far the projected weights are from the others."""
    found: dict[str, Any] = {"width": WIDTH}
    for bits in (2, 3, 4):
        pairs = [(_weights("he", seed), _weights(f"he|shift:{bits}", seed)) for seed in SEEDS]
        found[f"{bits} bits"] = {
            "values": sorted({len(after.unique()) for _, after in pairs}),
            "relative_error": spread([float((after - before).norm() / before.norm()) for before, after in pairs]),
        }
    return found


def cai() -> dict[str, Any]:
    """Return variance times fan-in, and the spatial rank of the filters, of convolution-aware weights."""
    found: dict[str, Any] = {}
    for init in ("cai?noise=0", "cai", "cai?noise=0&spectrum=hermitian"):
        filters = [
            filled(lambda: nn.Sequential(nn.Conv2d(32, 32, 3), nn.ReLU(), nn.Conv2d(32, 4, 1)), init, seed, "2x32x8x8")
            .get_parameter("0.weight")
            .detach()
            for seed in SEEDS
        ]
        found[init] = {
            "variance_times_fan_in": spread([float(each.double().square().mean()) * 288 for each in filters]),
            "spatial_rank": sorted({int(torch.linalg.matrix_rank(each.reshape(-1, 9), rtol=1e-3)) for each in filters}),
        }
    return found
