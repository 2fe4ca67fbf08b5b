from dataclasses import replace
from math import prod

import pytest
import torch

from paramgen.graphs.analysis.address import Address
from paramgen.hypernets.loading import fresh
from paramgen.hypernets.supernet import Supernet
from training.config import Config
from training.recipes import text, vision
from training.sharing import shared_tensors
from training.spaces import sample
from training.targets import TargetNetwork, view_of_design


def test_shared_tensors_are_as_large_as_the_largest_and_no_larger_than_the_cap() -> None:
    generator = torch.Generator().manual_seed(0)
    designs = [sample(generator, family="resnet", span="wide", resolutions=(32,)) for _ in range(2)]
    networks = [view_of_design(design).addressed_slots for design in designs]
    tensors = shared_tensors(networks, token_steps=2, image_steps=1)
    shared = {replace(address, depth_index=0) for address in tensors}
    for slots in networks:
        for name, slot in slots.items():
            assert replace(slot.address, depth_index=0) in shared, name
    alone = shared_tensors(networks[:1], token_steps=2, image_steps=1)
    assert all(size <= more for name, shape in alone.items() for size, more in zip(shape, tensors[name], strict=True))
    convolutions = [shape for address, shape in tensors.items() if address.operation == "conv3" and len(shape) > 1]
    assert convolutions and all(max(shape[:2]) <= 112 for shape in convolutions)


def test_the_vision_recipe_has_what_its_designs_ask_for_and_fits_into_the_wheel() -> None:
    config = vision.config()
    supernet = fresh(config.hypernet)
    assert isinstance(config, Config) and isinstance(supernet, Supernet)
    assert 2 * sum(prod(shape) for shape in supernet.config.tensors.values()) < 12e6  # bytes in bfloat16
    assert {Address(f"head{each.classes}") for each in config.datasets} <= supernet.config.tensors.keys()
    generator = torch.Generator().manual_seed(1)
    design = sample(generator, family="vit", span="wide", resolutions=config.resolutions)
    view = view_of_design(design)
    target = TargetNetwork.of(design.build, view, seed=0, device=torch.device("cpu"))
    weights = target.predict(supernet)
    assert weights.keys() == dict(target.network.named_parameters()).keys()


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_the_text_recipe_has_what_its_designs_ask_for_and_fits_into_the_wheel(family: str) -> None:
    config = text.config()
    supernet = fresh(config.hypernet)
    assert isinstance(supernet, Supernet)
    assert 2 * sum(prod(shape) for shape in supernet.config.tensors.values()) < 12e6
    generator = torch.Generator().manual_seed(1)
    drawn = sample(generator, family=family, span="wide", resolutions=config.resolutions)
    assert config.datasets[0].classes is not None
    design = replace(drawn, classes=config.datasets[0].classes)
    target = TargetNetwork.of(design.build, view_of_design(design), seed=0, device=torch.device("cpu"))
    assert target.predict(supernet).keys() == {name for name, _ in target.network.named_parameters()}
