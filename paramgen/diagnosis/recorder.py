"""What every layer of a network returns, and the gradient that comes back to it: recorded once, for all measures."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor, nn

from paramgen.graphs.tracing.recording import tensors_in
from paramgen.slots.torch_internals import Convolution

if TYPE_CHECKING:
    from paramgen.diagnosis.trial import Trial

Watch = Callable[[str, nn.Module, Any, Tensor], Tensor | None]
"""Called with a layer's name, the layer, its arguments and what it returned; what it returns is returned instead."""


@final
@dataclass(slots=True, kw_only=True, eq=False)
class LayerRecord:
    """What one call of one layer returned for all examples, and the gradient of the loss with respect to it."""

    name: str
    square: float  # mean square of the values
    variance: float
    correlation: float  # mean cosine of what two examples give
    finite: bool
    gradient: float | None = None  # sum of the squares
    dead: float | None = None  # share of the channels to which no example sends a gradient
    fisher: float = 0.0


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PassRecord:
    """One forward and one backward pass over the examples."""

    layers: list[LayerRecord]
    scores: Tensor
    loss: float
    gradients: dict[str, Tensor] = field(repr=False)  # of the weights of layers, by name
    features: Tensor | None = field(repr=False)  # what the last layer reads, a row for each example or token


def layers_of(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the modules that own weights of two dimensions or more, by name."""
    return [(name, child) for name, child in module.named_modules() if _is_layer(child)]


def _is_layer(child: nn.Module) -> bool:
    own = [name for name, parameter in child.named_parameters(recurse=False) if parameter.dim() > 1]
    leaf = next(child.children(), None) is None
    return bool(own) and (leaf or any(name.endswith("weight") for name in own))


@contextmanager
def watching(module: nn.Module, watch: Watch) -> Iterator[None]:
    """Call `watch` whenever a layer has run."""

    def hook_of(name: str) -> Callable[[nn.Module, Any, Any], Any]:
        def hook(child: nn.Module, args: Any, output: Any) -> Any:
            found = next((each for each in tensors_in(output) if each.is_floating_point() and each.dim() > 1), None)
            changed = None if found is None else watch(name, child, args, found)
            return None if changed is None or not isinstance(output, Tensor) else changed

        return hook

    hooks = [child.register_forward_hook(hook_of(name or "network")) for name, child in layers_of(module)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def record(trial: "Trial") -> PassRecord:
    """Run the network on the examples, forward and back."""
    layers: list[LayerRecord] = []
    features: list[Tensor] = []

    def watch(name: str, child: nn.Module, args: Any, output: Tensor) -> None:
        if by_example(output, trial.sample.count) is None:
            return
        layer = _seen(name, output.detach(), trial.sample.count)
        layers.append(layer)
        read = next((each for each in tensors_in(args) if each.is_floating_point() and each.dim() > 1), None)
        features[:] = [] if read is None else [read.detach().flatten(0, -2) if read.dim() < 4 else read.detach()]
        if output.requires_grad:
            values, axis = output.detach().clone(), 1 if isinstance(child, Convolution) else -1
            output.register_hook(lambda gradient: _came_back(layer, gradient, values, axis))

    with watching(trial.module, watch):
        scores = trial.scores()
        loss = trial.loss(scores)
    weights = trial.weights
    found: tuple[Tensor | None, ...] = (None,) * len(weights)
    if weights and loss.requires_grad:
        found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
    gradients = {name: gradient for name, gradient in zip(weights, found, strict=True) if gradient is not None}
    read = features[0].flatten(1) if features else None
    return PassRecord(
        layers=layers, scores=scores.detach(), loss=float(loss.detach()), gradients=gradients, features=read
    )


def by_example(output: Tensor, count: int) -> Tensor | None:
    """Return a row for each example; None where the tensor is not one part after the other, each of one example."""
    if not output.numel() or len(output) % count:
        return None
    return output.reshape(count, -1)


def correlation_of(rows: Tensor) -> float:
    """Return the mean cosine of two different rows."""
    count = len(rows)
    whole = torch.nn.functional.normalize(rows, dim=1).sum(0).square().sum()
    return float((whole - count) / (count * (count - 1)))


def _seen(name: str, output: Tensor, count: int) -> LayerRecord:
    rows = output.float().reshape(count, -1)
    return LayerRecord(
        name=name,
        square=float(rows.square().mean()),
        variance=float(rows.var()),
        correlation=correlation_of(rows),
        finite=bool(rows.isfinite().all()),
    )


def _came_back(layer: LayerRecord, gradient: Tensor, values: Tensor, axis: int) -> None:
    """Note what the gradient with respect to a layer's values says of it."""
    gradient = gradient.float()
    layer.gradient = (layer.gradient or 0.0) + float(gradient.square().sum())
    channels = gradient.movedim(axis, -1).flatten(0, -2)
    if bool(channels.any()):  # else the whole layer learns nothing, which is another matter
        layer.dead = float((~channels.any(0)).float().mean())
    products = (gradient * values.float()).movedim(axis, -1)  # (examples, ..., channels)
    summed = products if products.dim() == 2 else products.flatten(1, -2).sum(1)
    layer.fisher += float(summed.square().mean(0).sum() / 2)
