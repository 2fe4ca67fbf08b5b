"""The names of model families, in code and in sentences; `model_family.py` says which one a network is of."""

from collections.abc import Mapping
from typing import Final, Literal, get_args

ModelFamily = Literal[
    "vision_transformer",
    "staged_transformer",
    "residual_cnn",
    "depthwise_cnn",
    "convnext",
    "mixer",
    "plain_cnn",
    "mlp",
    "text_transformer",
    "text_encoder",
    "text_to_text",
    "other",
]
MODEL_FAMILIES: Final[tuple[ModelFamily, ...]] = get_args(ModelFamily)

FAMILY_LABELS: Final[Mapping[ModelFamily, str]] = {
    "vision_transformer": "vision transformer",
    "staged_transformer": "vision transformer that widens in stages",
    "residual_cnn": "residual CNN",
    "depthwise_cnn": "CNN of depthwise convolutions",
    "convnext": "ConvNeXt-like CNN",
    "mixer": "MLP that mixes tokens",
    "plain_cnn": "plain CNN",
    "mlp": "plain MLP",
    "text_transformer": "text transformer",
    "text_encoder": "text encoder",
    "text_to_text": "encoder-decoder for texts",
    "other": "network of another kind",
}
"""What each family is called in a sentence."""

TEXT_FAMILIES: Final[frozenset[ModelFamily]] = frozenset(("text_transformer", "text_encoder", "text_to_text"))
"""The families that read texts: decoders that predict the next token, encoders, and encoder-decoders."""


def a_family(family: ModelFamily) -> str:
    """Return what a network of a family is, in a sentence: `an encoder-decoder for texts`."""
    label = FAMILY_LABELS[family]
    return f"{'an' if label.startswith(('e', 'MLP')) else 'a'} {label}"
