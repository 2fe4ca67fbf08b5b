"""Manifests: every entry of a state dict, ties resolved to the slot that holds the tensor."""

import torch
from torch import nn

from paramgen.slots.init_program import constant
from paramgen.slots.manifest import Manifest, Slot, read_manifest


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.embed.weight
        self.again = self.head
        self.norm = nn.BatchNorm1d(4).to(torch.bfloat16)
        self.register_buffer("hidden", torch.zeros(2), persistent=False)
        self.register_buffer("table", torch.zeros(2, 3))


def test_lists_the_state_dict_in_its_order() -> None:
    module = Tied()
    manifest = read_manifest(module, {})
    assert list(manifest) == list(module.state_dict())
    for name, tensor in module.state_dict().items():
        slot = manifest[name]
        assert (slot.shape, slot.dtype) == (tuple(tensor.shape), tensor.dtype)
        assert slot.kind == ("parameter" if name in dict(module.named_parameters(remove_duplicate=False)) else "buffer")
    assert manifest["norm.weight"].owner == "norm"
    assert manifest["norm.weight"].owner_type.endswith("batchnorm.BatchNorm1d")
    assert manifest["table"].owner == ""
    assert "hidden" not in manifest


def test_ties_point_to_the_slot_with_the_tensor_and_count_once() -> None:
    manifest = read_manifest(Tied(), {})
    assert manifest["head.weight"].tied_to == manifest["again.weight"].tied_to == "embed.weight"
    assert manifest.names_of("embed.weight") == ("embed.weight", "head.weight", "again.weight")
    assert all(slot.tied_to is None for slot in manifest.filled)
    assert manifest.parameters == sum(parameter.numel() for parameter in Tied().parameters()) == 28
    assert manifest.elements == 28 + 6 + 9


def test_a_library_decides_which_name_holds_a_tie() -> None:
    drawn = constant(torch.ones(5, 4))
    manifest = read_manifest(
        Tied(), {"embed.weight": drawn}, ties={"embed.weight": "head.weight", "again.weight": "head.weight"}
    )
    assert manifest["embed.weight"].tied_to == "head.weight"
    assert manifest["head.weight"].tied_to is None
    assert manifest["head.weight"].program is drawn  # a program is known under any of the names


def test_zero_dimensional_and_empty_slots_have_elements() -> None:
    def slot(shape: tuple[int, ...]) -> Slot:
        return Slot(name="x", shape=shape, dtype=torch.float32, kind="buffer", owner="", owner_type="")

    assert slot(()).elements == 1
    assert slot((3, 0)).elements == 0
    assert len(Manifest(())) == 0
