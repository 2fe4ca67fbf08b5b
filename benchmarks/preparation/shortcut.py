"""Digits with a patch whose colour tells the class more often than the digit does, but not in the test.

The pattern of ColoredMNIST (Arjovsky et al., 2019, arXiv:1907.02893): two classes, digits below 5 and above 4; a
quarter of all labels is turned; the patch has the colour of the label in 80 and 90 % of two training environments, and
in 10 % of the test. Who relies on the digit is right on 75 % of the test, who relies on the colour on 10 %.
"""

import copy
from itertools import product
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.experiments import spread
from benchmarks.preparation.classifiers import SEEDS, Data, digits, initial, normalized, prepared
from paramgen.comparison import Pixels

COLOURS_RIGHT: Final = (0.8, 0.9)  # in the training environments
RIGHT_IN_TEST: Final = 0.1
TURNED: Final = 0.25  # labels
COPIES: Final = 4  # of each digit in training, each with a label and a place of its own
SIDE: Final = 10
STEPS: Final = 400
PREPARED: Final = 600  # steps of bonsai
WARMUP: Final = 100  # steps without the penalty
PENALTY: Final = 1000.0
CHANNELS: Final = (3, SIDE, SIDE)


def coloured(part: Pixels, right: float, generator: torch.Generator) -> Pixels:
    """Return digits of two classes, somewhere in a larger picture, with a patch of the colour of most labels."""
    count = len(part.labels)
    labels = (part.labels > 4).long()
    labels = torch.where(torch.rand(count, generator=generator) < TURNED, 1 - labels, labels)
    colour = torch.where(torch.rand(count, generator=generator) < right, labels, 1 - labels)
    pixels = torch.zeros(count, *CHANNELS, dtype=torch.uint8)
    places = torch.randint(SIDE - 8 + 1, (count, 2), generator=generator).tolist()
    for index, (down, across) in enumerate(places):
        pixels[index, 2, down : down + 8, across : across + 8] = part.pixels[index, 0]
    pixels[torch.arange(count), colour, :3, :3] = 255
    return Pixels(pixels=pixels, labels=labels)


def environments(seed: int) -> tuple[list[Pixels], Data]:
    """Return the training environments, and all of them as one with the test."""
    train, test = digits()
    generator = torch.Generator().manual_seed(seed)
    half = len(train.labels) // 2
    parts = []
    for place, right in enumerate(COLOURS_RIGHT):
        own = slice(place * half, (place + 1) * half)
        copied = Pixels(pixels=train.pixels[own].repeat(COPIES, 1, 1, 1), labels=train.labels[own].repeat(COPIES))
        parts.append(coloured(copied, right, generator))
    whole = Pixels(pixels=torch.cat([part.pixels for part in parts]), labels=torch.cat([part.labels for part in parts]))
    return parts, (whole, coloured(test, RIGHT_IN_TEST, generator))


def trained(module: nn.Module, parts: list[Pixels], data: Data, *, seed: int, penalty: float) -> float:
    """Train on all environments, with V-REx's penalty on the variance of their losses, and return the test accuracy."""
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    sets = [(normalized(part, data[0]), part.labels) for part in parts]
    generator = torch.Generator().manual_seed(seed)
    for step in range(STEPS):
        losses: list[Tensor] = []
        for inputs, labels in sets:
            chosen = torch.randint(len(labels), (256,), generator=generator)
            losses.append(cross_entropy(module(inputs[chosen]), labels[chosen]))
        both = torch.stack(losses)
        strength = penalty if step >= WARMUP else min(penalty, 1.0)
        loss = (both.mean() + strength * both.var(unbiased=False)) / max(1.0, strength)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    module.eval()
    with torch.no_grad():
        right = module(normalized(data[1], data[0])).argmax(1) == data[1].labels
    return 100 * float(right.double().mean())


def bonsai() -> dict[str, Any]:
    """Train with and without V-REx from the default initialization and from what bonsai makes of it."""
    found: dict[str, list[float]] = {}
    how: dict[str, Any] = {"how": "bonsai", "steps": PREPARED, "batch": 256}
    for seed in SEEDS:
        parts, data = environments(seed)
        starts = {
            "library": initial("coloured", seed, CHANNELS),
            "bonsai": prepared("coloured", data, seed=seed, channels=CHANNELS, **how),
        }
        for (start, module), (name, penalty) in product(starts.items(), (("ERM", 0.0), ("V-REx", PENALTY))):
            accuracy = trained(copy.deepcopy(module).train(), parts, data, seed=seed, penalty=penalty)
            found.setdefault(f"{name} from {start}", []).append(accuracy)
        print({name: round(values[-1], 1) for name, values in found.items()}, flush=True)
    return {
        "test accuracy": {name: spread(values) for name, values in found.items()},
        "colour right": [*COLOURS_RIGHT, RIGHT_IN_TEST],
        "labels turned": TURNED,
        "bonsai steps": PREPARED,
        "steps": STEPS,
    }
