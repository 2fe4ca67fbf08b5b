"""What each modifier makes of a weight, and what it refuses."""

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from paramgen.errors import OptionError, UnknownNameError
from paramgen.graphs.analysis.roles import LinearMap, MapKind
from paramgen.modifiers import SlotModifier, modifier_of
from paramgen.slots.init_program import slot_generator
from paramgen.slots.manifest import Slot

if TYPE_CHECKING:
    from conftest import Command


def map_of(tensor: Tensor, *, groups: int = 1, kind: MapKind = "linear") -> LinearMap:
    out, fan, *kernel = tensor.shape
    if kind == "transposed_conv":
        return LinearMap(slot="w", node=0, kind=kind, groups=1, out=fan, fan=out, kernel=tuple(kernel))
    return LinearMap(slot="w", node=0, kind=kind, groups=groups, out=out // groups, fan=fan, kernel=tuple(kernel))


def changed(spec: str, tensor: Tensor, *, groups: int = 1, kind: MapKind = "linear") -> Tensor:
    slot = Slot(name="w", shape=tuple(tensor.shape), dtype=tensor.dtype, kind="parameter", owner="", owner_type="")
    linear_map = map_of(tensor, groups=groups, kind=kind)
    modifier = modifier_of(spec)
    assert isinstance(modifier, SlotModifier)
    return modifier.changed(slot, linear_map, tensor, seed=0, stream="test")


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=slot_generator(0, "w"))


@pytest.mark.parametrize("shape", [(40, 60), (60, 40)])
@pytest.mark.parametrize("options", ["rank=8", "rank=0.2", "rank=8&draw=true"])
def test_lowrank_has_the_exact_rank_and_the_norm_of_before(shape: tuple[int, int], options: str) -> None:
    before = normal(*shape)
    after = changed(f"lowrank?{options}", before)
    assert int(torch.linalg.matrix_rank(after)) == 8
    assert torch.allclose(after.norm(), before.norm(), rtol=1e-5)


def test_lowrank_is_the_nearest_matrix() -> None:
    before = normal(40, 60)
    left, values, right = torch.linalg.svd(before.double(), full_matrices=False)
    nearest = (left[:, :8] * values[:8]) @ right[:8]
    assert torch.allclose(changed("lowrank?rank=8&norm=none", before).double(), nearest, atol=1e-6)
    kept = changed("lowrank:8", before).double()
    assert torch.allclose(kept, nearest * (before.double().norm() / nearest.norm()), atol=1e-6)


def test_lowrank_takes_a_convolution_as_outputs_by_inputs_times_taps_and_each_group_alone() -> None:
    after = changed("lowrank:2", normal(8, 4, 3, 3), groups=2, kind="conv")
    assert [int(torch.linalg.matrix_rank(group.flatten(1))) for group in after.chunk(2)] == [2, 2]
    turned = changed("lowrank:2", normal(8, 4, 3, 3), kind="transposed_conv")
    assert int(torch.linalg.matrix_rank(turned.transpose(0, 1).flatten(1))) == 2


def test_blocks_are_permuted_blocks_of_unchanged_variance() -> None:
    before = torch.ones(40, 80)
    after = changed("blocks:0.25", before)
    assert float(after.ne(0).float().mean()) == 0.25
    assert torch.allclose(after.unique(), torch.tensor([0.0, 2.0]))
    patterns = after.ne(0).unique(dim=0)
    assert len(patterns) == 4 and torch.equal(patterns.sum(0), torch.ones(80, dtype=torch.long))
    assert not torch.equal(after[:10, :20].ne(0), torch.ones(10, 20, dtype=torch.bool))  # permuted
    uneven = changed("blocks:0.25", normal(41, 83).square().sqrt() + 1)
    assert 0.24 < float(uneven.ne(0).float().mean()) < 0.26


def test_blocks_of_a_convolution_keep_kernels_whole() -> None:
    after = changed("blocks:0.5", torch.ones(8, 6, 3, 3), kind="conv").flatten(2)
    assert torch.equal(after.any(-1), after.all(-1)) and float(after.any(-1).float().mean()) == 0.5


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_shift_has_so_many_powers_of_two_with_a_sign_and_no_zero(bits: int) -> None:
    before = normal(400, 400) * 0.05
    after = changed(f"shift:{bits}", before)
    values = after.unique()
    assert len(values) == 2**bits and bool(values.abs().log2().frac().eq(0).all())
    assert torch.equal(after.sign(), before.sign())
    distance = (after - before).abs()
    assert all(bool((distance <= (value - before).abs()).all()) for value in values)
    assert bool(changed("shift:3", torch.tensor([[0.0, 1.0]])).ne(0).all())


def test_scale_multiplies() -> None:
    before = normal(4, 5)
    assert torch.equal(changed("scale:0.5", before), before * 0.5)
    assert torch.equal(changed("scale?factor=3", before), before * 3)


def test_zeros_stay_zeros() -> None:
    for spec in ("scale", "lowrank:2", "blocks:0.5", "shift"):
        assert not changed(spec, torch.zeros(8, 8)).any()


@pytest.mark.parametrize(
    "spec",
    "scale:0 scale:-1 scale:1001 scale:true scale:Infinity lowrank:0 lowrank:1.5 lowrank:-1 lowrank:NaN "
    "lowrank?norm=none&draw=true blocks:0 blocks:1 blocks:0.4 blocks:0.0001 shift:0 shift:5 shift:true".split(),
)
def test_a_value_out_of_range_is_refused_in_one_line(spec: str) -> None:
    with pytest.raises(OptionError, match="Allowed|norm=none is for") as refusal:
        modifier_of(spec)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("then", "message"),
    [
        (("scale:x",), "factor is 'x'. Allowed: a number above 0"),
        (("scale?layers=first",), "Allowed: all, hidden and output"),
        (("lowrank?norm=spectral",), "Allowed: frobenius and none"),
        (("lowrank?draw=1",), "draw is 1. Allowed: true and false"),
        (("shift:2.0",), "bits is 2.0. Allowed: a whole number from 1 to 4"),
        (("lowrnk",), "'lowrank'"),
        (("lowrank:2", "blocks"), "'blocks' undoes the low rank of 'lowrank:2'. Leave one of them out"),
        (("lowrank:4000",), "'lowrank' changes nothing of 'timm:test_vit'"),
    ],
)
def test_the_command_refuses_in_one_line(then: tuple[str, ...], message: str, command: "Command") -> None:
    given = [word for each in then for word in ("--then", each)]
    done = command("predict", "--arch", "timm:test_vit", "--init", "he", *given, "--out", "start")
    assert message in done.refusal


def test_an_unknown_name_or_option_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown modifier 'lowrnk'.*'lowrank'.*paramgen list modifiers"):
        modifier_of("lowrnk:8")
    with pytest.raises(UnknownNameError, match=r"'rnk'.*'rank'"):
        modifier_of("lowrank?rnk=8")
