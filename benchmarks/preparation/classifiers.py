"""Random teachers and guides on CIFAR-10, and supermasks on digits."""

import copy
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

import paramgen
from paramgen.comparison import Pixels
from paramgen.images.folders import folder_images
from paramgen.images.sets import decoded

SEEDS: Final = range(int(os.environ.get("SEEDS", "5")))
IMAGES: Final = 5_000
TEST: Final = 2_000
RIDGE: Final = 1.0
SMALL: Final = "hidden=256&bottleneck=64&outputs=1024"

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


def vgg() -> nn.Module:
    """Return a small VGG without norms."""
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 128), (128, 128)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))


def connected() -> nn.Module:
    """Return three fully connected layers."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(3072, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )


def digits_network() -> nn.Module:
    """Return three fully connected layers, 300 and 100 wide."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
    )


def initial(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Return a network with torch's default initialization, which the seed decides."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()


def prepared(module: nn.Module, data: Data, *, seed: int, channels: tuple[int, int, int], **options: Any) -> nn.Module:
    """Return a copy of a network with what `paramgen.prepare` makes of its weights."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "prepared"
        example = torch.zeros(2, *channels)
        paramgen.prepare(copy.deepcopy(module), target, data=data, seed=seed, example_input=example, **options)
        return paramgen.load(target, copy.deepcopy(module))


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


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return mean, standard deviation and the values, by seed."""
    return {
        "mean": round(mean(values), 2),
        "std": round(stdev(values), 2) if len(values) > 1 else 0.0,
        "values": [round(value, 2) for value in values],
    }


def teacher() -> dict[str, Any]:
    """Probe the features of random networks, and of students of them, trained on images and on noise."""
    data = cifar()
    batch = 128
    steps = 3 * len(data[0].labels) // batch
    found: dict[str, list[float]] = {"random": [], "student": [], "student of noise": []}
    for seed in SEEDS:
        module = initial(vgg, seed)
        how = {"how": f"teacher?{SMALL}", "steps": steps, "batch": batch, "channels": (3, 32, 32)}
        networks = {
            "random": module,
            "student": prepared(module, data, seed=seed, **how),
            "student of noise": prepared(module, noise(data), seed=seed, **how),
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
    """Train a fully connected network, plain and after guided steps, for the same number of steps on labels."""
    data = cifar()
    guided_steps, steps = 300, 600
    found: dict[str, list[Mapping[str, float]]] = {"plain": [], "plain, as many steps": [], "guided": []}
    arch = f"{Path(__file__).parent / 'guide_networks.py'}:resnet"
    for seed in SEEDS:
        module = initial(connected, seed)
        found["plain"].append(trained(module, data, seed=seed, steps=steps))
        found["plain, as many steps"].append(trained(module, data, seed=seed, steps=steps + guided_steps))
        made = prepared(
            module, data, seed=seed, channels=(3, 32, 32), how=f"guide:{arch}", steps=guided_steps, batch=128
        )
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
        module = initial(digits_network, seed)
        dense.append(trained(module, data, seed=seed, steps=steps)["test"])
        made = prepared(module, data, seed=seed, channels=(1, 8, 8), how="supermask", steps=steps, batch=128).eval()
        with torch.no_grad():
            right = made(normalized(data[1], data[0])).argmax(1) == data[1].labels
        masked.append(100 * float(right.double().mean()))
        weights = [each for each in made.parameters() if each.dim() > 1]
        kept.append(100 * sum(int((each != 0).sum()) for each in weights) / sum(each.numel() for each in weights))
    return {"dense": spread(dense), "supermask": spread(masked), "kept percent": spread(kept), "steps": steps}
