"""Whose networks the benchmark of reach takes, and how the large ones of transformers are made smaller."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from paramgen._optional.torchvision import ensure_torchvision
from paramgen.architectures import sources

SMALL: Final[Mapping[str, int]] = {
    **dict.fromkeys(
        (
            "num_hidden_layers",
            "num_layers",
            "n_layer",
            "n_layers",
            "encoder_layers",
            "decoder_layers",
            "num_encoder_layers",
            "num_decoder_layers",
        ),
        2,
    ),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 8),
}
"""Entries of a config, and what they are set to where they are larger. Widths cost nothing on the meta device."""


NARROW: Final[Mapping[str, int]] = {
    **SMALL,
    "vocab_size": 1000,
    **dict.fromkeys(("intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size"), 512),
    **dict.fromkeys(("ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim", "d_ff"), 512),
}
"""The same for networks that are built in memory; ids of tokens follow the vocabulary."""


def shrinking(spec: str, sizes: Mapping[str, int] = SMALL) -> dict[str, Any]:
    """Return the overrides that make a network of transformers smaller; none for other sources."""
    source, _, name = spec.partition(":")
    if source != "transformers":
        return {}
    import transformers

    config_class = getattr(getattr(transformers, name), "config_class", None)
    return dict(_smaller(config_class().to_dict(), sizes)) if config_class is not None else {}


def _smaller(config: Mapping[str, Any], sizes: Mapping[str, int], prefix: str = "") -> Iterator[tuple[str, int]]:
    for place, (key, value) in enumerate(config.items()):
        if isinstance(value, dict) and key.endswith("config"):
            yield from _smaller(value, sizes, f"{prefix}{key}.")
        elif key in sizes and type(value) is int and value > sizes[key]:
            yield f"{prefix}{key}", sizes[key]
        elif key.endswith("token_id") and type(value) is int and value >= sizes.get("vocab_size", value + 1):
            yield f"{prefix}{key}", place  # a config has fewer entries than the vocabulary words


def _names(source: str) -> list[str]:
    return [name for name in sources.get(source)().names() if not name.startswith("quantized_")]


def _transformers_classes() -> list[str]:
    """Return every model class that one of the library's tables of tasks names."""
    ensure_torchvision()
    from transformers.models.auto import modeling_auto

    tables = [value for key, value in vars(modeling_auto).items() if re.fullmatch(r"MODEL_.*MAPPING_NAMES", key)]
    found = (name for table in tables for name in table.values())
    return sorted({name for each in found for name in (each if isinstance(each, tuple) else (each,))})


SOURCES: Final[Mapping[str, Callable[[], list[str]]]] = {
    "timm": lambda: _names("timm"),
    "torchvision": lambda: _names("torchvision"),
    "transformers": _transformers_classes,
    "diffusers": lambda: _names("diffusers"),
}
