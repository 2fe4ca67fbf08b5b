"""The parts of transformers that it does not document, each behind a name of ours.

All were tried with transformers 5.23.0, with which we work, and with 5.20.0, the oldest supported version.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


def register_experts(name: str, function: Callable[..., Tensor]) -> None:
    """Let configurations choose by this name how mixtures of experts are computed."""
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    ALL_EXPERTS_FUNCTIONS.register(name, function)


def choose_experts(config: Any, name: str) -> None:
    """Have a configuration choose how its mixtures of experts are computed; nothing is fetched by that name."""
    config._experts_implementation = name


def choose_attention(config: Any, name: str) -> None:
    """Have a configuration choose how attention is computed, in a network that is built already."""
    config._attn_implementation = name


def chosen_by(config: Any) -> list[Any]:
    """Return what a configuration chooses for attention and for experts; None where it has no such choice."""
    return [getattr(config, f"_{kind}_implementation", None) for kind in ("attn", "experts")]


def gated(experts: Any, states: Tensor) -> Tensor:
    """Return what a mixture's experts make of the joined outputs of their gate and of their first projection."""
    return experts._apply_gate(states)


def let_initialize_again(part: nn.Module) -> None:
    """Forget that a module was initialized: `initialize_weights` skips what has this mark."""
    part.__dict__.pop("_is_hf_initialized", None)


def fetching_parts(no_kernel: Callable[..., Any], no_hub: type) -> list[tuple[Any, str, Any]]:
    """Return what fetches kernels and backbones: the module, the name in it, and what fetches nothing in its place."""
    from transformers import backbone_utils
    from transformers.integrations import hub_kernels

    return [
        (hub_kernels, "_kernels_enabled", False),
        (hub_kernels, "get_kernel", no_kernel),
        (backbone_utils, "hf_api", no_hub),
    ]
