"""Relative representations, inductive bias and epsinas are held to closed forms and to their definitions."""

from collections.abc import Callable
from math import log

import pytest
import torch
from scipy.stats import ncx2, norm
from torch import Tensor, nn

import paramgen
from paramgen.diagnosis import Observation
from paramgen.diagnosis.bias import InductiveBias, fitted_law, guessing_loss, inductive_bias, sankaran
from paramgen.diagnosis.epsinas import epsilon, normalized, set_constant
from paramgen.diagnosis.relative import reciprocal_rank, relative_to
from paramgen.diagnosis.trial import Trial

Plain = Callable[..., nn.Module]
MakeTrial = Callable[..., Trial]


def numbers(count: int, size: int, seed: int = 1) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def test_relative_representations_do_not_see_a_rotation() -> None:
    features, anchors = numbers(40, 12), numbers(20, 12, 2)
    turned = torch.linalg.qr(numbers(12, 12, 3)).Q
    first, second = relative_to(features, anchors), relative_to(3 * features @ turned, anchors @ turned)
    assert torch.allclose(first, second, atol=1e-5)
    assert reciprocal_rank(first, second) == 1.0
    assert reciprocal_rank(features, features @ turned) < 0.4
    alike = torch.ones(5, 3)
    assert reciprocal_rank(alike, alike) == pytest.approx(1 / 3)  # in the middle of five


def test_networks_that_differ_by_a_rotation_see_examples_alike(plain: Plain, tmp_path: object) -> None:
    """An orthogonal matrix instead of another between linear layers: features are turned, cosines stay."""
    found = paramgen.diagnose(
        plain(1, 32, act=nn.Identity), init=["orthogonal", "he"], data=numbers(40, 32), what="relative", seeds=2
    )
    assert found.figure("orthogonal", "relative", "mrr") == 1.0
    assert found.figure("orthogonal", "relative", "cosine") == pytest.approx(1.0, abs=1e-5)
    absolute, other = (found.figure("orthogonal", "relative", "absolute"), found.figure("he", "relative", "mrr"))
    assert absolute is not None and absolute < 0.5
    assert other is not None and 0.5 < other < 1.0


@pytest.mark.parametrize("options", [{}, {"init": "library", "seeds": 3}])
def test_one_network_is_compared_with_none(plain: Plain, options: dict[str, object]) -> None:
    with pytest.raises(paramgen.ParamgenError, match="relative compares networks, and there is one: library") as error:
        paramgen.diagnose(plain(1, 8), example_input="2x8", what="relative", **options)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_the_law_of_linear_regression_is_recovered() -> None:
    """Gradient descent from N(0, s^2) leaves what the examples do not decide: s^2 times a noncentral chi-squared."""
    inputs, truth, scale = numbers(10, 24).double(), numbers(1, 24, 2)[0].double(), 0.49
    left = torch.eye(24, dtype=torch.float64) - torch.linalg.pinv(inputs) @ inputs
    freedom, noncentrality = 14, float((left @ truth).square().sum()) / scale
    starts = scale**0.5 * numbers(4000, 24, 3).double()
    losses = ((starts - truth) @ left).square().sum(1)
    law = ncx2(freedom, noncentrality, scale=scale)
    assert float(losses.mean()) == pytest.approx(law.mean(), rel=0.02)
    assert float(losses.var()) == pytest.approx(law.var(), rel=0.1)
    even = [float(law.ppf((each + 0.5) / 200)) for each in range(200)]  # no sampling error
    found = fitted_law(even)
    for share in (0.7, 0.5, 0.25):
        target = share * float(law.mean())
        assert inductive_bias(found, target) == pytest.approx(-float(law.logcdf(target)), rel=0.02)


def test_sankaran_s_approximation_and_where_it_takes_over() -> None:
    assert sankaran(250.0, 50.0, 400.0) == pytest.approx(-float(ncx2.logcdf(250.0, 50.0, 400.0)), rel=0.01)
    assert sankaran(440.0, 50.0, 400.0) == pytest.approx(-float(ncx2.logcdf(440.0, 50.0, 400.0)), rel=0.01)
    assert ncx2.logcdf(1.0, 50.0, 400.0) == float("-inf")
    assert inductive_bias((50.0, 400.0, 2.0), 2.0) == sankaran(1.0, 50.0, 400.0) > 190
    cubed = (0.3 ** (1 / 3) - (1 - 2 / (9 * 5))) / (2 / (9 * 5)) ** 0.5  # Wilson and Hilferty's, where it is central
    assert sankaran(0.3 * 5, 5.0, 0.0) == pytest.approx(-float(norm.logcdf(cubed)), rel=0.02)


def test_bias_is_a_figure_of_all_seeds(plain: Plain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paramgen.diagnosis.bias.BIAS_STEPS", 8)
    labels = torch.arange(24) % 3
    module, inputs = plain(1, 6, outputs=3), numbers(24, 6) + 3 * numbers(3, 6, 2)[labels]
    found = paramgen.diagnose(module, init="he", data=(inputs, labels), what="bias", seeds=8)
    figures = found.results[0].figures
    assert figures["runs"] == 32 and figures["target"] == pytest.approx(log(3) / 2)
    nats, loss = figures["nats"], figures["loss"]
    assert nats is not None and nats > 0 and loss is not None and loss > log(3) / 2
    with pytest.raises(paramgen.ParamgenError, match="have nothing to learn. Name data") as error:
        paramgen.diagnose(module, example_input="2x6", what="bias")
    assert "\n" not in str(error.value)


def test_runs_that_diverge_do_not_reach_the_target() -> None:
    pooled = [{"losses": [1.0 + 0.01 * each for each in range(32)], "target": 1.16}]
    whole = InductiveBias().figures([Observation(figures={}, pooled=each) for each in pooled])
    pooled.append({"losses": [None] * 32, "target": 1.16})
    half = InductiveBias().figures([Observation(figures={}, pooled=each) for each in pooled])
    assert whole["nats"] is not None and half["nats"] == pytest.approx(whole["nats"] + log(2)) and half["loss"] is None


def test_the_loss_of_guessing_is_the_entropy_of_the_answers() -> None:
    assert guessing_loss(torch.tensor([0, 0, 1, 1])) == pytest.approx(log(2))
    assert guessing_loss(torch.tensor([2, 2, 2])) == 0


def test_epsilon_is_that_of_its_definition(trial: MakeTrial) -> None:
    """tanh of a sum of inputs: all outputs of a constant are known functions of it."""
    inputs = numbers(24, 5)
    module = nn.Sequential(nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 1))
    sums = inputs.double().sum(1)
    wanted = []
    for constant in (1e-7, 1.0):
        outputs = 3 * constant * torch.tanh(constant * sums)
        wanted.append((outputs - outputs.min()) / (outputs.max() - outputs.min()))
    known = (wanted[0] > 0) & (wanted[1] > 0)
    first, second = (each[known] for each in wanted)
    expected = float((first - second).abs().mean() / torch.cat([first, second]).mean())
    before = [each.clone() for each in module.parameters()]
    found = paramgen.diagnose(module, init=["library", "he"], data=inputs, what="epsinas")
    figures = found.results[0].figures
    assert figures["epsilon"] == pytest.approx(expected, rel=1e-4)
    assert (figures["small"], figures["large"]) == (1e-7, 1.0)
    assert found.results[1].figures == figures
    assert all(torch.equal(one, other) for one, other in zip(before, module.parameters(), strict=True))


def test_constants_that_lose_outputs_are_left_out(trial: MakeTrial) -> None:
    class Overflows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.norm, self.last = nn.Embedding(9, 4), nn.LayerNorm(4), nn.Linear(4, 2)

        def forward(self, tokens: Tensor) -> Tensor:
            found: Tensor = self.last(self.norm(self.tokens(tokens))).square().sum(1) * 1e38
            return found

    tokens = torch.arange(48).view(16, 3) % 9
    made = trial(Overflows(), tokens)
    with torch.no_grad():
        set_constant(made, 0.5)
    values = made.module.state_dict()
    assert values["tokens.weight"].unique().numel() == 36 and float(values["tokens.weight"].min()) >= 0
    assert {float(each) for each in values["norm.weight"]} == {0.5} and not values["last.bias"].any()
    assert normalized(torch.tensor([0.0, 1.0, 2.0])).isnan().tolist() == [True, False, False]
    assert epsilon(normalized(torch.ones(4)), normalized(torch.arange(4.0))) is None
