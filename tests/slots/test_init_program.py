"""Draws: the library's values from a generator of the slot's own, and nothing else is touched."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from paramgen.errors import GraphError
from paramgen.slots.determinism import seeded_randomness
from paramgen.slots.init_program import InitProgram, InitStep, Register, constant, kept, slot_generator

EMPTY = InitStep("empty.memory_format", ((3, 4),), {"dtype": torch.float32}, (0,))
NORMAL = InitStep("normal_.default", (Register(0), 0.0, 1.0), {}, (0,))


def program(*steps: InitStep, result: int = 0, stride: tuple[int, ...] = (4, 1), offset: int = 0) -> InitProgram:
    return InitProgram(steps, result, (3, 4), stride, offset)


def test_seed_name_and_stream_decide_the_bytes() -> None:
    def start(seed: int, name: str, stream: str = "") -> torch.Tensor:
        return program(EMPTY, NORMAL)(slot_generator(seed, name, stream=stream))

    first = start(0, "a.weight")
    start(5, "between")
    assert torch.equal(first, start(0, "a.weight"))
    others = [start(1, "a.weight"), start(0, "b.weight"), start(0, "a.weight", "x"), start(2**63 - 1, "a.weight")]
    assert not any(torch.equal(first, other) for other in others)


def test_the_global_state_is_neither_used_nor_changed() -> None:
    dropout = InitStep("native_dropout.default", (Register(0), 0.5, True), {}, (1, None))  # takes no generator
    steps = program(EMPTY, InitStep("fill_.Scalar", (Register(0), 1.0), {}, (0,)), dropout, result=1)
    before = torch.get_rng_state()
    first = steps(slot_generator(0, "x"))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert torch.equal(first, steps(slot_generator(0, "x")))
    assert set(first.unique().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize(
    "step",
    [
        InitStep("randint.low", (-5, 5, (3, 4)), {"dtype": torch.int64}, (0,)),
        InitStep("rand.default", ((3, 4),), {}, (0,)),
        InitStep("randn.default", ((3, 4),), {}, (0,)),
    ],
)
def test_factories_take_the_generator(step: InitStep) -> None:
    before = torch.get_rng_state()
    first = program(step)(slot_generator(0, "x"))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, program(step)(slot_generator(0, "x")))
    assert not torch.equal(first, program(step)(slot_generator(1, "x")))
    assert program(step).random and not program(EMPTY).random


def test_a_constant_that_a_step_writes_to_stays_what_it_was() -> None:
    values = torch.ones(3, 4)
    doubled = program(InitStep("mul_.Tensor", (values, 2.0), {}, (0,)))
    for _ in range(2):
        assert torch.equal(doubled(slot_generator(0, "x")), torch.full((3, 4), 2.0))
    assert torch.equal(values, torch.ones(3, 4))


def test_constants_and_kept_values_come_back_contiguous_and_as_copies() -> None:
    values = torch.arange(12.0).view(4, 3).t()
    for made in (constant(values), kept(values)):
        start = made(slot_generator(0, "x"))
        assert torch.equal(start, values) and start.is_contiguous() and start.data_ptr() != values.data_ptr()
    assert kept(values).kept and not constant(values).kept


def test_views_are_cut_out_of_their_register() -> None:
    part = InitProgram((InitStep("arange.default", (20,), {}, (0,)),), 0, (2, 3), (6, 2), 1)
    assert part(slot_generator(0, "x")).tolist() == [[1, 3, 5], [7, 9, 11]]


def test_registers_are_freed_after_their_last_use() -> None:
    chain = [EMPTY] + [InitStep("clone.default", (Register(i),), {}, (i + 1,)) for i in range(5)]
    held = [len(registers) for _, registers in program(*chain, result=5).replay(torch.device("meta"), None)]
    assert max(held) == 2


@pytest.mark.parametrize(
    "steps",
    [
        (),
        (InitStep("normal_.default", (Register(3),), {}, (0,)),),
        (InitStep("nonsense.default", (), {}, (0,)),),
        (InitStep("empty.__class__", (), {}, (0,)),),
        (InitStep("empty.overloads", (), {}, (0,)),),
        (InitStep("full.default", ((3, 4), 10**400), {}, (0,)),),
        (EMPTY, InitStep("index_select.default", (Register(0), 0, torch.tensor([100])), {}, (0,))),
        (EMPTY, InitStep("as_strided.default", (Register(0), (3, 4), (100, 1), 0), {}, (0,))),
        (EMPTY, InitStep("clone.default", (Register(0),), {}, (0, 1))),
    ],
)
def test_steps_that_cannot_run_are_one_line(steps: tuple[InitStep, ...]) -> None:
    with pytest.raises(GraphError) as caught:
        program(*steps)(slot_generator(0, "x"))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_a_view_beyond_its_register_is_refused() -> None:
    with pytest.raises(GraphError, match="as_strided"):
        program(EMPTY, offset=5)(slot_generator(0, "x"))


def test_seeded_randomness_repeats_and_puts_the_state_back() -> None:
    def numbers() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = numbers()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    with seeded_randomness():
        first = numbers()
    with pytest.raises(KeyError), seeded_randomness():
        assert numbers() == first
        raise KeyError
    assert numbers() == expected


@pytest.mark.parametrize("operator", ["normal_.default", "uniform_.default"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_pieces_are_the_same_numbers(operator: str, dtype: torch.dtype) -> None:
    for size in ((1, 7), (16, 1), (5, 13), (8, 16), (9, 17), (3, 5, 31)):
        new = InitStep("empty.memory_format", (size,), {"dtype": dtype, "device": "meta"}, (0,))
        program = InitProgram(
            (new, InitStep(operator, (Register(0), 0.0, 0.5), {}, (1,))), 0, size, torch.empty(size).stride(), 0
        )
        pieces = [piece.clone() for piece in program.chunks(slot_generator(0, "a"), 32)]
        assert program.piecewise and all(len(piece) <= 48 for piece in pieces)
        assert torch.equal(torch.cat(pieces).view(size), program(slot_generator(0, "a")))


def test_what_is_more_than_one_fill_has_no_pieces() -> None:
    new = InitStep("empty.memory_format", ((4, 6),), {}, (0,))
    fill = InitStep("normal_.default", (Register(0), 0.0, 1.0), {}, (1,))
    program = InitProgram((new, fill), 0, (4, 6), (6, 1), 0)
    assert program.piecewise
    for other in (
        replace(program, steps=(new, fill, InitStep("erfinv_.default", (Register(1),), {}, (1,)))),
        replace(program, steps=(new, replace(fill, operator="bernoulli_.float"))),
        replace(program, size=(6, 4), stride=(1, 6)),
        replace(program, size=(2, 6), offset=12),
        replace(program, steps=(replace(new, keywords={"memory_format": torch.channels_last}), fill)),
    ):
        assert not other.piecewise
