"""Networks whose forward pass is hard to follow: traced with another backend or by their modules, never in silence."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.architectures import Architecture
from paramgen.architectures.module import from_module
from paramgen.errors import MisfitError, OptionError, TraceError, TraceWarning
from paramgen.graphs import schema
from paramgen.graphs.graph_json import graph_to_json
from paramgen.graphs.tracing.fallbacks import Tracing, graph_of
from paramgen.graphs.tracing.time_limit import TimeUp, time_limit

if TYPE_CHECKING:
    from conftest import Command


class Network(nn.Module):
    """A norm, a linear map, and a function of both."""

    def __init__(self, run: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.run = run
        self.norm, self.map = nn.LayerNorm(4), nn.Linear(4, 4)

    def forward(self, states: Tensor) -> Any:
        return self.map(self.run(self, self.norm(states)))


def described(run: Callable[[Any, Tensor], Any]) -> Architecture:
    return from_module(Network(run), ((torch.zeros(2, 4),), {}))


def spawning(module: Any, states: Tensor) -> Tensor:
    subprocess.run([sys.executable, "-S", "-c", ""], check=True)
    return states


def seeding(module: Any, states: Tensor) -> Tensor:
    torch.manual_seed(1)
    random.seed(1)
    return states


def printing(module: Any, states: Tensor) -> Tensor:
    sys.stdout.write("states\n")
    return states


def stubborn(swallowed: list[BaseException]) -> None:
    try:
        time.sleep(100)
    except BaseException as interruption:  # the first one is swallowed
        swallowed.append(interruption)
        time.sleep(100)


BACKENDS: dict[str, tuple[str, Callable[[Any, Tensor], Any]]] = {
    "prints": ("fake tensors", printing),
    "sets seeds": ("fake tensors", seeding),
    "starts a process": ("fake tensors", spawning),
    "wants a GPU": ("fake tensors", lambda m, x: x.cuda() + torch.ones(4, device="cuda:0").to(torch.device("cuda"))),
    "reads a constant": ("fake tensors on the CPU", lambda m, x: x * torch.tensor(3).item()),
    "branches on values": ("real tensors", lambda m, x: x * 2 if x.sum() > 0 else x + x),
    "selects by values": ("real tensors", lambda m, x: x[x.sum(1) < 9]),
    "raises": ("module tree", lambda m, x: 1 / 0),
    "exits": ("module tree", lambda m, x: sys.exit(3)),
    "never returns": ("module tree", lambda m, x: time.sleep(100)),
}


@pytest.mark.parametrize("case", BACKENDS)
@pytest.mark.filterwarnings("ignore::paramgen.errors.TraceWarning")
def test_takes_the_first_backend_that_works(case: str) -> None:
    backend, run = BACKENDS[case]
    architecture = described(run)
    before = torch.get_rng_state().tolist()
    graph = graph_of(architecture, Tracing(seconds=0.3 if case == "never returns" else 60.0))
    assert graph.traced_by == backend
    assert before == torch.get_rng_state().tolist()
    operations = ["layer_norm", "bias", "linear", "bias"]
    assert [node.op for node in graph.nodes if node.slot] == operations
    assert graph.unreachable() == []
    tried = (
        1
        if case == "never returns"
        else ["fake tensors", "fake tensors on the CPU", "real tensors", backend].index(backend)
    )
    assert len(graph.failures) == tried
    assert graph.ordered == (backend != "module tree")


def test_what_lies_behind_a_step_outside_torch_is_unreachable() -> None:
    graph = graph_of(described(lambda m, x: torch.from_numpy(x.numpy())))
    assert graph.traced_by == "real tensors"
    assert graph.unreachable() == ["map.weight", "map.bias"]


def test_an_unknown_order_is_a_warning_or_with_strict_an_error() -> None:
    architecture = described(BACKENDS["raises"][1])
    with pytest.warns(TraceWarning, match="ZeroDivisionError"):
        graph_of(architecture, Tracing())
    with pytest.raises(TraceError, match="The forward pass of Network fails in the module itself: ZeroDivisionError"):
        graph_of(architecture, Tracing(strict=True))


@pytest.mark.filterwarnings("ignore::paramgen.errors.TraceWarning")
@pytest.mark.parametrize("given", [(torch.zeros(2, 5),), (torch.zeros(2, 4), torch.zeros(1)), ()])
def test_an_example_input_that_was_given_and_does_not_fit_is_an_error(given: tuple[Tensor, ...]) -> None:
    module = Network(lambda m, x: x)
    with pytest.raises(MisfitError, match="The example input does not fit .*: example_input='2x3x32x32'") as raised:
        paramgen.predict(module, example_input=given)
    assert "--example-input 2x3x32x32" in raised.value.message and "--" not in str(raised.value)
    with pytest.raises(MisfitError):
        paramgen.graph(module, example_input=given)
    assert paramgen.predict(module, init="library").rules  # what is guessed may be wrong


@pytest.mark.parametrize("case", ["raises", "exits", "never returns", "branches on values"])
@pytest.mark.filterwarnings("ignore::paramgen.errors.TraceWarning")
def test_a_network_that_cannot_be_followed_is_no_fault_of_its_example_input(case: str) -> None:
    module = Network(BACKENDS[case][1])
    assert paramgen.predict(module, example_input=torch.zeros(2, 4), init="library", trace_timeout=0.3).rules


@pytest.mark.filterwarnings("ignore::paramgen.errors.TraceWarning")
def test_what_is_too_large_to_be_run_and_asks_for_values_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paramgen.graphs.tracing.fallbacks.MAX_REAL", 1)
    module = Network(BACKENDS["branches on values"][1])
    assert not paramgen.predict(module, example_input=torch.zeros(2, 4), init="library").graph.ordered


def test_a_graph_has_an_example_input_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "g.json"
    file.write_text(graph_to_json(*paramgen.graph(nn.Linear(3, 2), example_input=torch.zeros(2, 3))))
    assert paramgen.predict(str(file), init="he", strict=True).rules
    with pytest.raises(OptionError, match="Leave example_input"):
        paramgen.predict(str(file), example_input=torch.zeros(2, 3))
    with pytest.raises(OptionError, match="Leave example_input"):
        paramgen.graph(str(file), example_input=torch.zeros(2, 3))


@pytest.mark.filterwarnings("ignore::paramgen.errors.TraceWarning")
def test_a_graph_without_an_order_is_refused_where_one_is_wanted(tmp_path: Path) -> None:
    file = tmp_path / "g.json"
    file.write_text(graph_to_json(*paramgen.graph(Network(BACKENDS["raises"][1]), example_input=torch.zeros(2, 4))))
    assert paramgen.predict(str(file), init="he").rules
    with pytest.raises(TraceError, match="module tree and has no order"):
        paramgen.predict(str(file), init="he", strict=True)


def test_starts_that_need_no_order_still_fill_their_weights() -> None:
    architecture = described(BACKENDS["raises"][1])
    with pytest.warns(TraceWarning):
        rules = {
            init: dict(
                paramgen.predict(Network(BACKENDS["raises"][1]), init=init, example_input=torch.zeros(2, 4)).rules
            )
            for init in ("orthogonal", "auto")
        }
    with pytest.warns(TraceWarning), pytest.raises(OptionError, match="'hypernet' fills nothing of .* has none"):
        paramgen.predict(Network(BACKENDS["raises"][1]), init="hypernet", example_input=torch.zeros(2, 4))
    weights = {rule["map.weight"] for rule in rules.values()}
    assert set(architecture.manifest) == set(rules["auto"])
    assert rules["orthogonal"]["map.weight"] == "orthogonal"
    assert rules["auto"]["map.weight"] == "kept"
    assert len(weights) == 2


def test_what_no_graph_can_hold_is_filled_by_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "MAX_NODES", 3)
    module = nn.Linear(4, 4)
    with pytest.warns(TraceWarning, match="3 nodes"):
        prediction = paramgen.predict(module, init="auto", example_input=torch.zeros(2, 4))
    assert prediction.graph.traced_by == "nothing"
    assert dict(prediction.rules) == {"weight": "kept", "bias": "kept"}
    assert prediction.state_dict()["weight"].std() > 0


def test_a_swallowed_interruption_is_followed_by_another() -> None:
    swallowed: list[BaseException] = []
    with pytest.raises(TimeUp), time_limit(0.1):  # without another one, it would return, if late
        stubborn(swallowed)
    assert [type(each) for each in swallowed] == [TimeUp]


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_a_time_limit_is_a_time(seconds: float) -> None:
    with pytest.raises(OptionError, match="allowed are more than 0"):
        Tracing(seconds=seconds)


ENDLESS = """
import time
import torch
from torch import nn

class Endless(nn.Linear):
    def forward(self, states):
        while True:
            time.sleep(0.1)

def build():
    return nn.Sequential(nn.Linear(4, 4), Endless(4, 4))
"""


def test_a_network_that_never_returns_is_filled_with_a_warning(command: "Command", tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS)
    typed = ("predict", "--arch", "endless.py:build", "--trace-timeout", 2, "--out", "out")
    done = command(*typed, "--strict")
    assert done.status == 2 and "submodule '1' (Endless): it did not return within 2 s" in done.err, done
    assert not (tmp_path / "out").exists()
    done = command(*typed, "--json")
    assert done.status == 0 and done.err.startswith("warning: no order of execution is known") and "Endless" in done.err
    said, kept = json.loads(done.out), json.loads((tmp_path / "out" / "paramgen.json").read_text())
    assert said["traced_by"] == kept["graph"]["traced_by"] == "module tree"
    assert said["trace_failures"] == kept["graph"]["trace_failures"] and "Endless" in said["trace_failures"][0]
    assert said["by_rule"] == {"library": 40}
