"""Tickets of a network of 2,130 parameters on digits, a fifth of whose weights is left, against other ways to that."""

import copy
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parametrize

import paramgen
from benchmarks.experiments import spread
from benchmarks.preparation.classifiers import GREY, SEEDS, digits, initial, named, normalized
from paramgen.comparison import Pixels

KEEP: Final = 0.2
ROUNDS: Final = 8
ROUND_STEPS: Final = 200
STEPS: Final = 300
RATES: Final = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
NETWORK: Final = "small"
PRUNED: Final[Mapping[str, str]] = {
    "random": f"prune:random?keep={KEEP}",
    "magnitude": f"prune:magnitude?keep={KEEP}&rescale=none",
    "synflow": f"prune:synflow?keep={KEEP}",
}

Part = tuple[Tensor, Tensor]


def parts() -> tuple[Pixels, dict[str, Part]]:
    """Return images to learn from, three fifths of all, and what a network takes of all three parts."""
    rest, test = digits()
    fifth = len(test.labels)
    cuts = {"validation": slice(None, fifth), "train": slice(fifth, None)}
    pixels = {name: Pixels(pixels=rest.pixels[cut], labels=rest.labels[cut]) for name, cut in cuts.items()}
    every = {**pixels, "test": test}
    return pixels["train"], {name: (normalized(each, pixels["train"]), each.labels) for name, each in every.items()}


def accuracies(module: nn.Module, found: Mapping[str, Part], *, seed: int, lr: float) -> dict[str, float]:
    """Train a copy of a network, under its constraint, and return its accuracy in points."""
    module = copy.deepcopy(module).train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=lr)
    inputs, labels = found["train"]
    generator = torch.Generator().manual_seed(seed)
    for _ in range(STEPS):
        index = torch.randint(len(labels), (128,), generator=generator)
        optimizer.zero_grad()
        cross_entropy(module(inputs[index]), labels[index]).backward()
        optimizer.step()
    with torch.no_grad():
        return {
            name: 100 * float((module(rows).argmax(1) == wanted).double().mean())
            for name, (rows, wanted) in found.items()
        }


def networks(seed: int, train: Pixels) -> dict[str, nn.Module]:
    """Return the same initial weights, dense and by each way to a fifth of them; and a ticket drawn anew."""
    found = {"dense": initial(NETWORK, seed, GREY)}
    example = torch.zeros(2, *GREY)
    with tempfile.TemporaryDirectory() as place:
        for name, then in PRUNED.items():
            folder = Path(place) / name
            paramgen.write(named(NETWORK), folder, init="library", seed=seed, then=[then], example_input=example)
            found[name] = paramgen.masked(paramgen.load(folder), folder)
        folder = Path(place) / "tickets"
        how: dict[str, Any] = {
            "how": f"tickets?keep={KEEP}&rounds={ROUNDS}",
            "steps": ROUNDS * ROUND_STEPS,
            "batch": 128,
        }
        paramgen.prepare(named(NETWORK), folder, data=(train, train), seed=seed, example_input=example, **how)
        found["tickets"] = paramgen.masked(paramgen.load(folder), folder)
        found["tickets, drawn anew"] = paramgen.masked(initial(NETWORK, 1000 + seed, GREY), folder)
    return found


def kept(module: nn.Module) -> int:
    """Return how many weights of matrices are not zero."""
    layers = [each for each in module.modules() if isinstance(each, nn.Linear)]
    assert all(parametrize.is_parametrized(each, "weight") for each in layers)
    return sum(int((each.weight != 0).sum()) for each in layers)


def tickets() -> dict[str, Any]:
    """Train each way at its own best learning rate, chosen on images kept back, and return test accuracies."""
    train, found = parts()
    runs: dict[str, dict[float, list[dict[str, float]]]] = {}
    counts = {}
    for seed in SEEDS:
        for way, module in networks(seed, train).items():
            if way != "dense":
                counts[way] = kept(module)
            for lr in RATES:
                runs.setdefault(way, {}).setdefault(lr, []).append(accuracies(module, found, seed=seed, lr=lr))
    best = {way: max(RATES, key=lambda lr: mean(run["validation"] for run in each[lr])) for way, each in runs.items()}
    return {
        "test accuracy": {way: spread([run["test"] for run in runs[way][lr]]) for way, lr in best.items()},
        "lr": best,
        "kept": counts,
        "keep": KEEP,
        "rounds": ROUNDS,
        "round_steps": ROUND_STEPS,
        "steps": STEPS,
    }
