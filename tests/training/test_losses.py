import torch
from torch import nn

from training.config import Objective
from training.losses import Batch, descend, relative_residual, use_batch_statistics


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 10))


def batches(count: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(8, 3, 8, 8, generator=generator), torch.randint(10, (8,), generator=generator))
        for _ in range(count)
    ]


def split(module: nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    state = {name: tensor.detach() for name, tensor in module.state_dict().items()}
    return state, {name: state[name] for name, _ in module.named_parameters()}


def test_without_lookahead_it_is_the_gradient_of_the_task() -> None:
    module = use_batch_statistics(network())
    state, weights = split(module)
    objective = Objective(task=0.5, lookahead=0.0, label_smoothing=0.1)
    outcome = descend(module, state, weights, batches(1), objective)
    images, labels = batches(1)[0]
    loss = nn.functional.cross_entropy(module(images), labels, label_smoothing=0.1)
    loss.backward()
    assert outcome.losses == (float(loss.detach()),)
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(outcome.gradient[name], 0.5 * parameter.grad)


def test_lookahead_takes_the_gradient_after_the_inner_steps() -> None:
    module = use_batch_statistics(network())
    state, weights = split(module)
    objective = Objective(task=0.0, lookahead=1.0, inner_optimizer="sgd", inner_lr=0.1)
    outcome = descend(module, state, weights, batches(2), objective)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for images, labels in batches(2):
        optimizer.step()
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(images), labels, label_smoothing=0.1).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(outcome.gradient[name], parameter.grad)


def test_descending_leaves_the_prediction_as_it_was() -> None:
    module = use_batch_statistics(network())
    _, weights = split(module)
    before = {name: weight.clone() for name, weight in weights.items()}
    outcome = descend(module, split(module)[0], weights, batches(4), Objective(inner_lr=0.1))
    assert all(torch.equal(weight, before[name]) for name, weight in weights.items())
    assert len(outcome.losses) == 4 and outcome.losses[0] != outcome.losses[-1]
    assert outcome.finite


def test_what_is_not_finite_is_noticed() -> None:
    module = use_batch_statistics(network())
    state, weights = split(module)
    outcome = descend(module, state, weights | {"3.bias": torch.full((10,), torch.inf)}, batches(1), Objective())
    assert not outcome.finite


def test_the_residual_is_zero_at_the_base_and_grows_with_the_distance() -> None:
    state = {"weight": torch.ones(2, 2), "bias": torch.ones(2), "head": torch.zeros(2, 2)}
    assert float(relative_residual(state, state)) == 0
    assert float(relative_residual({"weight": 2 * torch.ones(2, 2)}, state)) == torch.tensor(2.0).log()
    assert float(relative_residual({"weight": torch.ones(2, 2), "head": torch.ones(2, 2)}, state)) == 0
