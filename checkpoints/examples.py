"""What the networks of an ensemble learn from: pictures and their edits, or pictures of two classes."""

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
    def task_count(self) -> int:
        """Number of tasks."""

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of examples of each task."""

    @abstractmethod
    def at(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and targets at these indices. Inputs have an axis of tasks where they differ by task."""

    @abstractmethod
    def outputs(self, module: nn.Module, state: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Return the outputs of one network with these weights."""

    @abstractmethod
    def losses(self, outputs: Tensor, targets: Tensor) -> Float[Tensor, "tasks batch"]:
        """Return the loss of each output, which training minimizes."""

    @abstractmethod
    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Float[Tensor, "tasks batch"]]:
        """Return the metrics of each example; a checkpoint's row has their means."""


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs(Examples):
    """Pictures, shared by all tasks, and each task's edit of them."""

    inputs: UInt8[Tensor, "batch 3 height width"]
    targets: UInt8[Tensor, "tasks batch 3 height width"]

    @property
    def task_count(self) -> int:
        """Number of tasks."""
        return len(self.targets)

    @property
    def count(self) -> int:
        """Number of pictures."""
        return len(self.inputs)

    def at(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return pictures and their edits."""
        return scaled(self.inputs[indices]), scaled(self.targets[:, indices])

    def outputs(self, module: nn.Module, state: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Return the pictures that the network predicts."""
        return cast(Tensor, functional_call(module, dict(state), (inputs, 0)).sample)

    def losses(self, outputs: Tensor, targets: Tensor) -> Float[Tensor, "tasks batch"]:
        """Return mean absolute distances, of 0 to 2."""
        return (outputs - targets).abs().mean((2, 3, 4))

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Float[Tensor, "tasks batch"]]:
        """Return the distance."""
        return {"distance": self.losses(outputs, targets)}


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled(Examples):
    """Pictures of all classes, of which each task tells two apart. Indices alternate between a task's classes."""

    pictures: UInt8[Tensor, "classes each 3 height width"]
    classes: Int64[Tensor, "tasks 2"]

    @property
    def task_count(self) -> int:
        """Number of tasks."""
        return len(self.classes)

    @property
    def count(self) -> int:
        """Number of pictures of each task."""
        return 2 * self.pictures.shape[1]

    def at(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return each task's pictures and their labels, 0 or 1."""
        side = indices % 2
        return scaled(self.pictures[self.classes[:, side], indices // 2]), side

    def outputs(self, module: nn.Module, state: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Return the logits of both classes."""
        return cast(Tensor, functional_call(module, dict(state), (inputs,)).logits)

    def losses(self, outputs: Tensor, targets: Tensor) -> Float[Tensor, "tasks batch"]:
        """Return cross entropies."""
        labels = targets.expand(outputs.shape[:2]).flatten()
        return functional.cross_entropy(outputs.flatten(0, 1), labels, reduction="none").view(outputs.shape[:2])

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Float[Tensor, "tasks batch"]]:
        """Return the loss and the accuracy."""
        found = (outputs.argmax(2) == targets).to(torch.float32)
        return {"loss": self.losses(outputs, targets), "accuracy": found}
