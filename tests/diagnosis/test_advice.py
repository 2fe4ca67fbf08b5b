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


def labelled(size: int, count: int = 32) -> tuple[Tensor, Tensor]:
    """Two classes whose means are apart, centred."""
    labels, generator = torch.arange(count) % 2, torch.Generator().manual_seed(1)
    inputs = torch.randn(count, size, generator=generator)
    inputs = inputs + (2.0 * labels[:, None] - 1) * torch.randn(1, size, generator=generator)
    return inputs - inputs.mean(0), labels


def told(module: nn.Module, measure: str, *, size: int = 8, init: str = "library") -> str:
    return " ".join(paramgen.diagnose(module, init=init, data=labelled(size), what=measure).advice)


def test_learning_rates_that_are_tiny_or_none(plain: Plain) -> None:
    assert "tiny learning rates" in told(plain(6, 8, gain=20.0, outputs=2), "rate")
    assert told(plain(2, 8, outputs=2), "rate") == ""


def test_examples_that_a_step_helps_and_harms(plain: Plain) -> None:
    inputs, labels = labelled(8)
    alike = paramgen.diagnose(plain(2, 8, outputs=2), data=(1 + 1e-3 * inputs, labels), what="interference")
    assert any("it loses on others" in sentence for sentence in alike.advice)
    assert told(plain(2, 8, outputs=2), "interference") == ""


def test_a_layer_that_stretches(plain: Plain) -> None:
    assert "stretches some inputs" in told(plain(2, 8, gain=20.0), "plasticity")
    assert told(plain(2, 8), "plasticity") == ""


def test_neurons_that_turn_early(plain: Plain) -> None:
    assert "few features" in told(plain(1, 8, outputs=2), "alignment", init="he|scale:1e-5")
    assert told(plain(1, 8, outputs=2), "alignment") == ""


def test_lazy_networks_and_those_that_learn_nothing(plain: Plain) -> None:
    assert "hardly learnt (lazy)" in told(plain(1, 256, outputs=2), "laziness", size=256)
    assert told(plain(1, 8, outputs=2), "laziness") == ""
    found = told(plain(3, 8, gain=0.02, outputs=2), "laziness")
    assert "next to nothing" in found and "lazy" not in found


def test_runs_that_end_in_different_basins_and_changes_that_grow(plain: Plain) -> None:
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(64, 8, generator=generator), torch.randint(10, (64,), generator=generator)
    deep = paramgen.diagnose(plain(6, 8), data=noise, what="barrier", examples=64)
    assert any("different basins" in sentence for sentence in deep.advice)
    assert told(plain(2, 8, outputs=2), "barrier") == ""
    chaotic = paramgen.diagnose(plain(4, 8, gain=6.0), data=noise, what="jacobian", examples=64)
    assert any("amplifies tiny changes" in sentence for sentence in chaotic.advice)
    assert told(plain(2, 8, outputs=2), "jacobian") == ""
