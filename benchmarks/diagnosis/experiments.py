"""Small networks on handwritten digits, measured as `diagnose` measures them, with five seeds each."""

import time
from collections.abc import Callable
from functools import cache, partial
from math import log10
from statistics import correlation, linear_regression
from typing import Any, Final, final

import torch
from torch import Tensor, nn

import paramgen
from benchmarks.closed_forms.networks import SEEDS, spread
from paramgen.architectures.module import from_module
from paramgen.diagnosis.alignment import EarlyAlignment
from paramgen.diagnosis.barrier import barriers
from paramgen.diagnosis.bias import HYPOTHESES, InductiveBias, fitted_law, inductive_bias
from paramgen.diagnosis.jacobian import EPOCHS, figures_of, training_jacobian
from paramgen.diagnosis.rank import ADAM_RATE, RANK_CHECKPOINTS, ranks_of
from paramgen.diagnosis.rate import largest_rate, top_eigenvalue
from paramgen.diagnosis.relative import Relative
from paramgen.diagnosis.sample import tensor_sample
from paramgen.diagnosis.short_training import ShortTraining
from paramgen.diagnosis.trial import Trial

SHARES: Final = (0.0, 0.05, 0.2)
FACTOR: Final = 0.1**0.5


def rate() -> dict[str, Any]:
    """Return how well the logarithm of the largest learning rate is linear in that of depth times width.

    The input layer has a tenth of it, and networks are wider than deep, as the paper's law needs. Beside it stands the
    law in which depth and width have exponents of their own.
    """
    inputs, labels = digits(256)
    sizes = [(depth, width) for depth in (3, 6, 12) for width in (64, 128, 256)]
    fits, slopes, products = [], [], []
    apart: dict[str, list[float]] = {name: [] for name in ("depth", "width", "r2")}
    means = dict.fromkeys(sizes, 0.0)
    for seed in SEEDS:
        rates = []
        for depth, width in sizes:
            trial = made(partial(SlowInput, depth, width), "he", seed, inputs, labels)
            curvature = top_eigenvalue(trial)
            rates.append(largest_rate(trial, begin=2 / curvature, steps=100))
            products.append(rates[-1] * curvature)
            means[depth, width] += rates[-1] / len(SEEDS)
        r2, slope = _line(sizes, rates)
        fits.append(r2)
        slopes.append(slope)
        for name, value in _plane(sizes, rates).items():
            apart[name].append(value)
    return {
        "rates": {f"{depth}x{width}": float(f"{each:.3g}") for (depth, width), each in means.items()},
        "r2": spread(fits),
        "r2_of_means": round(_line(sizes, list(means.values()))[0], 4),
        "slope": spread(slopes),
        "apart": {name: spread(values) for name, values in apart.items()},
        "rate_times_curvature": {"smallest": round(min(products), 2), "largest": round(max(products), 2)},
    }


def _line(sizes: list[tuple[int, int]], rates: list[float]) -> tuple[float, float]:
    """Return R2 and slope of log rate over log(depth x width)."""
    x, y = [log10(depth * width) for depth, width in sizes], [log10(each) for each in rates]
    return correlation(x, y) ** 2, linear_regression(x, y).slope


def _plane(sizes: list[tuple[int, int]], rates: list[float]) -> dict[str, float]:
    """Return the exponents of depth and of width, and R2, of log rate over the logarithms of both."""
    columns = torch.tensor([[log10(depth), log10(width), 1.0] for depth, width in sizes], dtype=torch.float64)
    values = torch.tensor([log10(each) for each in rates], dtype=torch.float64)
    found = torch.linalg.lstsq(columns, values[:, None]).solution[:, 0]
    left = (values - columns @ found).square().sum() / (values - values.mean()).square().sum()
    return {"depth": float(found[0]), "width": float(found[1]), "r2": float(1 - left)}


def jacobian() -> dict[str, Any]:
    """Return the share of directions that training leaves, how both singular vectors agree there, and elsewhere."""
    inputs, labels = digits(1437)
    found: dict[str, list[float]] = {name: [] for name in ("unchanged", "cosine", "elsewhere", "largest", "seconds")}
    for seed in SEEDS:
        trial = made(
            lambda: nn.Sequential(nn.Linear(64, 16), nn.GELU(), nn.Linear(16, 10)), "library", seed, inputs, labels
        )
        begun = time.process_time()
        figures = figures_of(training_jacobian(trial, epochs=EPOCHS))
        figures["seconds"] = time.process_time() - begun
        for name, values in found.items():
            value = figures[name]
            assert value is not None
            values.append(value)
    return {"parameters": 1210, "epochs": EPOCHS, **{name: spread(values) for name, values in found.items()}}


def barrier() -> dict[str, Any]:
    """Return the barrier between runs that part at the start, and after 5 and 20 % of training."""
    inputs, labels = digits(512)
    generator = torch.Generator().manual_seed(1)
    random = torch.randint(10, labels.shape, generator=generator)
    labels = torch.where(torch.rand(len(labels), generator=generator) < 0.3, random, labels)
    found: list[list[float]] = [[] for _ in SHARES]
    for seed in SEEDS:
        trial = made(Residual, "library", seed, inputs, labels)
        for values, each in zip(found, barriers(trial, steps=200, lr=0.2, shares=SHARES), strict=True):
            assert each is not None
            values.append(each[0])
    return {
        "steps": 200,
        "random_labels": 0.3,
        "nats": {f"{share:g}": spread(each) for share, each in zip(SHARES, found, strict=True)},
    }


def rank() -> dict[str, Any]:
    """Return the stable rank of what attention has learnt, from initial weights of two scales."""
    inputs, labels = digits(256)
    found: dict[str, Any] = {"steps": list(RANK_CHECKPOINTS)}
    for init in ("library|scale:0.01", "library"):
        ranks, rises = [], []
        for seed in SEEDS:
            one = ranks_of(made(Attending, init, seed, inputs, labels))
            ranks.append(one)
            rises.append(float(sum(after > before for before, after in zip(one, one[1:], strict=False))))
        by_step = [spread(list(each)) for each in zip(*ranks, strict=True)]
        found[init] = {"stable_rank": by_step, "rises": spread(rises)}
    return found


def small_attention() -> dict[str, Any]:
    """Return the stable rank of what attention has learnt where only its own weights begin a hundred times smaller."""
    inputs, labels = digits(256)
    ranks, rises = [], []
    for seed in SEEDS:
        trial = made(Attending, "library", seed, inputs, labels)
        with torch.no_grad():
            for block in trial.module.get_submodule("blocks").children():
                for name in ("q_proj", "k_proj", "v_proj", "out"):
                    block.get_submodule(name).get_parameter("weight").mul_(0.01)
        one = ranks_of(trial)
        ranks.append(one)
        rises.append(float(sum(after > before for before, after in zip(one, one[1:], strict=False))))
    by_step = [spread(list(each)) for each in zip(*ranks, strict=True)]
    return {"steps": list(RANK_CHECKPOINTS), "stable_rank": by_step, "rises": spread(rises)}


def alignment() -> dict[str, Any]:
    """Return how far neurons have turned to the classes' means when the loss has fallen by 5 %, by scale."""
    inputs, labels = digits(1437)
    inputs, labels = inputs[labels < 2], labels[labels < 2]
    inputs = inputs - inputs.mean(0)
    found: dict[str, Any] = {}
    for scale in ("1", "1e-2", "1e-3", "1e-4"):
        figures = [
            EarlyAlignment()
            .observe(made(lambda: perceptron(1, 128, 2), f"he|scale:{scale}", seed, inputs, labels))
            .figures
            for seed in SEEDS
        ]
        found[scale] = {
            name: spread([float(each[name] or 0.0) for each in figures]) for name in ("after", "rank", "steps")
        }
    return found


def relative() -> dict[str, Any]:
    """Return how well digits are found again between two trained networks, by relative and by absolute features."""
    inputs, labels = digits(600)
    found: dict[str, list[float]] = {name: [] for name in (*Relative.labels, "accuracy")}
    for seed in SEEDS:
        seen = []
        for other in (0, 100):
            trial = made(convolutional, "library", seed + other, inputs, labels)
            ShortTraining(trial, adam=True).run(0, 200, lambda _: ADAM_RATE)
            seen.append(Relative().observe(trial))
            found["accuracy"].append(float((trial.recorded.scores.argmax(1) == labels).double().mean()))
        for name, value in Relative().beside(seen[1], seen[0]).figures.items():
            assert value is not None
            found[name].append(value)
    return {"steps": 200, "examples": 600, **{name: spread(values) for name, values in found.items()}}


def bias() -> dict[str, Any]:
    """Return how well the law of linear regression is recovered, and the inductive bias of a perceptron on digits."""
    errors = {f"{share:g}": [abs(_regression(seed, share)) for seed in SEEDS] for share in (0.7, 0.5)}
    inputs, labels = digits(512)
    found: dict[str, Any] = {}
    for init in ("he", "he|scale:4"):
        figures = []
        for first in range(0, 96, HYPOTHESES):
            seen = []
            for seed in range(first, first + HYPOTHESES):
                trial = made(partial(perceptron, 1, 32), init, seed, inputs, labels)
                trial.seeds = HYPOTHESES
                seen.append(InductiveBias().observe(trial))
            figures.append(InductiveBias().figures(seen))
        found[init] = {name: spread([float(each[name] or 0.0) for each in figures]) for name in ("nats", "loss")}
    return {"regressions": 1000, "error": {share: spread(each) for share, each in errors.items()}, "digits": found}


def _regression(seed: int, share: float) -> float:
    """Return the relative error of the nats by which 1,000 linear regressions miss a share of their mean test loss.

    Gradient descent from N(0, 0.49) on 10 examples of 24 features leaves 14 directions as they were drawn, so that the
    test loss is 0.49 times a noncentral chi-squared of 14 degrees of freedom.
    """
    from scipy.stats import ncx2

    generator = torch.Generator().manual_seed(seed)
    inputs, truth = (torch.randn(size, 24, generator=generator, dtype=torch.float64) for size in (10, 1))
    left = torch.eye(24, dtype=torch.float64) - torch.linalg.pinv(inputs) @ inputs
    begun = 0.7 * torch.randn(1000, 24, generator=generator, dtype=torch.float64)
    losses = ((begun - truth) @ left).square().sum(1)
    law = 14.0, float((truth @ left).square().sum()) / 0.49, 0.49
    target = share * float(ncx2.mean(law[0], law[1], scale=law[2]))
    return inductive_bias(fitted_law(losses.tolist()), target) / inductive_bias(law, target) - 1


@cache
def digits(count: int) -> tuple[Tensor, Tensor]:
    """Return the first digits of scikit-learn's, 8 x 8, at mean 0 and std 1 in all, and their labels."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    inputs = torch.tensor(pixels, dtype=torch.float32)
    return ((inputs - inputs.mean()) / inputs.std())[:count], torch.tensor(labels)[:count]


def made(build: Callable[[], nn.Module], init: str, seed: int, inputs: Tensor, labels: Tensor) -> Trial:
    """Return a network with the weights that an initializer predicts for it, and its examples."""
    with torch.device("meta"):
        bare = build()
    prediction = paramgen.predict(bare, init=init, seed=seed, example_input=inputs[:2])
    architecture, state = from_module(bare, ((inputs[:2].to("meta"),), {})), prediction.state_dict()
    if isinstance(bare, SlowInput):
        state |= {name: values / FACTOR for name, values in state.items() if name.startswith("first.")}
    return Trial(architecture, state, tensor_sample((inputs, labels), examples=None), seed=seed)


def perceptron(depth: int, width: int, classes: int = 10) -> nn.Module:
    """Return linear layers with ReLU between them, `depth` of them hidden."""
    layers: list[nn.Module] = [nn.Linear(64, width), nn.ReLU()]
    for _ in range(depth - 1):
        layers += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, classes))


def convolutional() -> nn.Module:
    """Return three convolutions with ReLU and batch normalization, and a linear layer on their mean."""
    layers: list[nn.Module] = [nn.Unflatten(1, (1, 8, 8))]
    for inside, out in ((1, 16), (16, 32), (32, 32)):
        layers += [nn.Conv2d(inside, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


@final
class SlowInput(nn.Module):
    """A perceptron whose first layer is multiplied by the root of a tenth: SGD trains it at a tenth of the rate."""

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(64, width)
        self.rest = nn.Sequential(*list(perceptron(depth, width).children())[1:])

    def forward(self, pixels: Tensor) -> Tensor:
        """Return a score for each class."""
        scores: Tensor = self.rest(self.first(pixels) * FACTOR)
        return scores


@final
class Residual(nn.Module):
    """Two residual blocks with batch normalization, of 12 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU())
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(12, 12, 3, padding=1, bias=False),
                nn.BatchNorm2d(12),
                nn.ReLU(),
                nn.Conv2d(12, 12, 3, padding=1, bias=False),
                nn.BatchNorm2d(12),
            )
            for _ in range(2)
        )
        self.head = nn.Linear(12, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return a score for each class."""
        states = self.stem(pixels.view(-1, 1, 8, 8))
        for block in self.blocks:
            states = (states + block(states)).relu()
        scores: Tensor = self.head(states.mean((2, 3)))
        return scores


@final
class Attending(nn.Module):
    """A vision transformer of two blocks, width 64 and two heads, on 16 patches of 2 x 2."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Linear(4, 64)
        self.positions = nn.Parameter(0.02 * torch.randn(1, 16, 64))
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.norm, self.head = nn.LayerNorm(64), nn.Linear(64, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return a score for each class."""
        cut = pixels.view(-1, 4, 2, 4, 2).transpose(2, 3).reshape(-1, 16, 4)
        states = self.patches(cut) + self.positions
        for block in self.blocks:
            states = block(states)
        scores: Tensor = self.head(self.norm(states.mean(1)))
        return scores


@final
class Block(nn.Module):
    """Attention and an MLP behind layer norms, each added to what it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(64), nn.LayerNorm(64)
        self.q_proj, self.k_proj, self.v_proj, self.out = (nn.Linear(64, 64) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 64))

    def forward(self, states: Tensor) -> Tensor:
        """Return states of the same shape."""
        read = self.before(states)
        query, key, value = (
            layer(read).unflatten(2, (2, 32)).transpose(1, 2) for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        states = states + self.out(mixed.transpose(1, 2).flatten(2))
        added: Tensor = states + self.mlp(self.between(states))
        return added
