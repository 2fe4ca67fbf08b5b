"""Soft thresholds in training: the formula, the schedule, and what `compare --sparse` says and refuses."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paramgen.comparison import Pixels, Protocol
from paramgen.comparison.comparing import compare
from paramgen.comparison.markdown import markdown
from paramgen.errors import OptionError, ParamgenError
from paramgen.modifiers.constraints import release
from paramgen.modifiers.masking.soft import SoftThresholds, parse_sparse


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def network() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))


def test_forward_is_the_formula_and_the_gradient_passes_straight_through() -> None:
    module = network()
    before = module[3].weight.detach().clone()
    thresholds = SoftThresholds(module, {"0.weight": 0, "3.weight": 0}, 0.8)
    thresholds.at(1.0)
    sizes = torch.cat([module[0].parametrizations.weight.original.detach().flatten(), before.flatten()]).abs()
    threshold = float(sizes.sort().values[round(0.8 * len(sizes)) - 1])
    for row, old in zip(module[3].weight.detach(), before, strict=True):
        kept = old.abs() > threshold
        scale = 1.01 / ((old * kept).abs().mean() / old.abs().mean() + 0.01)
        assert torch.allclose(row, old.sign() * (old.abs() - threshold).clamp(min=0) * scale, rtol=1e-4)
    seen: list[Tensor] = []
    images = normal(5, 3, 8, 8)
    module[3].register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    module(images).sum().backward()
    gradient = module[3].parametrizations.weight.original.grad
    assert torch.allclose(gradient, seen[0].sum(0).expand(4, -1), atol=1e-4)  # also where the weight is zero


def test_zeros_rise_by_a_cubic_law_and_are_there_at_the_end() -> None:
    module = network()
    before = module[0].weight.detach().clone()
    whole = module[0].weight.numel() + module[3].weight.numel()
    thresholds = SoftThresholds(module, {"0.weight": 0, "3.weight": 0}, 0.95)
    found = []
    for progress in (0.0, 0.25, 0.5, 1.0):
        thresholds.at(progress)
        found.append(int((module[0].weight == 0).sum() + (module[3].weight == 0).sum()) / whole)
        if not progress:
            assert torch.equal(module[0].weight, before)
    assert found == pytest.approx([0, 0.95 * (1 - 0.75**3), 0.95 * (1 - 0.5**3), 0.95], abs=1 / whole)
    release(module)
    assert isinstance(module[3].weight, nn.Parameter) and int((module[3].weight == 0).sum()) > 0


@pytest.mark.parametrize("text", ["st3", "st3:0", "st3:1", "st3:nan", "st3:x", "synflow:0.9", "", "st3:-1"])
def test_a_share_that_cannot_be_is_refused_in_one_line(text: str) -> None:
    for read in (parse_sparse, lambda text: Protocol(sparse=text)):
        with pytest.raises(OptionError, match="--sparse is|sparse is") as refused:
            read(text)
        assert "\n" not in str(refused.value) and "st3:0.95" in str(refused.value)


def test_compare_trains_every_initialization_under_it_and_says_so() -> None:
    labels = torch.arange(96) % 3
    images = torch.randint(0, 120, (96, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images[torch.arange(96), labels] += 100
    train, test = (Pixels(pixels=images[part], labels=labels[part]) for part in (slice(64), slice(64, None)))
    example: Any = ((torch.zeros(2, 3, 8, 8),), {})

    def found(sparse: str | None, *inits: str, steps: int = 60) -> Any:
        protocol = Protocol(steps=steps, seeds=1, lr=(1e-2,), batch=16, evaluations=2, sparse=sparse)
        return compare([("small", network)], (train, test), inits=inits, protocol=protocol, example_input=example)

    sparse, dense = found("st3:0.95", "he", "library"), found(None, "he", "library")
    assert sparse.settings["sparse"] == "st3:0.95" and "sparse" not in dense.settings
    assert "until 0.95 of them were zero" in markdown(sparse)
    assert "soft threshold" not in markdown(dense)
    for one, other in zip(
        sparse.architectures[0].initializations,
        dense.architectures[0].initializations,
        strict=True,
    ):
        assert one.failed == other.failed == 0 and one.best != other.best
    for init in ("he|prune?keep=0.5", "he|freeze?by=random", "he|share"):
        with pytest.raises(ParamgenError, match="and sparse makes weights zero in"):
            found("st3:0.5", init)
