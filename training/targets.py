"""Targets of a hypernet: a new network of a design with its initialization, and the view that the hypernet reads."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from paramgen.graphs.tracing.trace import trace
from paramgen.graphs.views.native import native_view
from paramgen.graphs.views.view import View
from paramgen.hypernets.loading import Predictor
from paramgen.slots.init_program import slot_generator
from paramgen.slots.manifest import read_manifest
from training.spaces.design import Design


@final
@dataclass(frozen=True, slots=True, eq=False)
class TargetNetwork:
    """One network to be filled: never trained itself, only called with other tensors in place of its own."""

    network: nn.Module
    state: dict[str, Tensor]  # its default initialization, which is the base of a residual prediction
    view: View

    @classmethod
    def of(cls, build: Callable[[], nn.Module], view: View, *, seed: int, device: torch.device) -> "TargetNetwork":
        """Build a network whose initialization the seed decides."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build().to(device)
        own = {name for named in (network.named_parameters(), network.named_buffers()) for name, _ in named}
        state = network.state_dict()  # of tied tensors, the first name is the network's own
        return cls(network, {name: tensor.detach() for name, tensor in state.items() if name in own}, view)

    def predict(self, hypernet: Predictor) -> dict[str, Tensor]:
        """Return the tensors that the hypernet predicts for this network."""
        return dict(hypernet(self.view, base=self.initial))

    def initial(self, name: str) -> Tensor:
        """Return a copy of one initial tensor, which a prediction may write into."""
        return self.state[name].clone()


def view_of(build: Callable[[], nn.Module], example: Tensor) -> View:
    """Trace a network on the meta device, where the example is, and return what a hypernet sees of it."""
    with torch.device("meta"):
        network = build().eval()
    manifest = read_manifest(network, {})
    graph = trace(network, manifest, ((example,), {}))
    return native_view(graph, manifest)


@functools.lru_cache(maxsize=4096)
def view_of_design(design: Design) -> View:
    """Trace a design, once."""
    return view_of(design.network, design.example(2, "meta"))


def seed_of(seed: int, *address: object) -> int:
    """Return the seed for one address in a run, such as ("step", 7): it is independent of all that came before."""
    return slot_generator(seed, "/".join(map(str, address))).initial_seed()
