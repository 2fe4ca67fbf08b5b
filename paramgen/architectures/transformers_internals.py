"""The parts of transformers that it does not document, each behind a name of ours.

All were tried with transformers 5.23.0, with which we work, and with 5.20.0, the oldest supported version.
"""

import importlib
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from unittest import mock

import torch
from torch import Tensor, nn

from paramgen._optional.light import COMPILER_PARTS, deferring, is_own_process

_LOSSES: Final = "transformers.loss"
_BASES: Final = (
    "modeling_utils",
    "masking_utils",
    "modeling_layers",
    "processing_utils",
    "models.auto.image_processing_auto",
    "models.auto.processing_auto",
)


def import_light() -> None:
    """Import what every model is built on, without what only training and several processes need.

    In a process that is the command line's own; elsewhere it does nothing. Losses are imported when one is computed,
    and torch answers that it was built without support for several processes, as it is on some systems.
    """
    if not is_own_process() or "transformers.modeling_utils" in sys.modules:
        return
    _import_by_name("transformers.models")
    folder = Path(importlib.import_module(_LOSSES).__path__[0])
    losses = [f"{_LOSSES}.{file.stem}" for file in folder.glob("loss_*.py") if file.stem != "loss_utils"]
    with (
        suppress(ImportError, AttributeError),  # of a version that takes more from there: it is imported whole later
        deferring([*losses, *COMPILER_PARTS]),
        mock.patch.object(torch.distributed, "is_available", lambda: False),
    ):
        for name in _BASES:
            importlib.import_module(f"transformers.{name}")


def _import_by_name(package: str) -> None:
    """Have a package whose modules are imported by their names, without reading the files of all of them first."""
    if package not in sys.modules:
        module = ModuleType(package)
        module.__path__ = [str(Path(path) / "models") for path in importlib.import_module("transformers").__path__]
        module.__getattr__ = lambda name: _submodule(package, name)  # type: ignore[method-assign]
        sys.modules[package] = module


def _submodule(package: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(f"{package}.{name}")
    except ModuleNotFoundError as error:
        raise AttributeError(name) from error


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
