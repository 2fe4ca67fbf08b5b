"""What operations return on the meta device is what torch says, and torch is asked where that is not known."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from paramgen.slots.init_program import InitStep, operator_of
from paramgen.slots.meta_results import _RULES, meta_result
from paramgen.slots.torch_internals import schema_of

META = torch.device("meta")
TENSORS = (
    torch.empty(3, 4, device=META),
    torch.empty(4, 3, dtype=torch.float16, device=META),
    torch.empty((), dtype=torch.float64, device=META),
    torch.empty(0, 3, dtype=torch.bfloat16, device=META),
    torch.empty(3, 4, device=META).t(),
    torch.empty(1, 4, device=META).expand(3, 4),
    torch.empty(3, 4, 2, device=META)[:, :, 0],
    torch.empty(3, 4, dtype=torch.int64, device=META),
    torch.empty(3, 4, dtype=torch.bool, device=META),
    torch.empty(3, 4, dtype=torch.complex64, device=META),
)
ARGUMENTS: Mapping[str, tuple[Any, ...]] = {
    "self": TENSORS,
    "other": (2, 0.5, torch.tensor(0.5, dtype=torch.float64), torch.empty(3, 4, device=META), 1j),
    "size": ([2, 3], []),
    "n": (3,),
    "m": (5,),
    "start": (0, 5, 0.5),
    "end": (7, -2, 3.5),
    "step": (2, -3),
    "steps": (5, 1),
    "diagonal": (0, -1),
    "mean": (0.0,),
    "std": (1.0, -1.0),
    "min": (-1, None),
    "max": (0.5,),
    "dtype": (None, torch.float16, torch.int32, torch.complex64),
    "device": (META,),
}


def requests(operator: Any) -> list[dict[str, Any]]:
    """Return combinations of arguments: the first of each kind, and each other one beside the first of the others."""
    names = [argument.name for argument in schema_of(operator).arguments if argument.name in ARGUMENTS]
    usual = {name: ARGUMENTS[name][0] for name in names}
    return [{**usual, name: value} for name in names for value in ARGUMENTS[name]]


def described(value: Tensor) -> tuple[Any, ...]:
    return tuple(value.shape), value.stride(), value.dtype, value.storage_offset(), value.untyped_storage().nbytes()


@pytest.mark.parametrize("name", sorted(_RULES))
def test_it_is_what_torch_says(name: str) -> None:
    operator, known = operator_of(InitStep(name, (), {}, ())), 0
    for given in requests(operator):
        found = meta_result(name, given)
        if found is None:
            continue
        known += 1
        expected = operator(**given)
        assert described(found) == described(expected), given
        assert (found is given.get("self")) == (expected is given.get("self")), given
    assert known


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("normal_.default", {"self": TENSORS[0], "std": -1.0}),
        ("randn.default", {"size": [2], "dtype": torch.int64, "device": META}),
        ("randn.default", {"size": [-2], "device": META}),
        ("randn.default", {"size": [2], "device": "cpu"}),
        ("mul_.Tensor", {"self": TENSORS[0], "other": "2"}),
        ("add.Tensor", {"self": TENSORS[7], "other": 0.5}),
        ("add_.Tensor", {"self": TENSORS[5], "other": 1.0}),
        ("add.Tensor", {"self": torch.empty(3), "other": 1.0}),
        ("arange.start_step", {"start": 0, "end": 5, "step": 0, "device": META}),
        ("eye.m", {"n": 3, "m": "4", "device": META}),
        ("svd.default", {"self": TENSORS[0]}),
    ],
)
def test_torch_is_asked_where_an_argument_may_be_refused(name: str, given: Mapping[str, Any]) -> None:
    assert meta_result(name, given) is None
