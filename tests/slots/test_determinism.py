"""Work that depends on what a process has once goes on side by side, with the same result as alone."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from paramgen.slots.determinism import alone, seeded_randomness, undisturbed
from paramgen.slots.init_program import one_thread

if TYPE_CHECKING:
    from conftest import Command

PATIENCE = 60.0  # of threads that wait for each other; nobody waits so long unless they cannot meet


STATE = """
def state():
    functional = torch.nn.functional
    return (
        random.getstate(),
        np.random.get_state(legacy=False)["state"]["key"].tolist(),
        torch.get_rng_state().tolist(),
        functional.has_torch_function,
        functional.has_torch_function_unary,
        logging.getLogger("torch._subclasses.fake_tensor").disabled,
        torch.utils._device.CURRENT_DEVICE,
        torch._C._only_lift_cpu_tensors(),
    )
"""
TRACING = f"""
import logging, random, threading
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import torch
from torch import nn
import paramgen
from paramgen.architectures.recorder import record
{STATE}

class Meeting(nn.Module):
    def __init__(self, meet):
        super().__init__()
        self.map, self.meet = nn.Linear(4, 4, device="meta"), meet  # without random numbers

    def forward(self, states):
        self.meet()
        return self.map(nn.functional.gelu(states))

def traced(meet):
    return paramgen.trace(Meeting(meet), example_input=torch.zeros(2, 4))

before, passes = state(), []
"""
SIDE_BY_SIDE = f"""{TRACING}
meeting = threading.Barrier(2)
def meet():  # until the other one is within its own forward pass
    passes.append(meeting.wait({PATIENCE}))

with ThreadPoolExecutor(2) as pool:
    one, two = pool.map(traced, [meet, meet])
assert not one.failures and not two.failures and one.traced_by == two.traced_by == "fake tensors"
assert sorted(passes) == [0, 1], passes  # once was enough
assert one.nodes == two.nodes == traced(lambda: None).nodes
assert state() == before
"""
BUILT_MEANWHILE = f"""{TRACING}
entered, built = threading.Event(), threading.Event()
def meet():
    entered.set()
    passes.append(built.wait({PATIENCE}))

with ThreadPoolExecutor(1) as pool:
    tracing = pool.submit(traced, meet)
    assert entered.wait({PATIENCE})
    module, programs = record(lambda: nn.Linear(3, 3))
    built.set()
    assert not tracing.result().failures
assert passes == [True] and module.weight.is_meta
again = record(lambda: nn.Linear(3, 3))[1]
assert [each.steps for each in programs.values()] == [each.steps for each in again.values()]
assert state() == before
"""


@pytest.mark.parametrize("program", [SIDE_BY_SIDE, BUILT_MEANWHILE], ids=["two traced", "one built, one traced"])
def test_networks_do_not_wait_for_each_other(command: "Command", program: str) -> None:
    """In another process: beartype, which checks types here, takes random numbers itself."""
    done = command(code=program, alone=True)
    assert done.status == 0, done.err


def state() -> tuple[Any, ...]:
    return random.getstate(), np.random.get_state(legacy=False)["state"]["key"].tolist(), torch.get_rng_state().tolist()


@pytest.mark.parametrize("take", [random.random, np.random.rand, lambda: torch.rand(()).item()])
def test_who_takes_random_numbers_beside_others_gets_the_same_as_alone(take: Callable[[], float]) -> None:
    before, meeting = state(), threading.Barrier(2)

    def taking(meet: Callable[[], Any]) -> Callable[[], list[float]]:
        met = iter([meet])  # the first time only

        @undisturbed
        def work() -> list[float]:
            next(met, lambda: None)()
            return [take(), take()]

        return work

    expected = taking(lambda: None)()
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(taking(lambda: meeting.wait(PATIENCE))) for _ in range(2)]
        assert [each.result() for each in done] == [expected, expected]
    assert state() == before


def test_an_error_is_raised_once_and_leaves_the_process_as_it_was() -> None:
    before, calls = state(), []

    @undisturbed
    def fails() -> None:
        calls.append(random.random())
        raise KeyError("missing")

    with pytest.raises(KeyError):
        fails()
    assert len(calls) == 1 and state() == before


def test_inside_each_other() -> None:
    before = state()

    @undisturbed
    def inner() -> float:
        return random.random()

    @undisturbed
    def outer() -> list[float]:
        with alone():
            return [random.random(), inner(), random.random()]

    first = random.Random(0)
    wanted = [first.random(), random.Random(0).random(), first.random()]
    assert outer() == wanted
    with seeded_randomness():
        assert inner() == wanted[0]
    assert state() == before


def test_who_is_alone_waits_for_the_others_and_they_for_him() -> None:
    order: list[str] = []
    entered, leave = threading.Event(), threading.Event()

    @undisturbed
    def beside(name: str) -> None:
        order.append(name)
        entered.set()
        assert leave.wait(PATIENCE)

    def by_oneself() -> None:
        with alone():
            order.append("alone")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(beside, "beside")
        assert entered.wait(PATIENCE)
        second = pool.submit(by_oneself)
        assert not second.done()
        leave.set()
        first.result(), second.result()
    assert order == ["beside", "alone"]
    with ThreadPoolExecutor(1) as pool:
        with alone():
            third = pool.submit(beside, "later")
            order.append("before")
        third.result()
    assert order[2:] == ["before", "later"]


def test_a_thread_that_computes_alone_changes_no_others_number() -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        within, leave = threading.Event(), threading.Event()

        def work() -> int:
            torch.set_num_threads(2)
            with one_thread():
                within.set()
                assert leave.wait(PATIENCE)
                return torch.get_num_threads()

        with ThreadPoolExecutor(1) as pool:
            inside = pool.submit(work)
            assert within.wait(PATIENCE)
            assert torch.get_num_threads() == 2
            with one_thread():  # which would wait for ever if they took turns
                assert torch.get_num_threads() == 1
            leave.set()
            assert inside.result() == 1 and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
