from math import sqrt

import pytest
import torch

from paramgen.hypernets.normalization import FanIn, InitializerRange, bias_of, scale_of, scaled
from paramgen.hypernets.tiling import repeated


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((64, 32), sqrt(2 / 32)),
        ((64, 1), sqrt(2)),
        ((64, 32, 3, 3), sqrt(2 / 288)),
        ((64, 1, 3, 3), sqrt(1 / 9)),
        ((64, 32, 1, 7), sqrt(1 / 224)),
        ((64, 32, 7, 1), sqrt(2 / 224)),
        ((1, 32, 14, 14), 1.0),
        ((1, 32, 7, 7), sqrt(2 / (32 * 49))),
    ],
)
def test_fan_in_has_the_published_cases(shape: tuple[int, ...], expected: float) -> None:
    assert FanIn(spare_tables=True).factor(torch.empty(0), shape, None) == pytest.approx(expected)


def test_tables_are_spared_only_on_request() -> None:
    assert FanIn(spare_tables=False).factor(torch.empty(0), (1, 32, 14, 14), None) == pytest.approx(
        sqrt(2 / (32 * 196))
    )


def test_initializer_range_prefers_the_targets_own() -> None:
    raw = torch.randn(50, 50, 1, 1) * 3
    rule = InitializerRange(otherwise=0.02)
    assert float(scaled(raw.clone(), rule.factor(raw, (50, 50), None)).std()) == pytest.approx(0.02, rel=1e-4)
    assert float(scaled(raw.clone(), rule.factor(raw, (50, 50), 0.05)).std()) == pytest.approx(0.05, rel=1e-4)


def test_initializer_range_is_that_of_the_repeated_kernel() -> None:
    raw = torch.randn(4, 3, 1, 1)
    factor = InitializerRange(otherwise=0.02).factor(raw, (7, 5), None)
    assert float(repeated(raw * factor, 7, 5).std()) == pytest.approx(0.02, rel=1e-4)


def test_scales_stay_around_one_and_biases_around_zero() -> None:
    raw = torch.linspace(-100, 100, 11)
    assert float(scale_of(torch.zeros(()))) == 1.0 and float(bias_of(torch.zeros(()))) == 0.0
    assert scale_of(raw).min() >= 0 and scale_of(raw).max() <= 2
    assert bias_of(raw).abs().max() <= 1


def test_scaling_spares_tensors_that_a_gradient_needs() -> None:
    leaf = torch.ones(3, requires_grad=True)
    assert scaled(leaf * 1, 2.0).tolist() == [2, 2, 2]
    with torch.no_grad():
        value = torch.ones(3)
        assert scaled(value, 2.0) is value
