"""What a network learns of which few weights are kept or trained: `python -m benchmarks.sparse table share soft depth`.

`table`: fully connected, 64-128-128-128-10, on scikit-learn's digits, by criterion and share kept; `share`: as many
numbers for all its weights; `soft`: as many weights behind the soft thresholds of ST-3, which rise in training.
`depth`: 15 layers of 100 with 10 % kept by SNIP, by how these are rescaled. AdamW, five seeds; every way has its own
best learning rate of a grid, chosen on a fifth of the images. Some minutes on one core; the result is
`cards/results/sparse.json`, `--render` prints it.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import paramgen
from benchmarks.provenance import provenance
from paramgen.modifiers.masking.soft import METHOD, SoftThresholds, parse_sparse
from paramgen.storage.folder import write_text

RESULTS: Final = Path(__file__).parents[1] / "cards" / "results" / "sparse.json"
SEEDS: Final = 5
RATES: Final = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
BATCH: Final = 128
STEPS: Final = 300
SIZES: Final = (64, 128, 128, 128, 10)
KEPT: Final = (0.05, 0.01, 0.003)
WAYS: Final[Mapping[str, str]] = {
    "random": "prune:random?keep={keep}",
    "random, erk": "prune:random?keep={keep}&scope=erk",
    "magnitude": "prune:magnitude?keep={keep}",
    "magnitude, sampled": "prune:magnitude?keep={keep}&mask=sampled",
    "snip": "prune:snip?keep={keep}&data={data}",
    "snip, sampled": "prune:snip?keep={keep}&mask=sampled&data={data}",
    "grasp": "prune:grasp?keep={keep}&data={data}",
    "synflow": "prune:synflow?keep={keep}",
    "synflow, as it is": "prune:synflow?keep={keep}&rescale=none",
    "freeze": "freeze?keep={keep}&data={data}",
}
SHARE, SOFT = MORE = ("share", "ST-3")
"""Ways that are experiments of their own: numbers that all weights share, and zeros that training chooses."""
RESCALED: Final[Mapping[str, str]] = {
    "as it is": "prune:snip?keep=0.1&rescale=none&data={data}",
    "mean field": "prune:snip?keep=0.1&rescale=meanfield&data={data}",
    "measured": "prune:snip?keep=0.1&data={data}",
}

Parts = dict[str, tuple[Tensor, Tensor]]


@cache
def parts() -> Parts:
    """Return images and labels to learn from, to choose learning rates on, and to test on: three, one and one fifth."""
    from sklearn.datasets import load_digits  # of the group `benchmarks`, which the tests do without

    digits = load_digits()
    images = torch.from_numpy(digits.images).float()[:, None] / 16
    labels = torch.from_numpy(digits.target).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    fifth = len(order) // 5
    cuts = {"test": order[:fifth], "validation": order[fifth : 2 * fifth], "train": order[2 * fifth :]}
    return {name: (images[cut], labels[cut]) for name, cut in cuts.items()}


def images_to_learn_from(folder: Path) -> None:
    """Write the images to learn from as class folders, for criteria that look at them."""
    images, labels = parts()["train"]
    for index, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        (folder / str(label)).mkdir(exist_ok=True)
        Image.fromarray((image[0].numpy() * 255).astype(np.uint8)).save(folder / str(label) / f"{index}.png")


def network(sizes: Sequence[int]) -> nn.Sequential:
    """Return a fully connected network with ReLUs."""
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def accuracies(sizes: Sequence[int], then: str | None, *, seed: int, rate: float, steps: int) -> dict[str, float]:
    """Train from He's initialization with a modifier, its constraint held, or soft thresholds; return accuracies."""
    torch.manual_seed(seed)
    module = network(sizes)
    prediction = paramgen.predict(
        module,
        init="he",
        then=[] if then is None or then.startswith(METHOD) else [then],
        seed=seed,
        example_input=torch.zeros(2, 1, 8, 8),
        progress=False,
    )
    module.load_state_dict(prediction.state_dict())
    if (constraint := prediction.initializer.constraint()) is not None:
        constraint.hold(module)
    thresholds = None
    if then is not None and then.startswith(METHOD):
        outputs = {f"{index}.weight": 0 for index, layer in enumerate(module) if isinstance(layer, nn.Linear)}
        thresholds = SoftThresholds(module, outputs, parse_sparse(then))
    optimizer = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=0.01)
    images, labels = parts()["train"]
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        if thresholds is not None:
            thresholds.at(step / steps)
        chosen = torch.randint(len(labels), (BATCH,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(images[chosen]), labels[chosen]).backward()
        optimizer.step()
    if thresholds is not None:
        thresholds.at(1.0)
    with torch.no_grad():
        return {
            part: float((module(parts()[part][0]).argmax(1) == parts()[part][1]).float().mean())
            for part in ("validation", "test")
        }


def tuned(sizes: Sequence[int], then: str | None, *, steps: int, rates: Sequence[float] = RATES) -> dict[str, Any]:
    """Return the test accuracies of all seeds at the learning rate that is best on the validation images."""
    runs = {
        rate: [accuracies(sizes, then, seed=seed, rate=rate, steps=steps) for seed in range(SEEDS)] for rate in rates
    }
    best = max(rates, key=lambda rate: mean(run["validation"] for run in runs[rate]))
    values = [round(run["test"], 4) for run in runs[best]]
    return {"lr": best, "values": values, "mean": round(mean(values), 4), "std": round(stdev(values), 4)}


def table(data: Path) -> dict[str, Any]:
    """Return accuracy by criterion and by share of weights that is kept."""
    found: dict[str, Any] = {"dense": tuned(SIZES, None, steps=STEPS)}
    for way, spec in WAYS.items():
        found[way] = {}
        for keep in KEPT:
            found[way][str(keep)] = tuned(SIZES, spec.format(keep=keep, data=data), steps=STEPS)
            sys.stderr.write(f"{way} {keep}: {found[way][str(keep)]}\n")
    return {"sizes": SIZES, "steps": STEPS, "accuracy": found}


def _by_share(way: str, spec: Callable[[float], str]) -> dict[str, Any]:
    """Return accuracy of one way more, of the network of `table` and trained as there."""
    found = {}
    for keep in KEPT:
        found[str(keep)] = tuned(SIZES, spec(keep), steps=STEPS)
        sys.stderr.write(f"{way} {keep}: {found[str(keep)]}\n")
    return {"sizes": SIZES, "steps": STEPS, "accuracy": {way: found}}


def share(data: Path) -> dict[str, Any]:
    """Return accuracy where all weights share so many numbers."""
    return _by_share(SHARE, lambda keep: f"share?keep={keep}")


def soft(data: Path) -> dict[str, Any]:
    """Return accuracy where a soft threshold leaves so many weights at the end of training."""
    return _by_share(SOFT, lambda keep: f"{METHOD}:{1 - keep:.4g}")


def depth(data: Path) -> dict[str, Any]:
    """Return accuracy at 15 layers with a tenth of the weights, by how these are rescaled."""
    sizes = (64, *[100] * 14, 10)
    rates = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
    found = {"dense": tuned(sizes, None, steps=200, rates=rates)}
    for way, spec in RESCALED.items():
        found[way] = tuned(sizes, spec.format(data=data), steps=200, rates=rates)
        sys.stderr.write(f"{way}: {found[way]}\n")
    return {"sizes": sizes, "steps": 200, "accuracy": found}


EXPERIMENTS: Final[Mapping[str, Callable[[Path], dict[str, Any]]]] = {
    "table": table,
    "share": share,
    "soft": soft,
    "depth": depth,
}


def markdown(found: Mapping[str, Any]) -> str:
    """Return both tables; accuracy in %, mean and standard deviation over the seeds."""

    def said(entry: Mapping[str, Any]) -> str:
        return f"{100 * entry['mean']:.1f} ± {100 * entry['std']:.1f}"

    rows = {**found["table"]["accuracy"], **found["share"]["accuracy"], **found["soft"]["accuracy"]}
    lines = [
        f"| kept by | {' | '.join(f'{keep:.1%}' for keep in KEPT)} |",
        f"|---|{'--:|' * len(KEPT)}",
        *(f"| {way} | {' | '.join(said(rows[way][str(keep)]) for keep in KEPT)} |" for way in (*WAYS, *MORE)),
        "",
        f"Dense: {said(rows['dense'])}.",
        "",
        "| rescaled | accuracy |",
        "|---|--:|",
        *(f"| {way} | {said(entry)} |" for way, entry in found["depth"]["accuracy"].items()),
    ]
    return "\n".join(lines)


def main() -> None:
    """Run what is named and write its figures beside the others; or print them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("experiments", nargs="*", help=" and ".join(EXPERIMENTS))
    parser.add_argument("--result", type=Path, default=RESULTS)
    parser.add_argument("--render", action="store_true", help="print the result as Markdown")
    given = parser.parse_args()
    if unknown := set(given.experiments) - set(EXPERIMENTS):
        parser.error(f"Unknown experiment {min(unknown)!r}. Known: {', '.join(EXPERIMENTS)}.")
    found = json.loads(given.result.read_text(encoding="utf-8")) if given.result.is_file() else {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        if given.experiments:
            images_to_learn_from(data)
        for name in given.experiments:
            found[name] = {"seeds": SEEDS, "batch": BATCH, **EXPERIMENTS[name](data), **provenance()}
            write_text(given.result, json.dumps(found, indent=1) + "\n")
    if given.render:
        print(markdown(found))


if __name__ == "__main__":
    main()
