"""Designs as the loop needs them: a fresh network with its own start, and the view that a hypernet reads, cached."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from paramgen.draws import slot_generator
from paramgen.graphs.native import native_view
from paramgen.graphs.trace import trace
from paramgen.graphs.view import View
from paramgen.hypernets.loading import Predictor
from paramgen.manifest import read_manifest
from training.spaces.design import Design


@final
@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """One network to be filled: never trained itself, only called with other tensors in place of its own."""

    network: nn.Module
    state: dict[str, Tensor]  # its own start, which is the base of the prediction
    view: View

    @classmethod
    def of(cls, build: Callable[[], nn.Module], view: View, *, seed: int, device: torch.device) -> "Target":
        """Build a network with a start that the seed decides."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build().to(device)
        return cls(network, {name: tensor.detach() for name, tensor in network.state_dict().items()}, view)

    def predict(self, hypernet: Predictor) -> dict[str, Tensor]:
        """Return the tensors that the hypernet predicts for this start."""
        return dict(hypernet(self.view, base=self.state.__getitem__))


def view_of(build: Callable[[], nn.Module], resolution: int) -> View:
    """Trace a network on the meta device and return what a hypernet sees of it."""
    with torch.device("meta"):
        network = build().eval()
        images = torch.empty(2, 3, resolution, resolution)
    manifest = read_manifest(network, {})
    graph = trace(network, manifest, ((images,), {}))
    return native_view(graph, manifest)


@functools.lru_cache(maxsize=4096)
def view_of_design(design: Design) -> View:
    """Trace a design, once."""
    return view_of(design.network, design.resolution)


def seed_of(seed: int, *place: object) -> int:
    """Return the seed of one place in a run: what is drawn there depends on nothing that came before."""
    return slot_generator(seed, "/".join(map(str, place))).initial_seed()
