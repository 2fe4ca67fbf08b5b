"""What networks of an ensemble learn from: pictures and their edits, or pictures of two classes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast, final

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional


def scaled(pixels: UInt8[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return pixels as a network sees them, from -1 to 1."""
    return pixels.float() / 127.5 - 1


class Examples(ABC):
    """Examples for several tasks at once."""

    @property
    @abstractmethod
    def tasks(self) -> int:
        """Number of tasks."""

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of examples of each task."""

    @abstractmethod
    def at(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and what is wanted at these places. Inputs have an axis of tasks where they differ by task."""

    @abstractmethod
    def applied(self, module: nn.Module, state: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Return what one network of this state makes of inputs."""

    @abstractmethod
    def off(self, made: Tensor, wanted: Tensor) -> Float[Tensor, "tasks batch"]:
        """Return how far each output is from what is wanted: what training makes smaller."""

    @abstractmethod
    def measured(self, made: Tensor, wanted: Tensor) -> dict[str, Float[Tensor, "tasks batch"]]:
        """Return the figures that a checkpoint's row has, for each example."""


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs(Examples):
    """Pictures, shared by all tasks, and what each task makes of them."""

    inputs: UInt8[Tensor, "batch 3 height width"]
    targets: UInt8[Tensor, "tasks batch 3 height width"]

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return len(self.targets)

    @property
    def count(self) -> int:
        """Number of pictures."""
        return len(self.inputs)

    def at(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return pictures and what they should become."""
        return scaled(self.inputs[places]), scaled(self.targets[:, places])

    def applied(self, module: nn.Module, state: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Return the pictures that the network makes."""
        return cast(Tensor, functional_call(module, dict(state), (inputs, 0)).sample)

    def off(self, made: Tensor, wanted: Tensor) -> Float[Tensor, "tasks batch"]:
        """Return mean absolute distances, of 0 to 2."""
        return (made - wanted).abs().mean((2, 3, 4))

    def measured(self, made: Tensor, wanted: Tensor) -> dict[str, Float[Tensor, "tasks batch"]]:
        """Return the distance."""
        return {"distance": self.off(made, wanted)}


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled(Examples):
    """Pictures of all classes, of which each task tells two apart. Places alternate between a task's classes."""

    pictures: UInt8[Tensor, "classes each 3 height width"]
    classes: Int64[Tensor, "tasks 2"]

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return len(self.classes)

    @property
    def count(self) -> int:
        """Number of pictures of each task."""
        return 2 * self.pictures.shape[1]

    def at(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return each task's pictures, and which of its classes they are of."""
        side = places % 2
        return scaled(self.pictures[self.classes[:, side], places // 2]), side

    def applied(self, module: nn.Module, state: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Return the logits of both classes."""
        return cast(Tensor, functional_call(module, dict(state), (inputs,)).logits)

    def off(self, made: Tensor, wanted: Tensor) -> Float[Tensor, "tasks batch"]:
        """Return cross entropies."""
        labels = wanted.expand(made.shape[:2]).flatten()
        return functional.cross_entropy(made.flatten(0, 1), labels, reduction="none").view(made.shape[:2])

    def measured(self, made: Tensor, wanted: Tensor) -> dict[str, Float[Tensor, "tasks batch"]]:
        """Return the loss, and the share of pictures whose class is found."""
        found = (made.argmax(2) == wanted).to(torch.float32)
        return {"loss": self.off(made, wanted), "accuracy": found}
