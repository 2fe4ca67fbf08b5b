"""The operation of the vocabulary that each torch function becomes in a graph, if any.

Names are those of the function without underscores (`Tensor.add_`, `torch.add` and `Tensor.__iadd__` are all `add`).
A function in none of these tables that joins several streams of data becomes an `other` node; one that acts on a
single stream leaves no trace.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, final

from torch import Tensor

from paramgen.graphs.schema import Attribute

OPERATIONS: Final[dict[str, str]] = {
    **dict.fromkeys(("add", "radd", "iadd", "sub", "rsub", "isub", "addcmul", "lerp"), "sum"),
    **dict.fromkeys(("mul", "rmul", "imul", "div", "truediv", "rdiv", "rtruediv", "itruediv"), "multiply"),
    **dict.fromkeys(("cat", "concat", "concatenate", "stack", "hstack", "vstack"), "concat"),
    **dict.fromkeys(("matmul", "rmatmul", "mm", "bmm", "einsum", "baddbmm", "tensordot", "bilinear"), "matmul"),
    **dict.fromkeys(("softmax", "log_softmax", "softmin"), "softmax"),
    "scaled_dot_product_attention": "attention",
    **{f"{kind}max_pool{n}d": "max_pool" for kind in ("", "adaptive_") for n in (1, 2, 3)},
    **{f"max_pool{n}d_with_indices": "max_pool" for n in (1, 2, 3)},
    **{f"{kind}avg_pool{n}d": "average_pool" for kind in ("", "adaptive_") for n in (1, 2, 3)},
    "mean": "mean",
    **dict.fromkeys(("relu", "relu6", "leaky_relu", "prelu", "rrelu", "threshold", "hardtanh"), "relu"),
    "gelu": "gelu",
    **dict.fromkeys(("silu", "hardswish", "mish"), "silu"),
    **dict.fromkeys(("sigmoid", "hardsigmoid", "log_sigmoid", "logsigmoid"), "sigmoid"),
    "tanh": "tanh",
    **dict.fromkeys(("elu", "celu", "selu", "softplus", "softsign", "glu", "softshrink", "exp", "erf"), "activation"),
    **dict.fromkeys(("normalize", "local_response_norm", "cosine_similarity", "var", "std", "var_mean"), "normalize"),
    **dict.fromkeys(("interpolate", "upsample", "grid_sample"), "resize"),
    **{f"upsample_{kind}": "resize" for kind in ("nearest1d", "nearest2d", "nearest3d", "bilinear2d", "bicubic2d")},
    **dict.fromkeys(("gather", "index_select", "take_along_dim", "scatter", "scatter_add", "index_add"), "gather"),
    "neg": "negate",
}

NEVER: Final = 1_000  # a position that no argument has
CONVOLUTIONS: Final = frozenset(("conv1d", "conv2d", "conv3d"))
TRANSPOSED_CONVOLUTIONS: Final = frozenset(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"))
NORMALIZATIONS: Final[dict[str, tuple[str, int, int]]] = {  # function -> (operation, position of weight, of bias)
    "batch_norm": ("batch_norm", 1, 2),
    "layer_norm": ("layer_norm", 2, 3),
    "group_norm": ("group_norm", 2, 3),
    "rms_norm": ("rms_norm", 2, NEVER),
    "instance_norm": ("instance_norm", 1, 2),
}
RECURRENT: Final = frozenset(
    ("gru", "lstm", "rnn_tanh", "rnn_relu", "gru_cell", "lstm_cell", "rnn_tanh_cell", "rnn_relu_cell")
)
EMBEDDINGS: Final = frozenset(("embedding", "embedding_bag"))
TRANSPOSITIONS: Final = frozenset(("t", "transpose", "T", "mT", "swapaxes", "swapdims", "adjoint", "permute"))
READS: Final = frozenset(("getitem", "index", "index_select", "gather", "take"))


def name_of(func: Any) -> str:
    """Return the function's name without underscores around it; property getters are named after the property."""
    name = getattr(func, "__name__", type(func).__name__)
    if name == "__get__":
        return str(getattr(getattr(func, "__self__", None), "__name__", ""))
    return str(name).strip("_").lower() if name not in ("T", "mT") else str(name)


def pick(args: tuple[Any, ...], kwargs: dict[str, Any], position: int, keyword: str) -> Any:
    """Return an argument given by position or by name, else None."""
    return args[position] if position < len(args) else kwargs.get(keyword)


def attends_all(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a scaled dot-product attention lets every position see every other: neither masked nor causal."""
    return pick(args, kwargs, 3, "attn_mask") is None and not pick(args, kwargs, 5, "is_causal")


def integers(value: Any) -> tuple[int, ...]:
    """Return an int, a sequence of ints or a string option as a tuple of ints."""
    if isinstance(value, int):
        return (value,)
    return tuple(int(item) for item in value) if isinstance(value, (tuple, list)) else ()


@final
@dataclass(frozen=True, slots=True)
class Derived:
    """A tensor made from parameters alone: their slots, and whether rows and columns are swapped."""

    slots: tuple[str, ...]
    swapped: bool = False


@final
@dataclass(frozen=True, slots=True)
class Owned:
    """A function that owns parameters: its operation, its parameters (weight first) and its attributes."""

    op: str
    parameters: tuple[Derived | None, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


def owned(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], derived: Mapping[int, Derived]) -> Owned | None:
    """Return what the function owns, or None if its weight is no parameter. `derived` is keyed by tensor identity."""

    def of(position: int, keyword: str) -> Derived | None:
        return derived.get(id(pick(args, kwargs, position, keyword)))

    if name in CONVOLUTIONS or name in TRANSPOSED_CONVOLUTIONS:
        return _convolution(name, args, kwargs, of)
    if name in RECURRENT:
        every = [derived[id(tensor)] for tensor in _flat((*args, *kwargs.values())) if id(tensor) in derived]
        return Owned("recurrent", tuple(every))
    if name in NORMALIZATIONS:
        op, weight_at, bias_at = NORMALIZATIONS[name]
        weight, bias = of(weight_at, "weight"), of(bias_at, "bias")
        return Owned(op, (weight, bias)) if weight is not None else None
    linear: tuple[Derived | None, ...] = ()
    rows_are_inputs = name != "linear"
    if name == "linear":
        linear = (of(1, "weight"), of(2, "bias"))
    elif name == "addmm":
        linear = (of(2, "mat2"), of(0, "input"))
    elif OPERATIONS.get(name) == "matmul" and len(args) == 2:
        linear = (of(1, "other"),)
    if linear and linear[0] is not None:
        layout = {"layout": "in_out"} if linear[0].swapped != rows_are_inputs else {}
        return Owned("linear", linear, layout)
    table = of(0, "weight" if name in EMBEDDINGS else "input") if name in EMBEDDINGS | READS else None
    if table is not None and (name in EMBEDDINGS or any(isinstance(item, Tensor) for item in _flat(args[1:]))):
        return Owned("embedding", (table,))
    return None


def _convolution(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], of: Callable[[int, str], Derived | None]
) -> Owned | None:
    weight = of(1, "weight")
    if weight is None:
        return None
    transposed = name in TRANSPOSED_CONVOLUTIONS
    shape = tuple(pick(args, kwargs, 1, "weight").shape)
    stride = integers(pick(args, kwargs, 3, "stride"))
    groups = pick(args, kwargs, 6, "groups") or 1
    dilation = integers(pick(args, kwargs, 7 if transposed else 5, "dilation"))
    op = "conv"
    if transposed:
        op = "transposed_conv"
    elif dilation and min(dilation) > 1:
        op = "dilated_conv"
    elif groups > 1 and shape[1] == 1:
        op = "depthwise_conv"
    attributes: dict[str, Attribute] = {"kernel": shape[2:], "groups": int(groups)}
    attributes.update({key: value for key, value in (("stride", stride), ("dilation", dilation)) if value})
    return Owned(op, (weight, of(2, "bias")), attributes)


def _flat(values: Any) -> list[Any]:
    if isinstance(values, (tuple, list)):
        return [item for value in values for item in _flat(value)]
    return [values]
