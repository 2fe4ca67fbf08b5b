"""The model family of a network, such as vision transformer or residual CNN, by which an initializer is chosen.

Structure decides, never a name: what the network takes, whether positions are mixed by attention, by a dense map over
tokens, by dense or by depthwise convolutions, and whether there are residual sums. What fits no family is `other`;
so is what runs in an order that is not known.
"""

from math import prod
from typing import Final, final

from paramgen.graphs.analysis.model_families import ModelFamily
from paramgen.graphs.analysis.neighbours import Neighbours
from paramgen.graphs.analysis.roles import Flow
from paramgen.graphs.ops import NORMS
from paramgen.graphs.schema import Graph

_CONVOLUTIONS: Final = frozenset(("conv", "dilated_conv"))
_TO_OUTPUT: Final = frozenset("output bias mean average_pool softmax sigmoid tanh relu sum multiply other".split())
_FOREIGN: Final = frozenset(("transposed_conv", "resize", "recurrent"))  # no classifier has them


def family_of(graph: Graph) -> ModelFamily:
    """Return the model family of a network; `other` where the order in which it runs is not known."""
    if not graph.ordered:
        return "other"
    seen = _Seen(graph)
    images = [shape for shape in seen.inputs if len(shape) == 4]
    if seen.foreign or not images:
        return _without_images(seen)
    if len(seen.inputs) != 1 or not seen.classifies():
        return "other"
    if seen.attentions:
        # Beyond these few it is a hybrid, and what holds for transformers need not hold for it.
        if 2 * (len(seen.dense) + len(seen.depthwise)) > seen.attentions:
            return "other"
        return "vision_transformer" if len(seen.widths()) <= 1 else "staged_transformer"
    if seen.mixes_tokens():
        return "mixer"
    return _convolutional(seen)


def _without_images(seen: "_Seen") -> ModelFamily:
    if seen.foreign or len(seen.inputs) == 0 or seen.convolves:
        return "other"
    if seen.attentions and seen.looked_up:
        return _of_texts(seen)
    plain = len(seen.inputs) == 1 and len(seen.inputs[0]) == 2 and not seen.attentions and not seen.embeds
    return "mlp" if plain and seen.classifies() else "other"


def _of_texts(seen: "_Seen") -> ModelFamily:
    """Return whether a text network is a decoder, an encoder or an encoder-decoder.

    An attention whose mask is not known, as one of matrix products and a softmax, is taken for causal.
    """
    whole = [seen.nodes[index].attributes.get("mask") == "none" for index in seen.attending]
    if len(seen.texts_attended()) > 1 or (any(whole) and not all(whole)):
        return "text_to_text"
    return "text_encoder" if all(whole) else "text_transformer"


def _convolutional(seen: "_Seen") -> ModelFamily:
    """Return the family of an image classifier without attention, by how it mixes pixels."""
    branches = len(seen.branches)
    if not seen.convolves:
        return "mlp"
    if 2 * len(seen.depthwise) >= len(seen.dense) and seen.depthwise:
        if len(seen.depthwise) + len(seen.dense) < branches:
            return "other"
        return "convnext" if seen.normalizes_layers() else "depthwise_cnn"
    if branches:
        # A residual net whose blocks do not convolve mixes its pixels by other means, pooling for instance.
        return "residual_cnn" if len(seen.dense) >= branches else "other"
    return "other" if seen.joins() else "plain_cnn"


@final
class _Seen:
    """The counts by which families are distinguished; the first convolution, which reads the image, is left out."""

    def __init__(self, graph: Graph) -> None:
        self.near, self.flow = Neighbours(graph), Flow(graph)
        self.nodes, self.branches = graph.nodes, self.flow.ends_of_branches()
        self.first = sorted(graph.nodes_of_slot().values())
        ops = [node.op for node in graph.nodes]
        self.inputs = [node.shape for node in graph.nodes if node.op == "input"]
        self.foreign = not _FOREIGN.isdisjoint(ops)
        self.embeds = "embedding" in ops
        self.attending = [index for index in range(len(ops)) if self._attends(index)]
        self.attentions = len(self.attending)
        self.looked_up = self._looked_up()
        convolutions = [index for index in self.first if ops[index] in _CONVOLUTIONS | {"depthwise_conv"}]
        wide = [index for index in convolutions[1:] if prod(self.nodes[index].shape[2:]) > 1]
        self.convolves = bool(convolutions)
        self.dense = [index for index in wide if ops[index] in _CONVOLUTIONS]
        self.depthwise = [index for index in wide if ops[index] == "depthwise_conv"]

    def classifies(self) -> bool:
        """Whether the network ends in a linear map, or in a pointwise convolution and a mean over the image."""
        outputs = [index for index, node in enumerate(self.nodes) if node.op == "output"]
        met = self.flow.reach(self.flow.before, outputs, through=_TO_OUTPUT)
        ends = [self.nodes[index] for index in met]
        pools = any(node.op in ("mean", "average_pool") for node in self.nodes)
        return any(end.op == "linear" or (pools and end.op == "conv" and prod(end.shape[2:]) == 1) for end in ends)

    def mixes_tokens(self) -> bool:
        """Whether linear maps go from tokens to tokens; one behind a flattened convolution is no such map."""
        return bool(self.branches) and any(self.near.mixes_tokens(index) for index in self.first)

    def widths(self) -> set[int]:
        """Return how wide the residual stream is: one width, or that of each stage, as a Swin has several."""
        return {self.nodes[index].shape[0] for index in self.branches}

    def _looked_up(self) -> frozenset[int]:
        """Return the inputs that are looked up in a table, as tokens are."""
        tables = [index for index, node in enumerate(self.nodes) if node.op == "embedding"]
        before = {node for index in tables for node in self.flow.before[index]}
        return frozenset(index for index in before if self.nodes[index].op == "input")

    def texts_attended(self) -> set[frozenset[int]]:
        """Return of which given texts each attention has seen something: an encoder's has not seen the answer."""
        seen: list[frozenset[int]] = []
        for index in range(len(self.nodes)):  # edges go from lower to higher
            own = self.looked_up & {index}
            seen.append(own.union(*(seen[node] for node in self.flow.before[index])))
        return {seen[index] for index in self.attending}

    def normalizes_layers(self) -> bool:
        """Whether most depthwise convolutions are followed by a norm over the channels alone."""
        kinds = [self._norm_behind(index) for index in self.depthwise]
        return 2 * kinds.count("layer_norm") > len(kinds)

    def joins(self) -> bool:
        """Whether branches are joined by concatenation."""
        return any(node.op == "concat" for node in self.nodes)

    def _attends(self, index: int) -> bool:
        op = self.nodes[index].op
        weighted = op == "matmul" and any(self.nodes[node].op == "softmax" for node in self.flow.before[index])
        return op == "attention" or weighted

    def _norm_behind(self, index: int) -> str:
        following = self.flow.after[index]
        while following and self.nodes[following[0]].op == "bias":
            self.flow.step()
            following = self.flow.after[following[0]]
        op = self.nodes[following[0]].op if following else ""
        return op if op in NORMS else ""
