"""Each sentence of advice appears where something is wrong, and not where nothing is."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.diagnosis import Threshold, measures

Plain = Callable[..., nn.Module]
THRESHOLDS = [(name, figure) for name in measures.names() for figure in measures.get(name).thresholds]


def said(module: nn.Module, measure: str, *, width: int = 64, **options: object) -> str:
    inputs = torch.randn(32, width, generator=torch.Generator().manual_seed(1))
    return " ".join(paramgen.diagnose(module, data=inputs, what=measure, **options).advice)  # type: ignore[arg-type]


@pytest.mark.parametrize(("measure", "figure"), THRESHOLDS)
def test_a_figure_is_good_watched_or_bad_and_says_what_to_do_only_if_it_is_wrong(measure: str, figure: str) -> None:
    threshold = measures.get(measure).thresholds[figure]
    for side, sentence in ((0, threshold.low), (1, threshold.high)):
        good, watch = threshold.good[side], threshold.watch[side]
        if not sentence:
            continue
        assert sentence.endswith(".") and sentence.count(". ") == 0
        step = 1e-6 * max(1.0, abs(watch)) * (1 if side else -1)
        assert threshold.light(good) == "good" and not threshold.advice(good)
        assert threshold.light((good + watch) / 2) == "watch" and threshold.advice((good + watch) / 2) == sentence
        assert threshold.light(watch + step) == "bad" and threshold.advice(watch + step) == sentence


def test_what_is_no_number_is_bad() -> None:
    assert Threshold(good=(0.0, 1.0), watch=(0.0, 2.0)).light(float("inf")) == "bad"


def test_a_signal_that_fades_and_one_that_grows(plain: Plain) -> None:
    assert said(plain(6, 64), "signal") == ""
    assert "fades" in said(plain(6, 64, gain=0.3), "signal") and "vanish" in said(plain(6, 64, gain=0.3), "signal")
    assert "grows" in said(plain(6, 64, gain=6.0), "signal") and "explode" in said(plain(6, 64, gain=6.0), "signal")


def test_a_chaotic_network_and_one_in_which_inputs_become_alike(plain: Plain) -> None:
    assert "chaotic" in said(plain(6, 64, gain=3.0, act=nn.Tanh), "signal")
    biased = plain(6, 64, gain=0.9, act=nn.Tanh)
    for index, layer in enumerate(biased.children()):
        if isinstance(layer, nn.Linear):
            layer.bias = nn.Parameter(torch.randn(layer.out_features, generator=torch.Generator().manual_seed(index)))
    found = said(biased, "signal")
    assert "become alike" in found and "hardly tell two inputs apart" in found


def test_a_network_that_prefers_a_class(plain: Plain) -> None:
    assert said(plain(2, 64), "guessing") == ""
    assert "nearly the same whatever the input" in said(plain(12, 64), "guessing")


def test_dead_units_and_features_of_few_directions(plain: Plain) -> None:
    assert said(plain(2, 64), "gradient") == ""
    silent = plain(2, 64)
    first = next(silent.children())
    assert isinstance(first, nn.Linear)
    first.bias = nn.Parameter(torch.where(torch.arange(64) < 60, -20.0, 0.0))
    assert "silent" in said(silent, "gradient")
    narrow = plain(2, 64)
    with torch.no_grad():
        weight = next(narrow.parameters())
        weight[1:] = 0.01 * weight[1:] + weight[:1]
    assert "few directions" in said(narrow, "gradient")


def test_weights_without_a_gradient_and_layers_of_different_speeds(plain: Plain) -> None:
    output = plain(12, 64)
    with torch.no_grad():
        list(output.parameters())[-1].zero_()
    assert "no gradient" in said(output, "gradient")
    uneven = plain(2, 64)
    with torch.no_grad():
        next(uneven.parameters()).mul_(1e-3)
    assert "different speeds" in said(uneven, "gradient")


def test_a_kernel_of_few_directions(plain: Plain) -> None:
    class Summed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(1, 64), nn.Linear(64, 1)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.last(torch.tanh(self.first(inputs.mean(1, keepdim=True))))

    assert "far more slowly" in said(Summed(), "ntk")
    assert said(plain(2, 64), "ntk") == ""
