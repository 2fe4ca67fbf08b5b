from dataclasses import replace

import pytest
import torch

from paramgen.hypernets.config import first_light
from paramgen.hypernets.hypernet import Hypernet
from training.spaces import families, families_of, family_of, pool, sample
from training.spaces.cells import OPS, Cells
from training.spaces.design import Design, Span
from training.spaces.mlp import Mlp
from training.spaces.vit import Vit
from training.targets import TargetNetwork, view_of_design


def draw(family: str, seed: int, *, span: Span = "small") -> Design:
    return sample(torch.Generator().manual_seed(seed), family=family, span=span)


def parameters(design: Design) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in design.network().parameters())


@pytest.mark.parametrize("family", families.names())
def test_designs_build_classify_and_repeat(family: str) -> None:
    for seed in range(2):
        design = draw(family, seed)
        assert design == draw(family, seed)
        assert hash(design) == hash(draw(family, seed))
        network = design.build().eval()
        with torch.no_grad():
            scores = network(design.example(2, "cpu"))
        assert scores.shape == ((2, 10) if design.takes == "images" else (2, design.resolution, 10))
        # The head of a BERT is the table of tokens, and the head's bias has two names.
        tied = 2 if family == "bert" else getattr(design, "tied", False)
        assert (
            len({id(tensor) for tensor in network.state_dict(keep_vars=True).values()})
            == len(network.state_dict()) - tied
        )


@pytest.mark.slow
@pytest.mark.parametrize("family", families.names())
def test_held_out_designs_are_larger_than_any_in_training(family: str) -> None:
    seen = [draw(family, seed) for seed in range(6)]
    unseen = [draw(family, seed, span="held_out") for seed in range(2)]
    assert not set(seen) & set(unseen)
    mean_seen = sum(map(parameters, seen)) / len(seen)
    assert sum(map(parameters, unseen)) / len(unseen) > mean_seen
    assert all(design.cost() <= design.limit for design in seen)


@pytest.mark.slow
@pytest.mark.parametrize("family", families_of("images"))
def test_every_design_is_traced_and_runs_at_either_size_and_any_number_of_classes(family: str) -> None:
    for span, seed, resolution in (("wide", 12, 16), ("held_out", 14, 32)):
        drawn = draw(family, seed, span=span)  # type: ignore[arg-type]
        design = replace(drawn, resolution=resolution, classes=200)
        network = design.build().eval()
        with torch.no_grad():
            assert network(torch.zeros(2, 3, resolution, resolution)).shape == (2, 200)
        requested = {request.slot for request in view_of_design(design).requests}
        matrices = {name for name, parameter in network.named_parameters() if parameter.dim() in (2, 4)}
        assert matrices <= requested, matrices - requested


def test_cells_use_every_operation_and_cost_the_same_however_counted() -> None:
    drawn = [families.get("cells").sample(torch.Generator().manual_seed(seed), span="wide") for seed in range(12)]
    cells = [design for design in drawn if isinstance(design, Cells)]
    used = {op for design in cells for node in (*design.normal, *design.reduction) for op, _ in node}
    assert used == set(OPS)
    linear = Mlp(width=32, depth=2, patch=0, norm="none", residual=False)
    assert linear.cost() == 768 * 32 + 32 * 32 + 32 * 10
    attention = Vit(width=32, depth=1, heads=2, expansion=2, patch=4, pool="mean", attention="fused")
    tokens = 16
    assert attention.cost() == tokens * (48 * 32 + 4 * 32 * 32 + 2 * tokens * 32 + 2 * 2 * 32 * 32) + 32 * 10


def test_a_recipe_names_its_families() -> None:
    assert {family_of(design) for design in pool(1, 4, among=("mlp", "vit"))} == {"mlp", "vit"}
    assert {design.classes for design in pool(1, 2, among=("mlp",), classes=7)} == {7}


def test_a_pool_gives_every_family_its_share() -> None:
    designs = pool(5, 12)
    assert designs == pool(5, 12) != pool(6, 12)
    assert {family_of(design) for design in designs} == set(families_of("images"))


@pytest.mark.parametrize("family", families_of("images"))
def test_an_untrained_hypernet_predicts_the_library_s_own_start(family: str) -> None:
    design = draw(family, 1)
    target = TargetNetwork.of(design.build, view_of_design(design), seed=4, device=torch.device("cpu"))
    with torch.no_grad():
        weights = target.predict(Hypernet(first_light()))
    matrices = {name for name, parameter in target.network.named_parameters() if parameter.dim() in (2, 4)}
    assert matrices <= weights.keys()
    assert all(torch.equal(weight, target.state[name]) for name, weight in weights.items())
