"""What a network is run on for a diagnosis: some examples of data, or of noise, and what it should answer."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, final

import torch
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.comparison.models import ModelUnderTest
from paramgen.comparison.tasks import Task
from paramgen.errors import OptionError
from paramgen.graphs.analysis.example_values import example_values
from paramgen.graphs.schema import Graph
from paramgen.slots.torch_internals import tree_leaves, tree_map

NOISE: Final = "Gaussian noise"
RANDOM_TOKENS: Final = "random tokens"


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Inputs of a forward pass with `count` examples, and the labels where the data have them."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    count: int
    labels: Tensor | None  # of classes, one for each example; a text is its own
    source: str  # what they are, in words

    @property
    def tokens(self) -> Tensor | None:
        """The first tensor of token ids; None where the network takes none."""
        leaves = tree_leaves((self.args, dict(self.kwargs)))
        found = (leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.dim() == 2)
        return next((leaf for leaf in found if leaf.dtype in (torch.int64, torch.int32)), None)

    def part(self, first: int, last: int) -> "Sample":
        """Return the examples from `first` up to `last`."""
        return self._mapped(lambda tensor: tensor[first:last], last - first)

    def rows(self, index: Tensor) -> "Sample":
        """Return the examples of an index."""
        return self._mapped(lambda tensor: tensor[index], len(index))

    def doubled(self) -> "Sample":
        """Return every example twice: all of them, and all of them again."""
        return self._mapped(lambda tensor: torch.cat([tensor, tensor]), 2 * self.count)

    def _mapped(self, change: Any, count: int) -> "Sample":
        def changed(leaf: Any) -> Any:
            return change(leaf) if isinstance(leaf, Tensor) and leaf.dim() and len(leaf) == self.count else leaf

        args, kwargs = tree_map(changed, (self.args, dict(self.kwargs)))
        labels = None if self.labels is None else change(self.labels)
        return replace(self, args=args, kwargs=kwargs, count=count, labels=labels)


def noise_sample(architecture: Architecture, graph: Graph, *, examples: int, seed: int) -> Sample:
    """Return noise for the example input: Gaussian, or uniform token ids."""
    args, kwargs = example_values(architecture, graph, examples=examples, seed=seed)
    tensors = [leaf for leaf in tree_leaves((args, dict(kwargs))) if isinstance(leaf, Tensor) and leaf.dim()]
    sizes = {len(tensor) for tensor in tensors}
    sample = Sample(args=args, kwargs=kwargs, count=examples, labels=None, source=NOISE)
    if any(_is_edges(tensor) for tensor in tensors) and len(tensors) > 1 and sizes != {examples}:
        raise OptionError(
            f"{architecture.spec} takes a graph, whose nodes are no examples that stand alone, and diagnose compares "
            "what a network does with examples. Give --arch a network that takes a batch"
        )
    if sizes != {examples}:
        raise OptionError(
            f"The inputs of {architecture.spec} have {_counts(sizes)} examples, so they cannot be told apart. Give "
            "every input as many rows: --example-input '2x3x32x32 2x7'"
        )
    return replace(sample, source=RANDOM_TOKENS) if sample.tokens is not None else sample


def _is_edges(tensor: Tensor) -> bool:
    """Whether a tensor can be the edges of a graph as torch_geometric has them: pairs of nodes, in two rows."""
    return tensor.dtype == torch.int64 and tensor.dim() == 2 and len(tensor) == 2


def _counts(sizes: set[int]) -> str:
    return " and ".join(str(size) for size in sorted(sizes)) or "no"


def task_sample(model: ModelUnderTest, task: Task, *, examples: int, seed: int, source: str) -> Sample:
    """Return examples of the data to learn from."""
    inputs, targets = next(task.train_batches(seed, examples))
    args, kwargs = model.arguments(inputs)
    labels = targets if targets.dim() == 1 else None  # those of a text are the text
    return Sample(args=args, kwargs=kwargs, count=len(inputs), labels=labels, source=source)


def tensor_sample(data: Tensor | tuple[Tensor, Tensor], *, examples: int | None) -> Sample:
    """Return the first examples of tensors: inputs, or inputs and labels.

    Raises:
        OptionError: They are no batch, or the labels do not fit.
    """
    inputs, labels = (data, None) if isinstance(data, Tensor) else data
    if not inputs.dim() or len(inputs) < 2:
        raise OptionError(f"data has the shape {tuple(inputs.shape)}. Allowed: a batch of 2 examples or more")
    if labels is not None and (labels.dtype != torch.int64 or labels.shape != inputs.shape[:1]):
        raise OptionError(
            f"The labels are of {labels.dtype} and shape {tuple(labels.shape)}; {len(inputs)} integers are needed, as "
            f"int64. Call: paramgen.diagnose(module, data=(inputs, labels))"
        )
    count = len(inputs) if examples is None else min(examples, len(inputs))
    whole = Sample(args=(inputs,), kwargs={}, count=len(inputs), labels=labels, source="tensors")
    return whole.part(0, count)
