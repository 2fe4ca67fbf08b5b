"""What small networks learn from closed forms: handwritten digits, with Adam.

Each initialization has its own best learning rate of a grid, by the accuracy on a fifth of the images that is neither
trained nor tested on.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from statistics import fmean
from typing import Any, Final

import torch
from torch import Tensor, nn

from benchmarks.closed_forms.networks import SEEDS, Branches, Plain, spread, states_of
from benchmarks.sparse import parts

BATCH: Final = 64
PIXELS: Final = 64


def rezero() -> dict[str, Any]:
    """Return what 64 residual blocks without norms learn in 100 steps, with gates of 0 and of 1."""
    return _compared(lambda: Branches(64, 64, PIXELS), ("rezero:he", "he"), 100, (1e-3, 1e-2, 3e-2))


def orthogonal() -> dict[str, Any]:
    """Return what 50 layers of tanh learn in 200 steps from orthogonal weights, and at the gain of 5/3."""
    inits = ("orthogonal", "orthogonal|scale:1.6667")
    return _compared(lambda: Plain(100, 50, torch.tanh, inputs=PIXELS), inits, 200, (1e-4, 3e-4, 1e-3, 3e-3))


def edge_of_chaos() -> dict[str, Any]:
    """Return what 50 and 100 layers of tanh learn in 200 steps, on the edge of chaos and beside it."""
    inits = ("eoc", "xavier?distribution=normal", "he|scale:2.5")
    return {
        f"depth {depth}": _compared(
            lambda depth=depth: Plain(100, depth, torch.tanh, inputs=PIXELS),  # type: ignore[misc]
            inits,
            200,
            (3e-4, 1e-3),
        )
        for depth in (50, 100)
    }


def _compared(
    build: Callable[[], nn.Module], inits: Iterable[str], steps: int, rates: tuple[float, ...]
) -> dict[str, Any]:
    """Return the test accuracy from each initialization at its own best learning rate."""
    found: dict[str, Any] = {"steps": steps, "batch": BATCH, "learning_rates": list(rates)}
    for init, states in states_of(build, inits, SEEDS, f"2x{PIXELS}").items():
        runs = {rate: [learned(build, state, rate, steps, seed) for seed, state in states.items()] for rate in rates}
        best = max(rates, key=lambda rate: fmean(each["validation"] for each in runs[rate]))
        found[init] = {"test_accuracy": spread([each["test"] for each in runs[best]]), "learning_rate": best}
    return found


def learned(
    build: Callable[[], nn.Module], state: Mapping[str, Tensor], rate: float, steps: int, seed: int
) -> dict[str, float]:
    """Return the accuracies after so many steps of Adam; batches are drawn by the seed."""
    module = build()
    module.load_state_dict(state)
    images, labels = digits()["train"]
    order = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(module.parameters(), lr=rate, fused=True)
    with torch.enable_grad():
        for _ in range(steps):
            batch = torch.randint(len(labels), (BATCH,), generator=order)
            loss = nn.functional.cross_entropy(module(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return {
        name: float((module(inputs).argmax(1) == wanted).float().mean())
        for name, (inputs, wanted) in digits().items()
        if name != "train"
    }


@cache
def digits() -> dict[str, tuple[Tensor, Tensor]]:
    """Return the digits to train on, to choose learning rates on and to test on, at mean 0 and std 1."""
    trained = parts()["train"][0]
    return {
        name: (((images - trained.mean()) / trained.std()).flatten(1), labels)
        for name, (images, labels) in parts().items()
    }
