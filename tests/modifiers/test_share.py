"""Sharing: so many numbers as requested make all weights, each equally often, and they are trained as one parameter."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import paramgen
from paramgen.errors import ParamgenError
from paramgen.modifiers.sharing.layout import Layout
from paramgen.modifiers.sharing.memory import SharedMemory
from paramgen.prediction import Prediction

EXAMPLE = torch.zeros(2, 1, 8, 8)
WHOLE = 64 * 32 + 32 * 32 + 32 * 4
NAMES = ("1.weight", "3.weight", "5.weight")


def dense() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))


def predicted(spec: str, *, seed: int = 0, module: Callable[[], nn.Module] = dense, **options: Any) -> Prediction:
    return paramgen.predict(module(), init=spec, example_input=EXAMPLE, seed=seed, progress=False, **options)


def filled(spec: str, *, held: bool = True, seed: int = 0) -> Any:
    module, prediction = dense(), predicted(spec, seed=seed)
    module.load_state_dict(prediction.state_dict())
    return paramgen.shared(module, prediction) if held else module


Optimizer = Callable[[Any], torch.optim.Optimizer]


def trained(module: nn.Module, optimizer: Optimizer, steps: int = 20) -> list[float]:
    """Return the losses of a few steps."""
    chosen, losses = optimizer(module.parameters()), []
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        images = torch.randn(32, 1, 8, 8, generator=generator)
        loss = nn.functional.cross_entropy(module(images), images.flatten(1)[:, :4].argmax(1))
        chosen.zero_grad()
        loss.backward()
        chosen.step()
        losses.append(float(loss.detach()))
    return losses


@settings(deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=4), st.floats(0.001, 1), st.integers(1, 7))
def test_every_number_makes_equally_many_weights(sizes: list[int], keep: float, chunk: int) -> None:
    shapes = {str(index): (size, 3) for index, size in enumerate(sizes)}
    entries = -(-max(1, round(keep * sum(sizes) * 3)) // chunk) * chunk
    layout = Layout(seed=1, entries=entries, chunk=chunk, shapes=shapes)
    index = layout.index()
    assert len(index) == len(layout.signs()) == layout.weights == 3 * sum(sizes)
    counts = torch.bincount(index, minlength=entries)
    if chunk == 1 or not layout.weights % chunk:
        assert int(counts.max() - counts.min()) <= 1
    assert set(layout.signs().tolist()) <= {1, -1}
    first = min(entries, len(index))
    assert torch.equal(index[:first], torch.arange(first, dtype=index.dtype))


@pytest.mark.parametrize("keep", [0.3, 0.01, 1e-9])
def test_weights_are_the_requested_count_of_numbers_at_the_size_of_each_layer(keep: float) -> None:
    prediction, before = predicted(f"he|share?keep={keep}"), predicted("he").state_dict()
    after = prediction.state_dict()
    shared = prediction.initializer.constraint()
    assert isinstance(shared, SharedMemory)
    units = []
    for name in NAMES:
        size = before[name].double().square().mean().sqrt()
        units.append((after[name].double() / size).abs().flatten())
        if keep == 0.3:
            assert float(after[name].std()) == pytest.approx(float(size), rel=0.15)
    count = max(1, round(keep * WHOLE))
    assert len(shared.memory) == count
    distances = (torch.cat(units)[:, None] - shared.memory.double().abs()).abs().amin(1)
    assert float(distances.max()) < 1e-5
    for name in set(after) - set(NAMES):
        assert torch.equal(after[name], before[name])
    assert f"{WHOLE:,} weights share {count:,} numbers" in " ".join(prediction.remarks)


@pytest.mark.parametrize("name", ["sgd", "adamw", "fused"])
def test_with_a_number_for_each_weight_training_is_the_dense_one_bit_for_bit(name: str) -> None:
    optimizer: Optimizer = {
        "sgd": lambda found: torch.optim.SGD(found, lr=0.1, momentum=0.9, weight_decay=0.1),
        "adamw": lambda found: torch.optim.AdamW(found, lr=1e-2, weight_decay=0.1),
        "fused": lambda found: torch.optim.AdamW(found, lr=1e-2, weight_decay=0.1, fused=True),
    }[name]
    one, other = filled("he|share?keep=1"), filled("he|share?keep=1", held=False)
    assert trained(one, optimizer) == trained(other, optimizer)
    dense_state = other.state_dict()
    for slot, value in paramgen.unmasked(one).state_dict().items():
        assert torch.equal(value, dense_state[slot])


def test_a_step_moves_the_memory_by_its_gradient_over_the_sum_of_squared_sizes() -> None:
    """Equation of the specification, against autograd through M itself: dM = -lr dL/dM / sum of l^2."""
    prediction = predicted("he|share?keep=0.02")
    module = dense()
    module.load_state_dict(prediction.state_dict())
    shared = prediction.initializer.constraint()
    assert isinstance(shared, SharedMemory)
    memory = shared.memory.double().requires_grad_()
    index, signs = shared.layout.by_slot(shared.layout.index()), shared.layout.by_slot(shared.layout.signs())
    weights, squares = {}, torch.zeros_like(memory)
    for name, scale in zip(NAMES, shared.scales, strict=True):
        weights[name] = (signs[name] * memory[index[name].long()] * scale).view(module.state_dict()[name].shape)
        squares = squares.index_add(0, index[name], scale.square().expand(len(index[name])))
    images, labels = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(5)), torch.arange(16) % 4
    answers = torch.func.functional_call(module.double(), weights, (images.double(),))
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(answers, labels), memory)
    moved = memory.detach() - 0.5 * gradient / squares
    paramgen.shared(module.float(), prediction)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    nn.functional.cross_entropy(module(images), labels).backward()
    optimizer.step()
    after = paramgen.unmasked(module).state_dict()
    for name, scale in zip(NAMES, shared.scales, strict=True):
        wanted = (signs[name] * moved[index[name].long()] * scale).view(after[name].shape)
        assert torch.allclose(after[name].double(), wanted, atol=1e-5, rtol=1e-4)


def test_there_is_one_parameter_for_all_and_training_keeps_the_sharing() -> None:
    module = filled("he|share?keep=0.02")
    sizes = sorted(parameter.numel() for parameter in module.parameters())
    assert sizes == sorted([round(0.02 * WHOLE), 32, 32, 4])
    before = [layer.weight.detach().clone() for layer in module if isinstance(layer, nn.Linear)]
    losses = trained(module, lambda found: torch.optim.AdamW(found, lr=3e-2), steps=60)
    assert losses[-1] < 0.9 * losses[0]
    paramgen.unmasked(module)
    found: dict[float, set[float]] = {}
    for layer, old in zip([each for each in module if isinstance(each, nn.Linear)], before, strict=True):
        assert isinstance(layer.weight, nn.Parameter) and not torch.equal(layer.weight, old)
        ratio = (layer.weight.detach() / old).flatten()
        for key, value in zip(old.abs().flatten().tolist(), ratio.tolist(), strict=True):
            found.setdefault(round(key, 6), set()).add(round(value, 2))
    assert max(map(len, found.values())) <= 2  # what was equal is still, but for rounding


def test_ties_share_as_one_weight_and_stay_tied() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.again, self.head = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 4)
            self.again.weight = self.first.weight

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.again(self.first(images.flatten(1)).relu()))

    prediction = predicted("he|share?keep=0.1", module=Tied)
    module = Tied()
    module.load_state_dict(prediction.state_dict())
    shared = prediction.initializer.constraint()
    assert isinstance(shared, SharedMemory) and shared.layout.weights == 64 * 64 + 64 * 4
    paramgen.shared(module, prediction)
    assert torch.equal(module.first.weight, module.again.weight)
    trained(module, lambda found: torch.optim.SGD(found, lr=0.1), steps=2)
    paramgen.unmasked(module)
    assert module.first.weight is module.again.weight


def test_seeds_differ_and_a_part_is_what_the_whole_has_there() -> None:
    one, other = predicted("he|share").state_dict(), predicted("he|share", seed=1).state_dict()
    assert not torch.equal(one["3.weight"], other["3.weight"])
    ((_, part),) = predicted("he|share").only(["3.weight"])
    assert torch.equal(part, one["3.weight"])


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("he|share?keep=0", "keep is 0. Allowed: a number above 0, up to 1"),
        ("he|share?keep=1.5", "keep is 1.5"),
        ("he|share?keep=true", "keep is True"),
        ("he|share?chunk=0", "chunk is 0. Allowed: 1 to 4,096"),
        ("he|share?keep=0.01&chunk=64", "all weights share 32 numbers, fewer than one chunk"),
        ("he|prune|share", "'share' undoes the zeros of 'prune'"),
        ("he|freeze?by=random|share", "'share' undoes the frozen weights"),
        ("he|share|prune", "'prune' undoes the shared numbers of 'share'"),
        ("he|share|freeze?by=random", "undoes the shared numbers of 'share'"),
        ("he|share|scale:2", "'scale:2' undoes the shared numbers of 'share'"),
        ("he|lowrank:4|share", "'share' undoes the low rank"),
    ],
)
def test_what_cannot_be_is_refused(spec: str, said: str) -> None:
    with pytest.raises(ParamgenError) as refused:
        predicted(spec).state_dict()
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_compared_run_trains_the_memory_alone() -> None:
    from paramgen.comparison import Pixels, Protocol
    from paramgen.comparison.comparing import compare

    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(96) % 3
    images = torch.randint(0, 120, (96, 3, 8, 8), generator=generator, dtype=torch.uint8)
    images[torch.arange(96), labels] += 100
    train, test = (Pixels(pixels=images[part], labels=labels[part]) for part in (slice(64), slice(64, None)))

    def build() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 3))

    example: Any = ((torch.zeros(2, 3, 8, 8),), {})
    inits = ["he|share?keep=0.01", "he|share?keep=1"]
    protocol = Protocol(steps=30, seeds=1, lr=(1e-2, 3e-2), batch=16, evaluations=2, widen=0)
    found = compare([("small", build)], (train, test), inits=inits, protocol=protocol, example_input=example)
    runs = found.architectures[0].initializations
    assert [(each.failed, each.reasons) for each in runs] == [(0, ()), (0, ())]
    for option in ({"rescale_every": 5}, {"lr": "mup"}):
        with pytest.raises(ParamgenError, match="lets all layers share what is trained"):
            compare([("small", build)], (train, test), inits=inits, protocol=Protocol(**option), example_input=example)
