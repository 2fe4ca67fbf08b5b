import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from paramgen.errors import HypernetError
from paramgen.graphs.analysis.address import Address
from paramgen.graphs.analysis.addressed_slots import AddressedSlot, Slice
from paramgen.graphs.views.view import View
from paramgen.hypernets.config import HypernetConfig
from paramgen.hypernets.hypernet import Hypernet
from paramgen.hypernets.loading import load
from paramgen.hypernets.supernet import Supernet, SupernetConfig

SHAPES = {
    "stem3by1/0:weight": (4, 3, 3, 3),
    "stream>pw>pw@tokens/0:weight": (6, 4),
    "stream>pw>pw@tokens/1:weight": (6, 4),
    "stream>pw>pw@tokens/1:bias": (6,),
    "stream>pw>attention@tokens:query/0:weight": (4, 4),
    "stream>pw>attention@tokens:value/0:weight": (4, 4),
    "position/0:position": (4, 8, 8),
}
CONFIG = SupernetConfig(
    tensors={Address.parse(name): shape for name, shape in SHAPES.items()},
    token_steps=2,
    image_steps=1,
    spill=0.5,
)


def addressed(
    slot: str, shape: tuple[int, ...], *names: str, part: str = "weight", depth: tuple[int, int] = (0, 1)
) -> AddressedSlot:
    """A slot of so many equal slices; `depth` is its depth index, and how many there are."""
    index, count = depth
    addresses = [replace(Address.parse(f"{name}/0:{part}"), depth_index=index) for name in names]
    size = shape[0] // len(names)
    slices = tuple(Slice(address, at * size, (at + 1) * size) for at, address in enumerate(addresses))
    form = "weight" if part == "weight" else "vector"
    return AddressedSlot(slot=slot, shape=shape, form=form, slices=slices, depth_count=count)  # type: ignore[arg-type]


def position_table(slot: str) -> AddressedSlot:
    address = Address("position", part="position")
    return AddressedSlot(slot=slot, shape=(1, 65, 6), form="position", slices=(Slice(address, 0, 6),))


def transposed(slot: str, shape: tuple[int, int], name: str) -> AddressedSlot:
    whole = addressed(slot, shape, name)
    return replace(whole, slices=(replace(whole.slices[0], stop=shape[1]),), in_out=True)


def viewed(*slots: AddressedSlot) -> View:
    return View(
        primitives=torch.zeros(1, dtype=torch.int64),
        shapes=(None,),
        distances=torch.zeros(1, 1, dtype=torch.uint8),
        requests=(),
        addressed_slots={each.slot: each for each in slots},
    )


@pytest.fixture
def supernet() -> Supernet:
    made = Supernet(CONFIG)
    made.reset(torch.Generator().manual_seed(0))
    return made.eval()


def ones(slot: AddressedSlot) -> Callable[[str], Tensor]:
    return lambda _: torch.ones(slot.shape)


def filled(supernet: Supernet, slot: AddressedSlot) -> Tensor:
    return dict(supernet(viewed(slot), ones(slot)))[slot.slot]


def test_a_smaller_slot_is_the_leading_corner(supernet: Supernet) -> None:
    small = addressed("w", (5, 3), "stream>pw>pw@tokens")
    assert torch.equal(filled(supernet, small), supernet.shared["stream>pw>pw@tokens/0:weight"][:5, :3])


def test_what_is_beyond_the_corner_is_the_default_and_its_spill_is_scaled(supernet: Supernet) -> None:
    value = filled(supernet, addressed("w", (8, 7), "stream>pw>pw@tokens"))
    assert torch.equal(value[:6, :4], supernet.shared["stream>pw>pw@tokens/0:weight"])
    assert bool((value[:6, 4:] == 0.5).all())
    assert bool((value[6:] == 1.0).all())


ATTENTION = tuple(f"stream>pw>attention@tokens:{part}" for part in ("query", "key", "value"))


def test_it_counts_the_elements_that_are_its_own_and_those_it_scales(supernet: Supernet) -> None:
    name = "stream>pw>pw@tokens"
    table = position_table("table")
    counted = {
        addressed("small", (5, 3), name): (15, 0),
        addressed("tall", (8, 3), name): (18, 0),
        addressed("wide", (8, 7), name): (24, 18),
        addressed("conv", (9, 4, 1, 1), name): (24, 0),
        addressed("bias", (8,), name, part="bias", depth=(1, 2)): (6, 0),
        addressed("qkv", (12, 4), *ATTENTION): (32, 0),
        addressed("larger", (8, 3, 6, 6), "stem3by1"): (4 * 3 * 36, 0),
        addressed("grey", (4, 1, 3, 3), "stem3by1"): (36, 0),
        addressed("more colours", (4, 5, 3, 3), "stem3by1"): (108, 72),
        transposed("turned", (7, 6), name): (24, 18),
        table: (256, 0),
        addressed("unknown", (4, 4), "stream>pw>pw@5"): None,
    }
    view = viewed(*counted)
    assert supernet.filled(view) == {slot.slot: own for slot, own in counted.items() if own is not None}
    assert set(supernet.slots(view)) == supernet.filled(view).keys()
    for each, own in counted.items():
        if own is not None:  # 0.5 is a one that was scaled
            value = filled(supernet, each)
            assert (int(((value != 1) & (value != 0.5)).sum()), int((value == 0.5).sum())) == own, each


def test_depth_picks_the_step_and_1x1_convolutions_are_linear_maps(supernet: Supernet) -> None:
    last = addressed("w", (6, 4, 1, 1), "stream>pw>pw@tokens", depth=(3, 4))
    assert torch.equal(filled(supernet, last).flatten(1), supernet.shared["stream>pw>pw@tokens/1:weight"])
    bias = addressed("b", (6,), "stream>pw>pw@tokens", part="bias", depth=(3, 4))
    assert torch.equal(filled(supernet, bias), supernet.shared["stream>pw>pw@tokens/1:bias"])


def test_fused_rows_come_from_their_own_weights_and_unknown_slices_keep_the_default(supernet: Supernet) -> None:
    names = [f"stream>pw>attention@tokens:{part}" for part in ("query", "key", "value")]
    value = filled(supernet, addressed("qkv", (12, 4), *names))
    assert torch.equal(value[:4], supernet.shared["stream>pw>attention@tokens:query/0:weight"])
    assert bool((value[4:8] == 1.0).all())
    assert torch.equal(value[8:], supernet.shared["stream>pw>attention@tokens:value/0:weight"])


def test_rows_that_are_inputs_are_transposed(supernet: Supernet) -> None:
    name = "stream>pw>pw@tokens"
    turned = transposed("w", (4, 6), name)
    assert torch.equal(filled(supernet, turned).t(), supernet.shared[f"{name}/0:weight"])


def test_position_tables_are_scaled_and_the_class_token_keeps_its_row(supernet: Supernet) -> None:
    table = position_table("p")
    value = filled(supernet, table)
    assert torch.equal(value[0, 1:, :4], supernet.shared["position/0:position"].flatten(1).t())
    assert bool((value[0, 0] == 1.0).all()) and bool((value[0, :, 4:] == 1.0).all())


def test_unknown_addresses_and_other_kernels_are_left_alone(supernet: Supernet) -> None:
    unknown = addressed("w", (4, 4), "stream>pw>pw@5")
    assert supernet.slots(viewed(unknown)) == ()
    assert dict(supernet(viewed(unknown), ones(unknown))) == {}


def test_gradients_reach_what_is_shared(supernet: Supernet) -> None:
    wide = addressed("w", (8, 7), "stream>pw>pw@tokens")
    value = dict(supernet(viewed(wide), ones(wide)))["w"]
    value.sum().backward()
    gradient = supernet.shared["stream>pw>pw@tokens/0:weight"].grad
    assert gradient is not None and bool((gradient == 1.0).all())
    assert supernet.shared["stream>pw>pw@tokens/1:weight"].grad is None


def test_a_wrong_default_and_no_default_are_refused(supernet: Supernet) -> None:
    small = addressed("w", (5, 3), "stream>pw>pw@tokens")
    with pytest.raises(HypernetError, match="not \\(5, 3\\)"):
        dict(supernet(viewed(small), lambda slot: torch.ones(3, 5)))
    with pytest.raises(HypernetError, match="pass `base`"):
        dict(supernet(viewed(small)))


def test_it_comes_back_from_its_folder_whole(supernet: Supernet, tmp_path: Path) -> None:
    supernet.save_pretrained(tmp_path)
    again = load(str(tmp_path))
    assert isinstance(again, Supernet) and again.config == supernet.config and again.sha256 is not None
    for name, tensor in supernet.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"token_steps": 0}, "token_steps is 0"),
        ({"image_steps": True}, "image_steps is True"),
        ({"spill": 2.0}, "spill is 2.0"),
        ({"kind": "hypernet"}, "has no 'encoder'"),
        ({"format_version": 2}, "version 2"),
        ({"tensors": {}}, "number of tensors is 0"),
        ({"tensors": {"a/0:weight": [10**9]}}, "'a/0:weight' is"),
        ({"tensors": {"a/0:weight": [60_000, 60_000]}}, "elements of all tensors"),
        *(
            ({"tensors": {name: [2]}}, "is no address of a shared weight")
            for name in ("keys", "pop", "", "_parameters", "state_dict", "a\nb", "a.b", "a.b/0:weight")
        ),
        ({"tensors": {f"{'a' * 300}/0:weight": [2]}}, "A name of 309 letters"),
        ({"more": 1}, "more"),
    ],
)
def test_hostile_configurations_are_refused(
    change: dict[str, object], said: str, supernet: Supernet, tmp_path: Path
) -> None:
    supernet.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(HypernetError, match=said):
        load(str(tmp_path))


def test_loading_tells_hypernets_apart(residual_config: HypernetConfig, tmp_path: Path) -> None:
    Hypernet(residual_config).save_pretrained(tmp_path)
    assert isinstance(load(str(tmp_path)), Hypernet)


def test_a_kernel_of_another_size_answers_alike_where_the_image_is_flat(supernet: Supernet) -> None:
    value = filled(supernet, addressed("w", (4, 3, 6, 6), "stem6by2"))
    shared = supernet.shared["stem3by1/0:weight"]
    assert torch.allclose(value.sum((2, 3)), shared.sum((2, 3)), atol=1e-5)


def test_a_grey_image_is_seen_as_the_same_image_in_three_equal_colours(supernet: Supernet) -> None:
    shared = supernet.shared["stem3by1/0:weight"]
    value = filled(supernet, addressed("w", (4, 1, 3, 3), "stem3by1"))
    grey = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    seen, expected = torch.conv2d(grey, value), torch.conv2d(grey.expand(-1, 3, -1, -1), shared)
    assert torch.allclose(seen, expected, atol=1e-5)


def test_a_single_number_keeps_its_default(supernet: Supernet) -> None:
    """A learned scale has no rows, even where its node is called like one that is known."""
    name = "stream>pw>pw@tokens"
    bias = Slice(Address.parse(f"{name}/1:bias"), 0, None)
    scale = AddressedSlot(slot="scale", shape=(), form="vector", slices=(bias,), depth_count=2)
    known = addressed("w", (5, 3), name)
    view = viewed(scale, known)
    assert supernet.slots(view) == ("w",) and set(supernet.filled(view)) == {"w"}
    defaults = {"w": torch.ones(5, 3), "scale": torch.tensor(2.0)}
    assert set(dict(supernet(view, defaults.__getitem__))) == {"w"}
