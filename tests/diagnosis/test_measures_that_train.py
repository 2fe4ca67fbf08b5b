"""Measures that train a little, or differentiate twice, are held to closed forms and to what theory says."""

import json
from collections.abc import Callable
from math import log

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import paramgen
from paramgen.diagnosis.alignment import turned
from paramgen.diagnosis.barrier import barriers, height_between, noise_of
from paramgen.diagnosis.drift import fitted
from paramgen.diagnosis.interference import interference_of
from paramgen.diagnosis.jacobian import figures_of, training_jacobian
from paramgen.diagnosis.laziness import cosine_of
from paramgen.diagnosis.plasticity import largest_singular_value
from paramgen.diagnosis.rank import products_of, ranks_of, stable_rank
from paramgen.diagnosis.rate import largest_rate, top_eigenvalue
from paramgen.diagnosis.short_training import ShortTraining, cosine, flat, set_flat
from paramgen.diagnosis.trial import Trial
from paramgen.errors import OptionError

Plain = Callable[..., nn.Module]
MakeTrial = Callable[..., Trial]


def numbers(count: int, size: int, seed: int = 1) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def clusters(count: int, size: int) -> tuple[Tensor, Tensor]:
    """Two classes of centred inputs whose means are apart."""
    labels = torch.arange(count) % 2
    inputs = numbers(count, size) + 1.5 * (2.0 * labels[:, None] - 1) * numbers(1, size, 2)
    return inputs - inputs.mean(0), labels


def regression() -> tuple[nn.Module, Tensor, Tensor]:
    """A linear model with one output, whose loss is quadratic; and its Hessian."""
    inputs = numbers(24, 5) * torch.tensor([2.0, 1.0, 1.0, 0.5, 0.1])
    with_ones = torch.cat([inputs, torch.ones(24, 1)], 1).double()
    return nn.Linear(5, 1), inputs, 2 * with_ones.T @ with_ones / 24


def test_the_top_eigenvalue_is_that_of_the_hessian(plain: Plain, trial: MakeTrial) -> None:
    inputs, labels = numbers(20, 6), torch.arange(20) % 3
    module = plain(2, 6, outputs=3)
    parameters = {name: each.detach() for name, each in module.named_parameters()}

    def loss(weights: Tensor) -> Tensor:
        parts = weights.split([each.numel() for each in parameters.values()])
        pairs = zip(parameters.items(), parts, strict=True)
        given = {name: part.view_as(each) for (name, each), part in pairs}
        return cross_entropy(torch.func.functional_call(module, given, (inputs,)), labels)

    hessian = torch.func.hessian(loss)(flat(list(parameters.values())))
    wanted = float(torch.linalg.eigvalsh(hessian)[-1])
    assert top_eigenvalue(trial(module, inputs, labels)) == pytest.approx(wanted, rel=1e-3)
    module, inputs, hessian = regression()
    assert top_eigenvalue(trial(module, inputs)) == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]), rel=1e-3)


def test_the_largest_rate_of_a_quadratic_is_two_over_its_curvature(trial: MakeTrial) -> None:
    module, inputs, hessian = regression()
    limit = 2 / float(torch.linalg.eigvalsh(hessian)[-1])
    for begin in (limit / 100, limit, 50 * limit):
        found = largest_rate(trial(module, inputs), begin=begin, steps=60)
        assert limit / 1.11 < found < limit * 1.05


def test_weights_are_put_back_and_the_same_seed_gives_the_same_figures(plain: Plain) -> None:
    data = clusters(40, 8)
    what = "rate,barrier,rank,laziness,drift,plasticity,alignment,interference,jacobian"
    module = plain(1, 8, outputs=2)
    before = flat(list(module.parameters()))
    found = paramgen.diagnose(module, data=data, what=what, seed=2)
    assert torch.equal(flat(list(module.parameters())), before)
    record = json.loads(json.dumps(found.to_json(), allow_nan=False))["results"]
    assert [each["measure"] for each in record] == what.split(",")
    assert all(each["figures"] and "reason" not in each for each in record)
    again = paramgen.diagnose(module, data=data, what="interference,drift,jacobian,rank", seed=2)  # in another order
    for result in again.results:
        first = found.of("library", result.measure)
        assert first is not None and first.figures == result.figures


def test_a_short_training_is_torch_s_sgd(plain: Plain, trial: MakeTrial) -> None:
    inputs, labels = clusters(24, 6)
    module = plain(1, 6, outputs=2)
    made = trial(module, inputs, labels)
    with made.kept():
        ShortTraining(made, momentum=0.9).run(0, 5, cosine(0.1, 5))
        found = flat(made.trainable)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    for step in range(5):
        optimizer.param_groups[0]["lr"] = cosine(0.1, 5)(step)
        optimizer.zero_grad()
        cross_entropy(module(inputs), labels).backward()
        optimizer.step()
    assert torch.allclose(found, flat(list(module.parameters())), atol=1e-6)


def test_the_jacobian_of_training_a_quadratic(trial: MakeTrial) -> None:
    """Every eigenvector of the Hessian has its own recursion: v <- 0.9 v + h x, x <- x - lr v."""
    module, inputs, hessian = regression()
    found = training_jacobian(trial(module, inputs), epochs=8, lr=0.02)
    wanted = []
    for curvature in torch.linalg.eigvalsh(hessian).tolist():
        place, speed = 1.0, 0.0
        for step in range(8):
            speed = 0.9 * speed + curvature * place
            place -= cosine(0.02, 8)(step) * speed
        wanted.append(abs(place))
    assert torch.linalg.svdvals(found).tolist() == pytest.approx(sorted(wanted, reverse=True), abs=1e-5)


def test_the_jacobian_is_the_derivative_of_the_trained_weights(trial: MakeTrial) -> None:
    inputs, labels = clusters(80, 4)  # a batch of 64, and what is left over
    torch.manual_seed(1)
    made = trial(nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 2)), inputs, labels)
    initial, direction = flat(made.trainable), numbers(37, 1).flatten()

    def trained(change: float) -> Tensor:
        with made.kept():
            set_flat(made, initial + change * direction)
            ShortTraining(made, momentum=0.9).run(0, 20, cosine(0.5, 20))
            return flat(made.trainable).double()

    wanted = (trained(3e-3) - trained(-3e-3)) / 6e-3
    found = training_jacobian(made, epochs=20, lr=0.5) @ direction.double()
    assert float((found - wanted).norm() / wanted.norm()) < 1e-2
    identity = figures_of(torch.eye(4, dtype=torch.float64))
    assert identity["unchanged"] == 1 and identity["cosine"] == pytest.approx(1) and identity["elsewhere"] is None
    shares = figures_of(torch.diag(torch.tensor([5.0, 1.005, 0.2, 0.1], dtype=torch.float64)))
    assert (shares["above"], shares["unchanged"], shares["below"], shares["largest"]) == (0.25, 0.25, 0.5, 5.0)


def test_a_network_too_large_for_its_jacobian_is_refused_with_the_number_that_would_do() -> None:
    with pytest.raises(OptionError, match=r"has 10,100 parameters, and 6,000 are allowed") as refusal:
        paramgen.diagnose(nn.Linear(100, 100), data=numbers(4, 100), what="jacobian")
    assert "\n" not in str(refusal.value)


def test_the_barrier_is_the_height_between_two_minima(trial: MakeTrial) -> None:
    """Two units, and the same two in the other order: half-way all units are alike."""
    inputs = numbers(64, 2)
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    first, last = torch.tensor([[3.0, 0.0], [0.0, 3.0]]), torch.tensor([[1.0, -1.0]])
    with torch.no_grad():
        module[0].weight.copy_(first)  # type: ignore[operator]
        module[2].weight.copy_(last)  # type: ignore[operator]
    made = trial(module, inputs)
    targets = made.scores().detach()
    one, other = (
        torch.cat([first.flatten(), last.flatten()]),
        torch.cat([first.flip(0).flatten(), last.flip(1).flatten()]),
    )
    assert height_between(made, one, other, targets) == pytest.approx(float(targets.square().mean()), rel=1e-4)
    assert height_between(made, one, one, targets) == 0


def test_a_convex_loss_has_no_barrier_and_noise_has_its_norm(trial: MakeTrial) -> None:
    made = trial(nn.Linear(6, 2), *clusters(30, 6))
    found = barriers(made, steps=20, lr=0.1, shares=(0.0, 0.5), sigma=1e-2)
    assert all(each is not None and each[0] <= 1e-6 and 0 < each[1] < 1e-2 for each in found)
    noise = noise_of(made, 1e-2)
    assert float(noise.norm()) == pytest.approx(1e-2 * float(flat(made.trainable).norm()), rel=1e-4)


def test_stable_rank_and_the_products_of_heads(trial: MakeTrial) -> None:
    assert stable_rank(torch.diag(torch.tensor([2.0, 2.0, 1.0]))) == pytest.approx(9 / 4)
    assert stable_rank(torch.zeros(2, 2)) is None
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_layer=1, n_embd=16, n_head=2, n_positions=8, vocab_size=20, use_cache=False)
    module = GPT2LMHeadModel(config)
    made = trial(module, torch.arange(16).view(2, 8))
    fused, project = (module.get_parameter(f"transformer.h.0.attn.{name}.weight") for name in ("c_attn", "c_proj"))
    query, key, value = (part.T.double() for part in torch.split(fused.detach(), 16, 1))
    products = products_of(made)()
    assert len(products) == 4
    assert torch.allclose(products[2], key[8:].T @ query[8:])  # of the second head
    assert torch.allclose(products[3], project.detach().T.double()[:, 8:] @ value[8:])
    assert len(ranks_of(made)) == 6 and min(ranks_of(made)) >= 1


def test_a_network_without_attention_has_the_ranks_of_its_matrices(plain: Plain, trial: MakeTrial) -> None:
    made = trial(plain(1, 6, outputs=2), *clusters(24, 6))
    assert [tuple(each.shape) for each in products_of(made)()] == [(6, 6), (2, 6)]
    assert ranks_of(made)[0] <= 6


def test_distances_that_grow_with_the_logarithm_and_as_a_power() -> None:
    found = fitted([0.5 * log(2**power) + 0.1 for power in range(8)])
    assert found["slope"] == pytest.approx(0.5) and found["r2"] == pytest.approx(1.0)
    assert fitted([2 ** (0.5 * power) for power in range(8)])["exponent"] == pytest.approx(0.5)


def test_singular_values_of_layers(plain: Plain) -> None:
    matrix = numbers(12, 7)
    assert largest_singular_value(matrix) == pytest.approx(float(torch.linalg.matrix_norm(matrix, ord=2)), rel=1e-6)
    made = paramgen.diagnose(plain(2, 16), init="orthogonal|scale:3", data=numbers(8, 16), what="plasticity")
    roots = [3 * 2**0.5] * 2 + [3.0]
    assert made.figure("orthogonal|scale:3", "plasticity", "penalty") == pytest.approx(
        sum((root**2 - 1) ** 2 for root in roots), rel=1e-3
    )


def test_cosines() -> None:
    kernel = numbers(5, 5) @ numbers(5, 5).T
    assert cosine_of(kernel, 3 * kernel) == pytest.approx(1.0) and cosine_of(kernel, 0 * kernel) is None
    weight, means = torch.tensor([[2.0, 0.0], [0.0, -1.0]]), torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    assert turned(weight, means) == 0.5


def test_what_a_step_gains_on_three_examples_it_loses_on_the_fourth() -> None:
    """The same input four times, three of them of one class: D = 1 - (3 - 1) / 4."""
    module = nn.Linear(3, 2)
    with torch.no_grad():
        module.weight.zero_()
        module.bias.copy_(torch.tensor([1e-3, -1e-3]))
    found = paramgen.diagnose(module, data=(torch.ones(4, 3), torch.tensor([0, 0, 0, 1])), what="interference")
    assert found.figure("library", "interference", "interference") == pytest.approx(0.5, abs=1e-2)
    assert found.figure("library", "interference", "losing") == 0.25
    assert interference_of(torch.tensor([-1.0, 1.0])) == 1 and interference_of(torch.tensor([-1.0, -3.0])) == 0
    assert interference_of(torch.zeros(3)) is None


@pytest.mark.parametrize(
    ("module", "data", "said"),
    [
        (nn.Linear(4, 2), numbers(4, 4), "there are no labels. Give some: --data FOLDER"),
        (nn.Conv2d(1, 2, 3), (numbers(4, 25).view(4, 1, 5, 5), torch.arange(4) % 2), "is Conv2d. Leave alignment out"),
    ],
)
def test_alignment_needs_labels_and_a_linear_first_layer(module: nn.Module, data: object, said: str) -> None:
    with pytest.raises(OptionError) as refusal:
        paramgen.diagnose(module, data=data, what="alignment")
    assert said in refusal.value.message and "\n" not in refusal.value.message
