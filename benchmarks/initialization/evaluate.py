"""The measurement that a card quotes.

    python -m benchmarks.initialization.evaluate --hypernet DIR --data PATH --name NAME

Every network is one that no training run has seen: designs wider and deeper than the training range, and networks of
torchvision, timm and transformers. For each, over several seeds: the accuracy of the prediction at once, with batch
statistics in batch norms, and the accuracy after a short training from the prediction and from the library's own
start, each at its best learning rate out of one grid.
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
from paramgen.errors import ParamgenError
from paramgen.hypernets.loading import Predictor, load
from training import evaluation
from training.data.images import Images, Split, load_set
from training.spaces import pool
from training.spaces.design import CLASSES, RESOLUTIONS
from training.targets import TargetNetwork, seed_of, view_of

RATES: Final = (3e-4, 1e-3, 3e-3)
_SPLITS: Final[tuple[Split, ...]] = ("train", "test")


@final
@dataclass(frozen=True, slots=True)
class Subject:
    """One network to judge on."""

    name: str
    resolution: int
    build: Callable[[], nn.Module]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How much is measured."""

    seeds: int = 3
    steps: int = 100
    batch: int = 64
    test_images: int = 2048
    rates: tuple[float, ...] = RATES


def subjects(
    designs: int, *, libraries: bool = True, families: Sequence[str] = (), classes: int = CLASSES
) -> Iterator[Subject]:
    """Yield held-out designs, families (all if none is named) in turn, and the libraries' networks."""
    drawn = pool(seed_of(0, "evaluate"), designs, span="held_out", among=families, classes=classes)
    for index, design in enumerate(drawn):
        yield Subject(f"{type(design).__name__} {index}", design.resolution, design.build)
    for name, resolution, build in library_networks(classes) if libraries else ():
        yield Subject(name, resolution, build)


def measure(
    hypernet: Predictor, subject: Subject, images: Mapping[Split, Images], protocol: Protocol
) -> dict[str, Any]:
    """Return the figures of one network."""
    view = view_of(subject.build, torch.zeros(2, 3, subject.resolution, subject.resolution, device="meta"))
    zero_shot: dict[str, list[float]] = {"library": [], "hypernet": []}
    trained: dict[str, dict[str, list[float]]] = {"library": {}, "hypernet": {}}
    parameters = 0
    for seed in range(protocol.seeds):
        target = TargetNetwork.of(subject.build, view, seed=seed, device=torch.device("cpu"))
        parameters = sum(parameter.numel() for parameter in target.network.parameters())
        with torch.no_grad():
            starts = {"library": target.state, "hypernet": target.state | target.predict(hypernet)}
        for start, state in starts.items():
            zero_shot[start].append(_accuracy(target.network, state, images["test"], protocol))
            for rate in protocol.rates if protocol.steps else ():
                found = _trained(target, state, images, protocol, rate=rate, seed=seed)
                trained[start].setdefault(f"{rate:g}", []).append(found)
    return {
        "network": subject.name,
        "resolution": subject.resolution,
        "parameters": parameters,
        "zero_shot": {start: _spread(values) for start, values in zero_shot.items()},
        "trained": {start: {rate: _spread(v) for rate, v in rates.items()} for start, rates in trained.items()},
        "best": {start: _best(rates) for start, rates in trained.items()},
    }


def _accuracy(network: nn.Module, state: dict[str, Tensor], images: Images, protocol: Protocol) -> float:
    return evaluation.accuracy(network, state, images.batches(protocol.batch, limit=protocol.test_images))


def _trained(
    target: TargetNetwork,
    state: dict[str, Tensor],
    images: Mapping[Split, Images],
    protocol: Protocol,
    *,
    rate: float,
    seed: int,
) -> float:
    """Return the accuracy after a short training from `state`."""
    steps, batch = protocol.steps, protocol.batch
    reached = evaluation.fine_tune(target.network, state, images["train"], steps=steps, lr=rate, batch=batch, seed=seed)
    return _accuracy(target.network, reached, images["test"], protocol)


def _best(rates: dict[str, list[float]]) -> dict[str, Any]:
    if not rates:
        return {}
    rate = max(rates, key=lambda key: mean(rates[key]))
    return {"rate": float(rate), **_spread(rates[rate])}


def _spread(values: Sequence[float]) -> dict[str, Any]:
    return {"mean": round(mean(values), 4), "std": round(pstdev(values), 4), "values": [round(v, 4) for v in values]}


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the means over networks, and how many networks fine-tune within half a point of the library or better."""
    found = {
        f"zero_shot_{start}": round(mean(row["zero_shot"][start]["mean"] for row in rows), 4)
        for start in ("library", "hypernet")
    }
    trained = [row["best"] for row in rows if row["best"].get("library")]
    if trained:
        for start in ("library", "hypernet"):
            found[f"trained_{start}"] = round(mean(best[start]["mean"] for best in trained), 4)
        level = [best["hypernet"]["mean"] >= best["library"]["mean"] - 0.005 for best in trained]
        found["trained_wins_or_ties"] = round(mean(level), 4)
    return found


def main(
    *,
    hypernet: Annotated[Path, typer.Option(help="A folder with a hypernet's config.json and weights.")],
    data: Annotated[Path, typer.Option(help="A folder, or a tar, of train/<class>/*.jpg and test/<class>/*.jpg.")],
    name: Annotated[str, typer.Option(help="The result is cards/results/<name>.json.")],
    cache: Annotated[Path, typer.Option(help="Where decoded images are kept.")] = Path("runs/cache"),
    results: Annotated[Path, typer.Option(help="The folder of the result.")] = Path("cards/results"),
    seeds: Annotated[int, typer.Option(help="Starts per network.")] = 3,
    steps: Annotated[int, typer.Option(help="Steps of training after the start; 0: only accuracy at once.")] = 100,
    designs: Annotated[int, typer.Option(help="Held-out designs, besides the libraries' networks.")] = 12,
    libraries: Annotated[bool, typer.Option(help="Whether to judge the libraries' networks too.")] = True,
    family: Annotated[list[str] | None, typer.Option(help="A family to draw designs from; all if none.")] = None,
) -> None:
    """Judge a hypernet and write the result."""
    try:
        protocol = Protocol(seeds=seeds, steps=steps)
        loaded = load(str(hypernet))
        rows = []
        image_set = load_set(data, RESOLUTIONS, cache)
        classes = len(image_set["train", RESOLUTIONS[0]].classes)
        for subject in subjects(designs, libraries=libraries, families=family or (), classes=classes):
            images = {split: image_set[split, subject.resolution] for split in _SPLITS}
            rows.append(measure(loaded, subject, images, protocol))
            sys.stderr.write(f"{json.dumps({key: rows[-1][key] for key in ('network', 'zero_shot', 'best')})}\n")
    except ParamgenError as error:
        sys.stderr.write(f"{error.message}\n")
        raise typer.Exit(2) from error
    result = {"hypernet": name, "data": data.name, "seeds": seeds, "steps": steps, "rates": list(protocol.rates)}
    result |= provenance() | {"summary": summary(rows), "networks": rows}
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
