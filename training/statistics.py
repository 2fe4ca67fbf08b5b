"""Collect the table of `--init statistics` from a supernet: the standard deviation of its weights by role and depth.

    python -m training.statistics --out paramgen/pretrained/statistics/table.json

Every shared weight counts alike. Among tokens the depth is the weight's own step; of an image it is the scale, as
networks halve the image along their depth. Norms and biases are left out: with their trained means networks train worse
than with the library's values (LOG.md).
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Final

import torch

from paramgen.graphs.analysis.address import Address
from paramgen.graphs.analysis.weight_roles import BESIDE_MAPS, WEIGHT_ROLES, WeightRole, known_role
from paramgen.hypernets.loading import load
from paramgen.hypernets.statistics import StatisticsTable
from paramgen.hypernets.storage import shipped
from paramgen.hypernets.supernet import Supernet
from paramgen.modelcard.card_data import known_of
from paramgen.storage.folder import write_text

KNOTS: Final = 6
"""Steps of the depth: as many as the shipped supernet has among tokens, and image scales."""


def main() -> None:
    """Collect, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hypernet", default="vision", help="a supernet: a folder, or the name of one that ships")
    parser.add_argument("--out", type=Path, required=True, help="the table")
    given = parser.parse_args()
    folder = shipped(given.hypernet, given.hypernet) or Path(given.hypernet)
    supernet = load(str(folder))
    if not isinstance(supernet, Supernet):
        parser.error(f"{given.hypernet} is no supernet")
    known = known_of(folder)
    sources = {"supernet": f"paramgen/{folder.name}", "supernet_sha256": supernet.sha256, **known}
    table = StatisticsTable(std=collected(supernet), sources=sources)
    write_text(given.out, json.dumps(table.to_json(), indent=1) + "\n")
    for role, knots in table.std.items():
        sys.stdout.write(f"{role:18} {' '.join(f'{knot:.3f}' for knot in knots)}\n")


def collected(supernet: Supernet) -> dict[WeightRole, tuple[float, ...]]:
    """Return the mean over the shared weights of each role, at each step of the depth that has any."""
    found: dict[WeightRole, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for name, shared in supernet.shared.items():
        address = Address.parse(name)
        role = role_of(address)
        if role is not None and shared.numel() > 1:
            found[role][_knot(address, supernet.config.token_steps)].append(
                _relative_std(shared.detach().float(), role)
            )
    return {role: _at_knots(found[role]) for role in WEIGHT_ROLES if role in found}


def role_of(address: Address) -> WeightRole | None:
    """Return what a shared weight is for; None for norms, biases and tables of tokens."""
    if (beside := known_role(address.part)) in BESIDE_MAPS:
        return beside
    if address.part != "weight":
        return None
    if address.stem is not None:
        return "stem"
    if address.head:
        return "head"
    if address.projection is not None:
        return known_role(address.projection)
    behind, operation, ahead = address.function.split(">") if address.operation else ("", "", "")
    if operation.startswith("dw"):
        return "depthwise"
    if operation.startswith("conv"):
        return "convolution_last" if ahead == "stream" else "convolution"
    if operation.startswith("pw"):
        return "attention_output" if behind == "attention" else "pointwise_last" if ahead == "stream" else "pointwise"
    return None


def _relative_std(shared: torch.Tensor, role: WeightRole) -> float:
    """Return the standard deviation, of a map times the root of its fan-in; of layer scales their mean."""
    if role == "layer_scale":
        return float(shared.mean())
    fan_in = 1 if role in ("position", "class_token") else shared[0].numel()
    return float(shared.std()) * fan_in**0.5


def _knot(address: Address, token_steps: int) -> int:
    """Return the step of the depth that a shared weight belongs to."""
    if address.among_tokens:
        return round(address.depth_index / max(1, token_steps - 1) * (KNOTS - 1))
    return min(KNOTS - 1, address.scale) if isinstance(address.scale, int) else 0


def _at_knots(found: Mapping[int, list[float]]) -> tuple[float, ...]:
    """Return the means from the first step that has any to the last; in between, the last one before."""
    means: list[float] = []
    for knot in range(min(found), max(found) + 1):
        means.append(round(fmean(found[knot]), 3) if knot in found else means[-1])
    return tuple(means)


if __name__ == "__main__":
    main()
