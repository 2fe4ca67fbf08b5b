"""What initializations do to signals on their way through a network, without training."""

from math import log
from statistics import stdev
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.closed_forms.networks import SEEDS, Dense, Maxout, Plain, filled, normal, spread
from paramgen.initializers.s4d import diagonal, legs

EPSILON: Final = 8 / 255


def maxout() -> dict[str, Any]:
    """Return the second moment after 30 layers of maxout units of rank 5 over that after one."""
    found: dict[str, Any] = {"width": 32, "layers": 30, "rank": 5}
    for init in ("maxout", "he"):
        ratios = []
        for seed in SEEDS:
            states = filled(lambda: Maxout(32, 30, 5), init, seed, "2x32").states(normal(256, 32, seed=seed))  # type: ignore[operator]
            ratios.append(float(states[-1].square().mean() / states[0].square().mean()))
        found[init] = spread(ratios)
    return found


def intervals() -> dict[str, Any]:
    """Return by how much the mean radius of interval bounds grows in a layer, over seven layers of 512."""
    found: dict[str, Any] = {"width": 512, "layers": 7, "epsilon": round(EPSILON, 5)}
    for init in ("ibp", "he", "xavier"):
        growth = []
        for seed in SEEDS:
            module = filled(lambda: Plain(512, 7, torch.relu), init, seed, "2x512")
            centre = torch.rand(64, 512, generator=torch.Generator().manual_seed(seed))
            growth.append(_growth(module, centre))
        found[init] = {"growth_per_layer": spread(growth)}
    return found


def _growth(module: nn.Module, centre: Tensor) -> float:
    low, high = centre - EPSILON, centre + EPSILON
    layers = list(module.get_submodule("layers").children())
    for layer in layers:
        weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
        middle, radius = ((high + low) / 2) @ weight.T + bias, ((high - low) / 2) @ weight.abs().T
        low, high = (middle - radius).relu(), (middle + radius).relu()
    return float(((high - low).mean() / 2 / EPSILON) ** (1 / len(layers)))


def topology() -> dict[str, Any]:
    """Return how unequal the nodes of a graph with all edges are: the largest mean square over the smallest."""
    found: dict[str, Any] = {"nodes": 5, "width": 256}
    for init in ("topology", "he"):
        ratios = []
        for seed in SEEDS:
            states = filled(Dense, init, seed, "2x256").states(normal(512, 256, seed=seed))  # type: ignore[operator]
            squares = [float(state.square().mean()) for state in states]
            ratios.append(max(squares) / min(squares))
        found[init] = {"largest_over_smallest": spread(ratios)}
    return found


def edge_of_chaos() -> dict[str, Any]:
    """Return what 50 and 100 layers of tanh leave of the difference of two inputs, over what the tenth has."""
    found: dict[str, Any] = {"width": 100, "activation": "tanh"}
    for depth in (50, 100):
        for init in ("eoc", "eoc?bias=0.2", "xavier?distribution=normal", "he|scale:2.5"):
            kept = []
            for seed in SEEDS:
                inputs = normal(1, 100, seed=seed) * 0.4
                pair = torch.cat((inputs, inputs + 0.01 * normal(1, 100, seed=seed + 50)))
                states = filled(lambda: Plain(100, depth, torch.tanh), init, seed, "2x100").states(pair)  # type: ignore[operator]  # noqa: B023
                kept.append(log(float((states[-1][0] - states[-1][1]).norm() / (states[9][0] - states[9][1]).norm())))
            found.setdefault(f"depth {depth}", {})[init] = {"log_of_difference_kept": spread(kept)}
    return found


def state_spaces() -> dict[str, Any]:
    """Return the largest error of transfer functions, as a share of HiPPO-LegS's largest value, and the last pole."""
    found: dict[str, Any] = {}
    for states in (8, 16, 32):
        full, inputs = legs(2 * states)
        for kind in ("legs", "ptd"):
            made = diagonal(kind, states, 1e-4)
            assert made.vectors is not None
            errors = []
            for seed in SEEDS:
                outputs = np.random.default_rng(seed).standard_normal(2 * states)
                errors.append(_error(full, inputs, outputs, made))
            found.setdefault(f"N={2 * states}", {})[kind] = {
                "sup_error": spread(errors),
                "largest_real_part": float(f"{made.poles.real.max():.4g}"),
            }
    return found


def _error(full: Any, inputs: Any, outputs: Any, made: Any) -> float:
    frequencies = np.linspace(-200, 200, 4001)
    exact = np.array([outputs @ np.linalg.solve(1j * f * np.eye(len(full)) - full, inputs) for f in frequencies])
    weights = (outputs @ made.vectors) * made.inputs
    points = 1j * frequencies[:, None]
    both = weights / (points - made.poles) + weights.conj() / (points - made.poles.conj())
    return float(np.abs(both.sum(1) - exact).max() / np.abs(exact).max())


def graphs() -> dict[str, Any]:
    """Return the spread over eight graph convolutions of the logarithm of their outputs' mean square."""
    import networkx
    import torch_geometric.nn as geometric

    class Convolutions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(geometric.GCNConv(64, 64) for _ in range(8))

        def forward(self, features: Tensor, edge_index: Tensor) -> Tensor:
            return self.states(features, edge_index)[-1]

        def states(self, features: Tensor, edge_index: Tensor) -> list[Tensor]:
            found: list[Tensor] = []
            for layer in self.layers:
                found.append(layer(found[-1].relu() if found else features, edge_index))
            return found

    found: dict[str, Any] = {"layers": 8, "width": 64}
    for name, graph in (
        ("karate club", networkx.karate_club_graph()),
        ("Barabasi-Albert, 1,000 nodes", networkx.barabasi_albert_graph(1000, 3, seed=0)),
    ):
        pairs = torch.tensor(list(graph.edges())).T
        example = (normal(len(graph), 64, seed=0) + 1, torch.cat((pairs, pairs.flip(0)), 1))
        for init in ("virgo", "xavier"):
            spreads = []
            for seed in SEEDS:
                states = filled(Convolutions, init, seed, (example, {})).states(*example)  # type: ignore[operator]
                spreads.append(stdev(log(float(state.square().mean())) for state in states))
            found.setdefault(name, {})[init] = {"spread_of_log_variance": spread(spreads)}
    return found
