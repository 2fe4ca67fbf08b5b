"""Whose networks the benchmark of reach takes, and how the large ones of transformers are made smaller."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from paramgen._torchvision import ensure_torchvision
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


def shrinking(spec: str) -> dict[str, Any]:
    """Return the overrides that make a network of transformers smaller; none for other sources."""
    source, _, name = spec.partition(":")
    if source != "transformers":
        return {}
    import transformers

    config_class = getattr(getattr(transformers, name), "config_class", None)
    return dict(_smaller(config_class().to_dict())) if config_class is not None else {}


def _smaller(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, int]]:
    for key, value in config.items():
        if isinstance(value, dict) and key.endswith("config"):
            yield from _smaller(value, f"{prefix}{key}.")
        elif key in SMALL and type(value) is int and value > SMALL[key]:
            yield f"{prefix}{key}", SMALL[key]


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
