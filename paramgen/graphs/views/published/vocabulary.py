"""The primitives of the published hypernets, and which module or autograd node becomes which."""

from typing import Final, Literal

from torch import nn

from paramgen.graphs.views.published.draft import Record

PrimitiveSet = Literal["ghn3", "logah_vit", "logah_gpt"]
"""`ghn3` is that of GHN-1 and GHN-2 too."""

PRIMITIVES: Final[tuple[str, ...]] = (
    "max_pool",
    "avg_pool",
    "sep_conv",
    "dil_conv",
    "conv",
    "msa",
    "cse",
    "sum",
    "concat",
    "input",
    "bias",
    "bn",
    "ln",
    "pos_enc",
    "glob_avg",
    # LoGAH's
    "rmsnorm",
    "rot_emb",
    "gate",
)

_OPERATIONS: Final = {
    "Mean": "glob_avg",
    "AdaptiveAvgPool2D": "glob_avg",
    "MaxPool2DWithIndices": "max_pool",
    "AvgPool2D": "avg_pool",
    "Softmax": "msa",
    "Mul": "cse",
    "Add": "sum",
    "Cat": "concat",
    "input": "input",
    "skip_connect": "sum",
}
_OPERATIONS_OF: Final[dict[PrimitiveSet, dict[str, str]]] = {
    "ghn3": _OPERATIONS,
    "logah_vit": _OPERATIONS | {"Mul": "gate", "Neg": "rot_emb"},
    "logah_gpt": _OPERATIONS | {"Mul": "gate", "Neg": "rot_emb"},
}
# By name, so that no optional library is imported. Their own layer norm derives from torch's.
_CONV1D: Final = "transformers.pytorch_utils.Conv1D"
RMS_NORM: Final = "transformers.models.llama.modeling_llama.LlamaRMSNorm"
_VIT_ENCODER: Final = "torchvision.models.vision_transformer.Encoder"


def is_a(module: nn.Module | None, name: str) -> bool:
    """Whether the module is of the class of that qualified name, or of one derived from it."""
    return any(f"{kind.__module__}.{kind.__qualname__}" == name for kind in type(module).__mro__)


def primitive_of(record: Record, family: PrimitiveSet) -> str:
    """Return the primitive of a node; what has survived the filters without one is a sum."""
    if record.module is None:
        return _OPERATIONS_OF[family].get(record.operation, "sum")
    kind = _kind(record.module, family)
    if kind != "conv":
        return kind or "sum"
    if "bias" in record.name:
        return "bias"
    if isinstance(record.module, nn.Conv2d) and record.module.groups > 1:
        return "dil_conv" if min(record.module.dilation) > 1 else "sep_conv"
    return "conv"


def is_supported(record: Record, family: PrimitiveSet) -> bool:
    """Whether the published code keeps such a node; a norm's bias has none of its own, its weight's is for both."""
    if record.module is not None and "norm" in type(record.module).__name__.lower() and record.name.endswith(".bias"):
        return False
    return record.operation in _OPERATIONS_OF[family] or _kind(record.module, family) is not None


def is_position_table(record: Record) -> bool:
    """Whether a node is the position table of a vision transformer of torchvision."""
    return is_a(record.module, _VIT_ENCODER)


def _kind(module: nn.Module | None, family: PrimitiveSet) -> str | None:
    """Return the primitive of a module's parameters, None for modules that the published code does not know."""
    if isinstance(module, (nn.Conv2d, nn.Linear, nn.MultiheadAttention)) or is_a(module, _CONV1D):
        return "conv"
    if isinstance(module, nn.BatchNorm2d):
        return "bn"
    if isinstance(module, nn.LayerNorm):
        return "ln"
    if isinstance(module, nn.Embedding) or is_a(module, _VIT_ENCODER):
        return "pos_enc"
    return "rmsnorm" if family != "ghn3" and is_a(module, RMS_NORM) else None
