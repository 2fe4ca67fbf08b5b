"""One initialization as a network that can be run: its scores, its loss, and what was recorded of it once."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import final

import torch
from torch import Tensor, nn

from paramgen.architectures import Architecture
from paramgen.architectures.materialize import materialize, plain_attention, run_once
from paramgen.diagnosis.losses import losses_of
from paramgen.diagnosis.recorder import PassRecord, layers_of, record
from paramgen.diagnosis.sample import Sample
from paramgen.errors import OptionError
from paramgen.graphs.analysis.saliency import scores_in
from paramgen.graphs.cache import cached_graph
from paramgen.graphs.schema import Graph
from paramgen.graphs.tracing.fallbacks import Tracing
from paramgen.slots.determinism import seeded_randomness
from paramgen.slots.init_program import one_thread, slot_generator
from paramgen.slots.torch_internals import BatchNorm


@final
class Trial:
    """A network with the weights of one initialization and one seed, on the CPU in float32, and its examples.

    Dropout is off. Batch normalization uses the batch, as in the first step of training, unless `frozen`.
    """

    def __init__(
        self,
        architecture: Architecture,
        tensors: Mapping[str, Tensor],
        sample: Sample,
        *,
        seed: int = 0,
        requested: bool = False,
        graph: Graph | None = None,
    ) -> None:
        self.architecture = architecture
        self._graph = graph
        self.requested = requested  # whether the number of examples is
        self.sample = sample
        self.seed = seed
        self.seeds = 1  # how many networks of this initialization are measured
        self.tell: Callable[[str], None] = lambda _: None  # how far a measure is, in words
        self.module = materialize(architecture, tensors).float()
        for parameter in self.module.parameters():
            parameter.requires_grad_(parameter.is_floating_point() or parameter.is_complex())
        self._norms = [child for child in self.module.modules() if isinstance(child, BatchNorm)]
        for norm in self._norms:
            norm.train()
            norm.momentum = 0.0  # what it would keep of the batch

    def scores(self, sample: Sample | None = None) -> Tensor:
        """Run the network and return its scores: the logits, or else the first tensor of numbers that it returns."""
        given = self.sample if sample is None else sample
        with plain_attention():
            outcome = run_once(self.module, self.architecture, given.args, given.kwargs, instead=None)
        return scores_in(outcome, self.architecture.spec)

    @contextmanager
    def running(self) -> Iterator[Callable[[Sample], Tensor]]:
        """Yield what returns the scores of a sample, for many in a row: unlike `scores` it does not say what failed."""

        def scores(sample: Sample) -> Tensor:
            return scores_in(self.module(*sample.args, **sample.kwargs), self.architecture.spec)

        with seeded_randomness(), one_thread(), plain_attention():
            yield scores

    def loss(self, scores: Tensor, sample: Sample | None = None) -> Tensor:
        """Return the loss of scores: cross-entropy where there are classes or tokens, else the error against noise."""
        return losses_of(scores, self.targets(scores, sample)).mean()

    def targets(self, scores: Tensor, sample: Sample | None = None) -> Tensor:
        """Return what the scores should tell: the next tokens, the labels, or else noise.

        Without labels, they are random: at initialization the network knows none.
        """
        given = self.sample if sample is None else sample
        tokens = given.tokens
        generator = slot_generator(self.seed, "labels", stream="input")
        if tokens is not None and _tells_tokens(scores, tokens):
            return tokens[:, 1:].long()
        if scores.dim() == 2 and scores.shape[1] > 1 and scores.shape[0] == given.count:
            labels = given.labels
            if labels is None:
                labels = torch.randint(scores.shape[1], (given.count,), generator=generator)
            self._refuse_labels(labels, scores.shape[1])
            return labels
        return torch.randn(scores.shape, generator=generator)

    @cached_property
    def recorded(self) -> PassRecord:
        """What every layer returned, and the gradients, of one pass over the examples."""
        return record(self)

    @cached_property
    def weights(self) -> dict[str, nn.Parameter]:
        """The weights of the layers by name, each once; those of embeddings, which are no linear maps, are left out."""
        found: dict[int, tuple[str, nn.Parameter]] = {}
        for layer, child in layers_of(self.module):
            if isinstance(child, (nn.Embedding, nn.EmbeddingBag)):
                continue
            for name, parameter in child.named_parameters(recurse=False):
                if parameter.dim() > 1 and parameter.is_floating_point():
                    found.setdefault(id(parameter), (f"{layer}.{name}".lstrip("."), parameter))
        return dict(found.values())

    @cached_property
    def graph(self) -> Graph:
        """The graph of the network."""
        return cached_graph(self.architecture, Tracing()) if self._graph is None else self._graph

    @property
    def trainable(self) -> list[nn.Parameter]:
        """The parameters that have a gradient, each once."""
        return [each for each in self.module.parameters() if each.requires_grad]

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Put the initial weights back at the end, whatever was done to them."""
        initial = [each.detach().clone() for each in self.trainable]
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, values in zip(self.trainable, initial, strict=True):
                    parameter.copy_(values)

    @contextmanager
    def as_held(self) -> Iterator[None]:
        """Let batch normalization use the statistics that it holds."""
        for norm in self._norms:
            norm.eval()
        try:
            yield
        finally:
            for norm in self._norms:
                norm.train()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let batch normalization use what it measures on the examples once, so that each example is on its own."""
        kept = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in self._norms]
        try:
            if self._norms:
                for norm in self._norms:
                    norm.momentum = 1.0
                with torch.no_grad():
                    self.scores()
                for norm in self._norms:
                    norm.eval()
            yield
        finally:
            for norm, buffers in zip(self._norms, kept, strict=True):
                norm.train()
                norm.momentum = 0.0
                for name, buffer in norm.named_buffers():
                    buffer.copy_(buffers[name])

    def _refuse_labels(self, labels: Tensor, classes: int) -> None:
        most = int(labels.max())
        if most >= classes or int(labels.min()) < 0:
            raise OptionError(
                f"{self.architecture.spec} has {classes} outputs, and there is a label {most}. Give it as many as "
                f"there are classes: --set num_classes={most + 1}"
            )


def _tells_tokens(scores: Tensor, tokens: Tensor) -> bool:
    """Whether there are scores of every token at every position, so that each can be compared with the next token."""
    fits = scores.dim() == 3 and scores.shape[:2] == tokens.shape and tokens.shape[1] > 1
    return bool(fits and int(tokens.max()) < scores.shape[-1])
