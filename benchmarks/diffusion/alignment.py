"""Do a zoo's networks need their hidden units permuted to align them? `python -m benchmarks.diffusion.alignment ZOO`.

A network computes the same whatever the order of the units between two of its layers, so weights of several trainings
may only be averaged, or learned from, once that order is the same (Ainsworth et al., 2023, arXiv:2209.04836). Here the
units between the linear layers of each block are matched between trainings: by the sum of products of what comes in
and what goes out, by linear assignment. Counted are the units whose match is themselves.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor

from benchmarks.diffusion.initializations import last_of
from paramgen.zoo import Zoo

IN, OUT = "pwconv1.weight", "pwconv2.weight"


def main() -> None:
    """Print the shares for two trainings of one task and for trainings of two tasks."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--tasks", type=int, default=12, help="of the zoo, of which all pairs are matched")
    given = parser.parse_args()
    zoo = Zoo.open(given.zoo)
    states = {(row.task, row.seed): zoo.restore(row.id) for row in last_of(zoo, seeds={0, 1})}
    tasks = sorted({task for task, _ in states})[: given.tasks]
    same = [unmoved(states[task, 0], states[task, 1]) for task in tasks if (task, 1) in states]
    other = [unmoved(states[one, 0], states[two, 0]) for one, two in combinations(tasks, 2)]
    print(json.dumps({"same task": round(mean(same), 4), "two tasks": round(mean(other), 4)}))


def unmoved(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Return the share of hidden units that a matching leaves where they are."""
    return mean(float((own == torch.arange(len(own))).float().mean()) for own in matches(one, other))


def matches(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Iterator[Tensor]:
    """Yield, of each block, the unit of `other` that is most like each unit of `one`."""
    from scipy.optimize import linear_sum_assignment  # pip install --group benchmarks

    for name in one:
        if name.endswith(IN):
            after = name.removesuffix(IN) + OUT
            alike = one[name] @ other[name].T + one[after].T @ other[after]
            yield torch.from_numpy(linear_sum_assignment(alike.numpy(), maximize=True)[1])


if __name__ == "__main__":
    main()
