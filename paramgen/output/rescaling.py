"""Target variance rescaling: in training, matrices get their std back (Owen et al., 2025, arXiv:2503.17500)."""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path

import torch
from torch import nn

from paramgen.errors import OptionError, one_line
from paramgen.initializers.linear_maps import std_of
from paramgen.storage.reading import stored


@torch.no_grad()
def rescale(module: nn.Module, std: float | Mapping[str, float]) -> dict[str, float]:
    """Multiply each matrix so that it has its target std, W <- W std / std(W), and return the factors by name.

    Matrices are the trained parameters with two dimensions, but for tables of embeddings and what is tied to them. One
    whose values are all alike, or whose target is zero, is left as it is.

    Args:
        module: In training; an optimizer's moments are left alone, as in the paper.
        std: One target for all, or those by name; a matrix that has no name there is left as it is.

    Raises:
        OptionError: A target is no positive number, or none of the names is a matrix of the module.

    """
    found = matrices(module)
    targets = std if isinstance(std, Mapping) else dict.fromkeys(found, std)
    if wrong := [value for value in targets.values() if not isfinite(value) or value < 0]:
        raise OptionError(f"A target std is {wrong[0]}; it must be a positive number. Type: paramgen.rescale_(m, 0.01)")
    if found and not targets.keys() & found.keys():
        raise OptionError(
            f"None of the {len(targets)} names is a matrix of the module, whose first is "
            f"{one_line(repr(next(iter(found))))}. Give the folder of its own initial weights."
        )
    factors = {}
    for name in found.keys() & targets.keys():
        now = std_of(found[name])
        if now > 0 and targets[name] > 0:
            factors[name] = targets[name] / now
            found[name].mul_(factors[name])
    return {name: factors[name] for name in found if name in factors}


def matrices(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trained parameters with two dimensions, without tables of embeddings."""
    tables = {id(part.weight) for part in module.modules() if isinstance(part, (nn.Embedding, nn.EmbeddingBag))}
    return {
        name: parameter
        for name, parameter in module.named_parameters()
        if parameter.dim() == 2 and parameter.requires_grad and id(parameter) not in tables
    }


def stds_of(folder: Path) -> dict[str, float]:
    """Return the std of each matrix that a folder holds, by name.

    Raises:
        CheckError: The folder's weights cannot be read.

    """
    floats = [entry for entry in stored(folder) if entry.dtype.is_floating_point and len(entry.shape) == 2]
    return {entry.name: std_of(entry.tensor()) for entry in floats}
