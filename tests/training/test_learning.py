import contextlib
from dataclasses import replace
from typing import Any

import torch

from paramgen.hypernets.config import HypernetConfig
from paramgen.hypernets.hypernet import Hypernet
from training.config import Objective
from training.learning import Sampled, learn
from training.losses import relative_residual
from training.recipes import smoke
from training.spaces import pool
from training.step_timer import StepTimer
from training.targets import TargetNetwork, view_of_design

CPU = torch.device("cpu")


def sampled(count: int) -> list[Sampled]:
    networks = []
    for index, design in enumerate(pool(2, count, among=("mlp", "vit"))):
        generator = torch.Generator().manual_seed(index)
        images = torch.randn(4, 3, design.resolution, design.resolution, generator=generator)
        batch = (images, torch.randint(10, (4,), generator=generator))
        target = TargetNetwork.of(design.build, view_of_design(design), seed=index, device=CPU)
        networks.append(Sampled(index, 0, target, [batch, batch]))
    return networks


def hypernet() -> Hypernet:
    torch.manual_seed(0)
    config = smoke.config().hypernet
    assert isinstance(config, HypernetConfig)
    made = Hypernet(config)
    residual: Any = made.residual
    torch.nn.init.normal_(residual.head.weight, std=0.1)
    return made


def gradients(networks: list[Sampled], share: float, made: Hypernet, objective: Objective) -> list[torch.Tensor]:
    precision = contextlib.nullcontext()
    learn(made, networks, objective, share=share, clock=StepTimer(CPU), precision=precision)
    return [each.grad.clone() for each in made.parameters() if each.grad is not None]


def test_networks_predicted_together_are_those_predicted_alone() -> None:
    made, networks = hypernet(), sampled(4)
    together = made.together([(each.target.view, each.target.initial) for each in networks])
    for each, found in zip(networks, together, strict=True):
        alone = each.target.predict(made)
        assert found.keys() == alone.keys()
        for name, weight in alone.items():
            torch.testing.assert_close(found[name], weight)


def test_the_gradient_of_a_step_is_the_mean_over_its_networks() -> None:
    objective = Objective(residual=0.1, inner_steps=1)
    networks = sampled(2)
    whole = gradients(networks, 0.5, hypernet(), objective)
    made = hypernet()
    for each in networks:
        parts = gradients([each], 0.5, made, objective)  # gradients add up
    for ours, theirs in zip(whole, parts, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_the_gradient_is_that_of_task_loss_and_residual() -> None:
    networks = [replace(each, batches=each.batches[:1]) for each in sampled(1)]
    objective = Objective(lookahead=0.0, label_smoothing=0.0, residual=3.0)
    found = gradients(networks, 0.5, hypernet(), objective)
    made, (each,) = hypernet(), networks
    images, labels = each.batches[0]
    weights = each.target.predict(made)
    state = {**each.target.state, **weights}
    logits = torch.func.functional_call(each.target.network, state, (images,))
    loss = torch.nn.functional.cross_entropy(logits, labels)
    (0.5 * (loss + 3.0 * relative_residual(weights, each.target.state))).backward()
    expected = [parameter.grad for parameter in made.parameters() if parameter.grad is not None]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
