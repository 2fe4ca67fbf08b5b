"""The operation vocabulary of graphs, schema version 1. Append only: an index, once published, keeps its meaning."""

from typing import Final

VOCABULARY: Final[tuple[str, ...]] = (
    "input",
    "output",
    # operations that own parameters: one node per parameter, weight first, on the path of the data
    "conv",
    "depthwise_conv",
    "dilated_conv",
    "transposed_conv",
    "linear",
    "embedding",
    "recurrent",
    "batch_norm",
    "layer_norm",
    "group_norm",
    "rms_norm",
    "instance_norm",
    "bias",
    # a parameter that enters an ordinary operation from the side (position tables, class tokens, layer scales, ...)
    "parameter",
    # operations without parameters
    "sum",
    "multiply",
    "concat",
    "matmul",
    "softmax",
    "attention",
    "max_pool",
    "average_pool",
    "mean",
    "relu",
    "gelu",
    "silu",
    "sigmoid",
    "tanh",
    "activation",
    "normalize",
    "resize",
    "gather",
    "negate",
    "other",
)

INDEX: Final[dict[str, int]] = {name: index for index, name in enumerate(VOCABULARY)}

WEIGHT_OPS: Final[frozenset[str]] = frozenset(
    ("conv", "depthwise_conv", "dilated_conv", "transposed_conv", "linear", "embedding", "recurrent")
)
NORMS: Final[frozenset[str]] = frozenset(("batch_norm", "layer_norm", "group_norm", "rms_norm", "instance_norm"))
"""Operations with a learned scale; their shift, if any, follows as a `bias` node."""
