"""The layer that makes a network's output: which slots are its, and what it reads."""

from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from paramgen.comparison.models import ModelUnderTest
from paramgen.errors import ArchitectureError
from paramgen.initializers.inheritance.network import Network


def output_slots(model: ModelUnderTest) -> frozenset[str]:
    """Return the slots of the last linear maps and their biases.

    Raises:
        ArchitectureError: They cannot be found in the graph.
    """
    found = Network(architecture=model.architecture, graph=model.graph).heads
    if not found:
        raise ArchitectureError(
            f"The output layer of {model.name} cannot be found in its graph: the network must end in linear layers. "
            f"What is seen of it, shows: paramgen graph --arch {model.name}"
        )
    return found


@final
class Features:
    """What the output layer of a network reads in the last forward pass, until it is closed.

    Where there are several output layers, it is what the first of them reads.
    """

    def __init__(self, model: ModelUnderTest, module: nn.Module) -> None:
        manifest = model.architecture.manifest
        owners = {manifest[slot].owner for slot in output_slots(model)}
        owner = next(name for name, _ in module.named_modules() if name in owners)
        self._read: Tensor | None = None
        self._hook = module.get_submodule(owner).register_forward_pre_hook(self._keep)

    def _keep(self, layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        self._read = args[0]

    @property
    def last(self) -> Float[Tensor, "batch features"]:
        """The features of each example; over an area, their mean."""
        assert self._read is not None
        return self._read.flatten(2).mean(2) if self._read.dim() > 2 else self._read

    def close(self) -> None:
        """Let the network run as before."""
        self._hook.remove()
