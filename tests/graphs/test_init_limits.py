"""Draws that somebody else wrote: no memory of ours in what they make, and no more of it than a slot may take."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import paramgen
from paramgen.errors import GraphError
from paramgen.graphs import init_limits as draw_limits
from paramgen.graphs.graph_json import graph_from_json, graph_to_json
from paramgen.initializers.library import default_weights
from tests.graphs.test_graph_json import BASE, op

if TYPE_CHECKING:
    from conftest import Command

BYTES = {"dtype": {"dtype": "uint8"}}
DOUBLES = {"dtype": {"dtype": "float64"}}
R0, R1, R2 = ({"register": register} for register in range(3))


def graph_of(*steps: Any, size: tuple[int, ...] = (4096,), dtype: str = "uint8", result: int = 0) -> dict[str, Any]:
    """Return a graph of one slot that these steps make."""
    stride = [int(step) for step in torch.empty(size, device="meta").stride()]
    program = {"steps": list(steps), "result": result, "size": list(size), "stride": stride, "offset": 0}
    slot = {**BASE["slots"][0], "shape": list(size), "dtype": dtype, "kind": "buffer", "init_program": program}
    return {**BASE, "nodes": BASE["nodes"][:1], "edges": [], "slots": [slot]}


def drawn(*steps: Any, **slot: Any) -> torch.Tensor:
    architecture, _ = graph_from_json(json.dumps(graph_of(*steps, **slot)))
    return default_weights(architecture.manifest["w"], 0)


@pytest.fixture
def marked_memory() -> Iterator[None]:
    """Memory that torch hands out holds 255 or NaN, as it might hold anything."""
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(4, dtype=torch.uint8).tolist() == [255] * 4
        yield
    finally:
        torch.use_deterministic_algorithms(False)


BLANK = {
    "empty": [op("empty.memory_format", [4096], out=0, **BYTES)],
    "empty by name": [op("empty.memory_format", out=0, size=[4096], **BYTES)],
    "empty strided": [op("empty_strided.default", [4096], [1], out=0, **BYTES)],
    "new empty": [op("zeros.default", [1], out=1, **BYTES), op("new_empty.default", R1, [4096], out=0)],
    "new empty strided": [
        op("zeros.default", [1], out=1, **BYTES),
        op("new_empty_strided.default", R1, [4096], [1], out=0),
    ],
    "empty like": [op("zeros.default", [4096], out=1, **BYTES), op("empty_like.default", R1, out=0)],
    "a copy": [op("empty.memory_format", [4096], out=1, **BYTES), op("clone.default", R1, out=0)],
    "a sum": [op("empty.memory_format", [4096], out=1, **BYTES), op("add.Tensor", R1, 0, out=0)],
    "written in part": [
        op("empty.memory_format", [4096], out=0, **BYTES),
        op("slice.Tensor", R0, 0, 0, 1, out=1),
        op("zero_.default", R1, out=1),
    ],
    "another type of the same bytes": [
        op("empty.memory_format", [512], out=1, **DOUBLES),
        op("view.dtype", R1, {"dtype": "uint8"}, out=0),
    ],
}


@pytest.mark.parametrize("name", BLANK)
def test_what_a_draw_does_not_write_is_zero(name: str, marked_memory: None) -> None:
    assert int(drawn(*BLANK[name]).count_nonzero()) == 0


def test_the_command_writes_no_memory_of_ours(command: "Command", tmp_path: Path) -> None:
    (tmp_path / "g.json").write_text(json.dumps(graph_of(*BLANK["empty"])), encoding="utf-8")
    code = "import torch; torch.use_deterministic_algorithms(True)"
    done = command("predict", "--arch", "g.json", "--init", "library", "--out", "start", "--no-check", code=code)
    assert done.status == 0, done
    assert int(load_file(tmp_path / "start" / "model.safetensors")["w"].count_nonzero()) == 0


def test_gaps_between_the_elements_of_what_a_draw_makes_are_zero() -> None:
    for _ in range(20):
        garbage = [torch.full((4096,), 255, dtype=torch.uint8) for _ in range(100)]
        del garbage
        assert int(drawn(op("empty_strided.default", [64], [65], out=0, **BYTES)).count_nonzero()) == 0


@pytest.mark.parametrize("fill", ["uniform_.default", "normal_.default"])
def test_a_slot_that_is_filled_is_what_it_was(fill: str) -> None:
    steps = (op("empty.memory_format", [64], out=0, dtype={"dtype": "float32"}), op(fill, R0, 0.0, 1.0, out=0))
    generator = torch.Generator().manual_seed(0)
    made = graph_from_json(json.dumps(graph_of(*steps, size=(64,), dtype="float32")))[0].manifest["w"].program
    assert made is not None
    expected = getattr(torch.empty(64), fill.partition(".")[0])(0.0, 1.0, generator=torch.Generator().manual_seed(0))
    assert torch.equal(made(generator), expected)


def test_arguments_by_name_are_those_by_position() -> None:
    by_place = drawn(op("full.default", [64], 3, out=1, **BYTES), op("repeat.default", R1, [64], out=0))
    by_name = drawn(
        op("full.default", out=1, size=[64], fill_value=3, **BYTES),
        op("repeat.default", out=0, **{"self": R1, "repeats": [64]}),
    )
    assert torch.equal(by_place, by_name) and by_place.tolist() == [3] * 4096


SMALL = op("zeros.default", [64], out=0, **BYTES)
MANY = op("empty.memory_format", [20_000], out=0, **BYTES)
WIDE = [op("full.default", [12_000_000], 1.0, out=register, **DOUBLES) for register in (1, 2)]
HOSTILE: dict[str, tuple[Any, ...]] = {
    "splits by name": ("20,000 parts", MANY, ["split.Tensor", [], {"self": R0, "split_size": 1}, [1]]),
    "splits by place": ("20,000 parts", MANY, ["split.Tensor", [R0, 1], {}, [1]]),
    "parts by name": ("20,000 parts", MANY, ["unbind.int", [], {"self": R0}, [1]]),
    "parts along no dimension": ("no such dimension", MANY, ["unbind.int", [], {"self": R0, "dim": 5}, [1]]),
    "sizes of 20,000 parts": ("20,000 numbers", MANY, ["split.sizes", [R0, [1] * 20_000], {}, [1]]),
    "a repeated list": ("unknown tensor operation", SMALL, ["mul.left_t", [[1], 10**9], {}, [1]]),
    "a repeated text": ("unknown tensor operation", SMALL, ["add.str", ["x", "x"], {}, [1]]),
    "a number for a dtype": ("takes a dtype", SMALL, ["prod.default", [R0], {"dtype": 64}, [1]]),
    "a quantized dtype": ("unknown value", op("empty.memory_format", [4], out=0, dtype={"dtype": "quint8"})),
    "a number for a memory format": (
        "takes a memory_format",
        SMALL,
        ["clone.default", [R0], {"memory_format": 9}, [1]],
    ),
    "a quotient without a value": (
        "what may be -1",
        op("full.default", [64], -(2**63), out=0, dtype={"dtype": "int64"}),
        ["div.Scalar_mode", [R0, -1], {"rounding_mode": "trunc"}, [1]],
    ),
    "the same by a register": (
        "what may be -1",
        op("full.default", [64], -(2**63), out=0, dtype={"dtype": "int64"}),
        ["div.Tensor_mode", [R0, R0], {"rounding_mode": "trunc"}, [1]],
    ),
    "random integers without end": (
        "bounds beyond",
        op("zeros.default", [4], out=0, dtype={"dtype": "float32"}),
        ["random_.from", [R0, 2**63 - 1, None], {}, [0]],
    ),
    "an argument twice": ("only once", SMALL, ["sum.default", [R0], {"self": R0}, [1]]),
    "an argument that is none": ("takes no 'colour'", SMALL, ["sum.default", [R0], {"colour": 1}, [1]]),
    "too many arguments": ("takes 1 values", SMALL, ["zero_.default", [R0, 1], {}, [1]]),
    "too few arguments": ("needs self", SMALL, ["zero_.default", [], {}, [1]]),
    "another output": ("writes into", SMALL, ["linalg_qr.out", [R0], {"Q": R0, "R": R0}, [1, 2]]),
    "a result that is dropped": ("register of its own", SMALL, ["clone.default", [R0], {}, [None]]),
    "two results in one register": ("register of its own", SMALL, ["linalg_qr.default", [R0], {}, [1, 1]]),
    "a hundred dimensions": ("dimensions", SMALL, ["view.default", [R0, [1] * 100 + [64]], {}, [1]]),
    "a million dimensions": ("numbers", SMALL, ["view.default", [R0, [1] * 1_000_000], {}, [1]]),
    "memory that is kept": ("bytes in memory", *WIDE, op("add.Tensor", R1, R2, out=0)),
    "memory of a square": (
        "bytes in memory",
        op("zeros.default", [5_000, 1], out=0, **DOUBLES),
        op("t.default", R0),
        op("add.Tensor", R0, R1, out=2),
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_draw_may_not_do_is_refused_in_one_line(name: str) -> None:
    reason, *steps = HOSTILE[name]
    with pytest.raises(GraphError, match=reason) as caught:
        graph_from_json(json.dumps(graph_of(*steps)))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_memory_is_bounded_by_the_bytes_of_the_slot() -> None:
    """Whatever a slot's elements are: of bytes, a program of doubles has no more than of doubles themselves."""
    elements = draw_limits.MEMORY_CONSTANT // 8
    steps = [op("full.default", [elements], 1.0, out=register, **DOUBLES) for register in range(1, 5)]
    ends = [op("detach.default", {"register": register}, out=10 + register) for register in range(1, 5)]
    made = op("zeros.default", [elements], out=0, **BYTES)
    with pytest.raises(GraphError, match="bytes in memory at a time; allowed are"):
        graph_from_json(json.dumps(graph_of(*steps, made, *ends, size=(elements,))))


def test_a_value_is_counted_once_and_as_long_as_it_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 3000
    held = 0
    plain = draw_limits._Memory._hold

    def hold(self: Any, register: int, tensor: torch.Tensor) -> None:
        nonlocal held
        held += 1
        plain(self, register, tensor)

    monkeypatch.setattr(draw_limits._Memory, "_hold", hold)
    steps = [op("ones.default", [1], out=register + 1, **BYTES) for register in range(count)]
    joined = op("cat.default", [{"register": register + 1} for register in range(count)], out=0)
    assert drawn(*steps, joined, size=(count,)).tolist() == [1] * count
    assert held <= 3 * count
    big = [op("ones.default", [4_000_000], out=1, **DOUBLES), op("sum.default", R1, out=2)] * 20
    assert drawn(*big, op("ones.default", [8], out=0, **BYTES), size=(8,)).tolist() == [1] * 8


def test_a_factorization_of_a_large_matrix_is_no_more_than_a_slot_may_take() -> None:
    graph = graph_of(
        op("empty.memory_format", [600, 600], out=0, dtype={"dtype": "float32"}),
        op("normal_.default", R0, 0.0, 1.0, out=0),
        op("linalg_qr.default", R0, out=[1, 2]),
        op("diagonal.default", R2, out=3),
        op("sign.default", {"register": 3}, out=4),
        op("mul.Tensor", R1, {"register": 4}, out=5),
        op("copy_.default", R0, {"register": 5}, out=0),
        size=(600, 600),
        dtype="float32",
    )
    architecture, _ = graph_from_json(json.dumps(graph))
    made = default_weights(architecture.manifest["w"], 0)
    assert torch.allclose(made.T @ made, torch.eye(600), atol=1e-4)


def test_strides_are_no_sizes() -> None:
    """A live module's kernel travels with its strides, whose product is beyond any size."""
    network = nn.Conv3d(64, 64, 7)
    architecture, graph = paramgen.graph(network, example_input=torch.zeros(1, 64, 8, 8, 8))
    read, _ = graph_from_json(graph_to_json(architecture, graph))
    assert read.manifest["weight"].shape == (64, 64, 7, 7, 7)
