"""The measurement that a card quotes.

    python -m benchmarks.initialization.evaluate --hypernet DIR --data PATH --name NAME

Every network is one that no training run has seen: designs wider and deeper than the training range, and networks of
torchvision, timm and transformers. For each, over several seeds: the accuracy of the prediction at once, with batch
statistics in batch norms, and the accuracy after a short training from the prediction and from the default
initialization, each at its best learning rate out of one grid.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, pstdev
from typing import Annotated, Any, Final, final

import torch
import typer
from torch import Tensor, nn

from benchmarks.initialization.evaluate_networks import library_networks
from benchmarks.provenance import provenance
from paramgen.comparison.results import Spread
from paramgen.errors import ParamgenError
from paramgen.hypernets.loading import Predictor, load
from training import evaluation
from training.data.images import Images, Split, load_set
from training.spaces import pool
from training.spaces.design import CLASSES, RESOLUTIONS
from training.targets import TargetNetwork, seed_of, view_of

LEARNING_RATES: Final = (3e-4, 1e-3, 3e-3)
INITS: Final = ("library", "hypernet")
_SPLITS: Final[tuple[Split, ...]] = ("train", "test")


@final
@dataclass(frozen=True, slots=True)
class HeldOutNetwork:
    """One network to judge on."""

    name: str
    resolution: int
    build: Callable[[], nn.Module]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much is measured."""

    seeds: int = 3
    steps: int = 100
    batch: int = 64
    test_images: int = 2048
    lr: tuple[float, ...] = LEARNING_RATES


def held_out_networks(
    designs: int, *, libraries: bool = True, families: Sequence[str] = (), classes: int = CLASSES
) -> Iterator[HeldOutNetwork]:
    """Yield held-out designs, families (all if none is named) in turn, and the libraries' networks."""
    drawn = pool(seed_of(0, "evaluate"), designs, span="held_out", among=families, classes=classes)
    for index, design in enumerate(drawn):
        yield HeldOutNetwork(f"{type(design).__name__} {index}", design.resolution, design.build)
    for name, resolution, build in library_networks(classes) if libraries else ():
        yield HeldOutNetwork(name, resolution, build)


@final
@dataclass(frozen=True, kw_only=True)
class NetworkResult:
    """The accuracies on one network, by initializer; `trained` has one figure for each learning rate."""

    network: str
    resolution: int
    parameters: int
    zero_shot: Mapping[str, Spread]
    trained: Mapping[str, Mapping[str, Spread]]

    def best(self, init: str) -> tuple[str, Spread] | None:
        """Return the learning rate that did best and its figure; None where nothing was trained."""
        tried = self.trained[init]
        return max(tried.items(), key=lambda pair: pair[1].mean, default=None)

    def to_json(self) -> dict[str, Any]:
        """Return every field, and the best of each initializer."""
        best = {init: self.best(init) for init in self.trained}
        return {
            "network": self.network,
            "resolution": self.resolution,
            "parameters": self.parameters,
            "zero_shot": {init: each.to_json() for init, each in self.zero_shot.items()},
            "trained": {
                init: {lr: each.to_json() for lr, each in by_lr.items()} for init, by_lr in self.trained.items()
            },
            "best": {
                init: {} if found is None else {"lr": float(found[0]), **found[1].to_json()}
                for init, found in best.items()
            },
        }


def measure(
    hypernet: Predictor, network: HeldOutNetwork, images: Mapping[Split, Images], budget: Budget
) -> NetworkResult:
    """Return the figures of one network."""
    view = view_of(network.build, torch.zeros(2, 3, network.resolution, network.resolution, device="meta"))
    zero_shot: dict[str, list[float]] = {init: [] for init in INITS}
    trained: dict[str, dict[str, list[float]]] = {init: {} for init in INITS}
    parameters = 0
    for seed in range(budget.seeds):
        target = TargetNetwork.of(network.build, view, seed=seed, device=torch.device("cpu"))
        parameters = sum(parameter.numel() for parameter in target.network.parameters())
        with torch.no_grad():
            states = {"library": target.state, "hypernet": target.state | target.predict(hypernet)}
        for init, state in states.items():
            zero_shot[init].append(_accuracy(target.network, state, images["test"], budget))
            for lr in budget.lr if budget.steps else ():
                found = _trained(target, state, images, budget, lr=lr, seed=seed)
                trained[init].setdefault(f"{lr:g}", []).append(found)
    return NetworkResult(
        network=network.name,
        resolution=network.resolution,
        parameters=parameters,
        zero_shot={init: _spread(values) for init, values in zero_shot.items()},
        trained={init: {lr: _spread(values) for lr, values in by_lr.items()} for init, by_lr in trained.items()},
    )


def _accuracy(network: nn.Module, state: dict[str, Tensor], images: Images, budget: Budget) -> float:
    return evaluation.accuracy(network, state, images.batches(budget.batch, limit=budget.test_images))


def _trained(
    target: TargetNetwork,
    state: dict[str, Tensor],
    images: Mapping[Split, Images],
    budget: Budget,
    *,
    lr: float,
    seed: int,
) -> float:
    """Return the accuracy after a short training from `state`."""
    steps, batch = budget.steps, budget.batch
    reached = evaluation.fine_tune(target.network, state, images["train"], steps=steps, lr=lr, batch=batch, seed=seed)
    return _accuracy(target.network, reached, images["test"], budget)


def _spread(values: Sequence[float]) -> Spread:
    return Spread(round(mean(values), 4), round(pstdev(values), 4), tuple(round(value, 4) for value in values))


def summary(results: Sequence[NetworkResult]) -> dict[str, float]:
    """Return the means over networks, and how many networks fine-tune within half a point of the library or better."""
    found = {f"zero_shot_{init}": round(mean(each.zero_shot[init].mean for each in results), 4) for init in INITS}
    ends = {init: [best[1].mean for each in results if (best := each.best(init)) is not None] for init in INITS}
    if ends["library"]:
        found |= {f"trained_{init}": round(mean(ends[init]), 4) for init in INITS}
        pairs = zip(ends["hypernet"], ends["library"], strict=True)
        found["trained_wins_or_ties"] = round(mean(ours >= library - 0.005 for ours, library in pairs), 4)
    return found


def main(
    *,
    hypernet: Annotated[Path, typer.Option(help="A folder with a hypernet's config.json and weights.")],
    data: Annotated[Path, typer.Option(help="A folder, or a tar, of train/<class>/*.jpg and test/<class>/*.jpg.")],
    name: Annotated[str, typer.Option(help="The result is cards/results/<name>.json.")],
    cache: Annotated[Path, typer.Option(help="Where decoded images are kept.")] = Path("runs/cache"),
    results: Annotated[Path, typer.Option(help="The folder of the result.")] = Path("cards/results"),
    seeds: Annotated[int, typer.Option(help="Predictions per network.")] = 3,
    steps: Annotated[int, typer.Option(help="Steps of training; 0: only accuracy at once.")] = 100,
    designs: Annotated[int, typer.Option(help="Held-out designs, besides the libraries' networks.")] = 12,
    libraries: Annotated[bool, typer.Option(help="Whether to judge the libraries' networks too.")] = True,
    family: Annotated[list[str] | None, typer.Option(help="A family to draw designs from; all if none.")] = None,
) -> None:
    """Judge a hypernet and write the result."""
    try:
        budget = Budget(seeds=seeds, steps=steps)
        loaded = load(str(hypernet))
        rows = []
        image_set = load_set(data, RESOLUTIONS, cache)
        classes = len(image_set["train", RESOLUTIONS[0]].classes)
        for network in held_out_networks(designs, libraries=libraries, families=family or (), classes=classes):
            images = {split: image_set[split, network.resolution] for split in _SPLITS}
            rows.append(measure(loaded, network, images, budget))
            said = rows[-1].to_json()
            sys.stderr.write(f"{json.dumps({key: said[key] for key in ('network', 'zero_shot', 'best')})}\n")
    except ParamgenError as error:
        sys.stderr.write(f"{error.message}\n")
        raise typer.Exit(2) from error
    result = {"hypernet": name, "data": data.name, "seeds": seeds, "steps": steps, "lr": list(budget.lr)}
    result |= provenance() | {"summary": summary(rows), "networks": [row.to_json() for row in rows]}
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
