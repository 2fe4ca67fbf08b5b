"""Random teachers and guides on CIFAR-10, and supermasks on digits."""

import copy
import os
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

import paramgen
from benchmarks.experiments import spread
from paramgen.comparison import Pixels
from paramgen.images.folders import folder_images
from paramgen.images.sets import decoded

SEEDS: Final = range(int(os.environ.get("SEEDS", "5")))
IMAGES: Final = 5_000
TEST: Final = 2_000
RIDGE: Final = 1.0
SMALL: Final = "hidden=256&bottleneck=64&outputs=1024"

COLOURS: Final = (3, 32, 32)
GREY: Final = (1, 8, 8)
FEW: Final = 200  # digits to learn from: of all, a plain network is right on 98 %

Data = tuple[Pixels, Pixels]


@cache
def cifar() -> Data:
    """Return images to learn from and to test on."""
    path = os.environ.get("CIFAR10")
    if path is None:
        raise SystemExit("Type: CIFAR10=/path/of/cifar10.tar python -m benchmarks.preparation ...")
    return decoded(folder_images(Path(path)), (3, 32, 32), train=IMAGES, test=TEST, folder=None)


def noise(like: Data) -> Data:
    """Return random pixels in the place of images to learn from."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, like[0].pixels.shape, generator=generator, dtype=torch.uint8)
    return Pixels(pixels=pixels, labels=like[0].labels), like[1]


def named(network: str) -> str:
    """Return what `--arch` takes for a network of `networks.py`."""
    return f"{Path(__file__).parent / 'networks.py'}:{network}"


def prepared(network: str, data: Data, *, seed: int, channels: tuple[int, int, int], **options: Any) -> nn.Module:
    """Return a network with what `paramgen.prepare` makes of its default initialization."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "prepared"
        example = torch.zeros(2, *channels)
        paramgen.prepare(named(network), target, data=data, seed=seed, example_input=example, **options)
        return paramgen.load(target).eval()


def initial(network: str, seed: int, channels: tuple[int, int, int]) -> nn.Module:
    """Return a network with its default initialization."""
    example = torch.zeros(2, *channels)
    return paramgen.create(named(network), init="library", seed=seed, example_input=example).eval()


def normalized(part: Pixels, by: Pixels) -> Tensor:
    """Return images as a network takes them, with the mean and deviation of the channels of others."""
    sample = by.pixels.float() / 255
    mean_, std = sample.mean((0, 2, 3), keepdim=True), sample.std((0, 2, 3), keepdim=True)
    return (part.pixels.float() / 255 - mean_) / std


@torch.no_grad()
def probe(features: Callable[[Tensor], Tensor], data: Data) -> float:
    """Return the test accuracy, in points, of ridge regression on features; the same ridge for all."""
    rows = []
    for part in data:
        inputs = normalized(part, data[0])
        rows.append(torch.cat([features(batch).flatten(1) for batch in inputs.split(500)]).double())
    train, test = ((each - rows[0].mean(0)) / rows[0].std(0).clamp_min(1e-6) for each in rows)
    train, test = (torch.cat((each, each.new_ones(len(each), 1)), 1) for each in (train, test))
    wanted = one_hot(data[0].labels, 10).double() - 0.1
    gram = train.T @ train + RIDGE * len(train) * 0.01 * torch.eye(train.shape[1], dtype=torch.float64)
    answers = test @ torch.linalg.solve(gram, train.T @ wanted)
    return 100 * float((answers.argmax(1) == data[1].labels).double().mean())


def teacher() -> dict[str, Any]:
    """Probe the features of random networks, and of students of them, trained on images and on noise."""
    data = cifar()
    batch = 128
    steps = 3 * len(data[0].labels) // batch
    found: dict[str, list[float]] = {"random": [], "student": [], "student of noise": []}
    for seed in SEEDS:
        module = initial("vgg", seed, COLOURS)
        how: dict[str, Any] = {"how": f"teacher?{SMALL}", "steps": steps, "batch": batch, "channels": COLOURS}
        networks = {
            "random": module,
            "student": prepared("vgg", data, seed=seed, **how),
            "student of noise": prepared("vgg", noise(data), seed=seed, **how),
        }
        for name, network in networks.items():
            found[name].append(probe(network[:-1].eval(), data))  # type: ignore[index]  # a Sequential
    flat = probe(lambda inputs: inputs, data)
    return {
        "probe": {name: spread(values) for name, values in found.items()} | {"flat input": round(flat, 2)},
        "images": len(data[0].labels),
        "steps": steps,
        "batch": batch,
        "projector": SMALL,
    }


def trained(
    module: nn.Module, data: Data, *, seed: int, steps: int, lr: float = 1e-3, batch: int = 128
) -> dict[str, float]:
    """Train a copy of a network on labels and return its accuracy, in points, on both parts."""
    module = copy.deepcopy(module).train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=lr)
    inputs, labels = normalized(data[0], data[0]), data[0].labels
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        index = torch.randint(len(labels), (batch,), generator=generator)
        loss = cross_entropy(module(inputs[index]), labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    module.eval()
    with torch.no_grad():
        return {
            name: 100 * float((module(normalized(part, data[0])).argmax(1) == part.labels).double().mean())
            for name, part in zip(("train", "test"), data, strict=True)
        }


def guide() -> dict[str, Any]:
    """Train a fully connected network on CIFAR-10, plain and after guided steps, as long on labels."""
    return _guided(cifar(), "connected", "resnet", COLOURS)


def guide_digits() -> dict[str, Any]:
    """Train a fully connected network on few digits, plain and after guided steps, as long on labels."""
    train, test = digits()
    few = Pixels(pixels=train.pixels[:FEW], labels=train.labels[:FEW])
    return _guided((few, test), "digits", "digits_resnet", GREY)


def _guided(data: Data, network: str, by: str, channels: tuple[int, int, int]) -> dict[str, Any]:
    guided_steps, steps = 300, 600
    found: dict[str, list[Mapping[str, float]]] = {"plain": [], "plain, as many steps": [], "guided": []}
    for seed in SEEDS:
        module = initial(network, seed, channels)
        found["plain"].append(trained(module, data, seed=seed, steps=steps))
        found["plain, as many steps"].append(trained(module, data, seed=seed, steps=steps + guided_steps))
        how = f"guide:{named(by)}"
        made = prepared(network, data, seed=seed, channels=channels, how=how, steps=guided_steps, batch=128)
        found["guided"].append(trained(made, data, seed=seed, steps=steps))
    return {
        "test accuracy": {name: spread([each["test"] for each in runs]) for name, runs in found.items()},
        "train accuracy": {name: spread([each["train"] for each in runs]) for name, runs in found.items()},
        "images": len(data[0].labels),
        "guided_steps": guided_steps,
        "steps": steps,
    }


def digits() -> Data:
    """Return scikit-learn's digits, a fifth of them to test on, as grey images."""
    from sklearn.datasets import load_digits  # of the group `benchmarks`, which the tests do without

    found = load_digits()
    order = torch.randperm(len(found.target), generator=torch.Generator().manual_seed(0))
    pixels = (torch.from_numpy(found.images).float()[:, None] * 255 / 16).to(torch.uint8)[order]
    labels = torch.from_numpy(found.target).long()[order]
    fifth = len(order) // 5
    return (
        Pixels(pixels=pixels[fifth:], labels=labels[fifth:]),
        Pixels(pixels=pixels[:fifth], labels=labels[:fifth]),
    )


def supermask() -> dict[str, Any]:
    """Compare a trained mask over weights of one size with training all weights, on digits."""
    data, steps = digits(), 600
    dense, masked, kept = [], [], []
    for seed in SEEDS:
        module = initial("digits", seed, GREY)
        dense.append(trained(module, data, seed=seed, steps=steps)["test"])
        made = prepared("digits", data, seed=seed, channels=GREY, how="supermask", steps=steps, batch=128)
        with torch.no_grad():
            right = made(normalized(data[1], data[0])).argmax(1) == data[1].labels
        masked.append(100 * float(right.double().mean()))
        weights = [each for each in made.parameters() if each.dim() > 1]
        kept.append(100 * sum(int((each != 0).sum()) for each in weights) / sum(each.numel() for each in weights))
    return {"dense": spread(dense), "supermask": spread(masked), "kept percent": spread(kept), "steps": steps}
