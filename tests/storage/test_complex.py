"""Complex numbers on their way to a folder: whatever fills a network, in whatever dtype, and back."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import paramgen
from paramgen.graphs.graph_json import graph_from_json, graph_to_json
from paramgen.initializers import initializers
from paramgen.output.stream import statistics_of
from paramgen.output.verify import check_folder

FILE = """
import torch
from torch import nn

class Mixer(nn.Module):
    def __init__(self, dtype=torch.cfloat):
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 3)
        self.weight = nn.Parameter(torch.randn(6, 6, dtype=torch.cdouble if dtype == "cdouble" else dtype))
        self.pairs = nn.Parameter(torch.view_as_real(torch.randn(6, 4, dtype=torch.cfloat)))
        self.register_buffer("turns", torch.polar(torch.ones(6), torch.arange(6.0)))
        self.register_buffer("waves", torch.exp(-1j * torch.arange(6.0)))

    def forward(self, states):
        mixed = (self.first(states) + 0j) @ self.weight.to(torch.cfloat) * self.turns * self.waves
        return self.last((mixed + torch.view_as_complex(self.pairs).sum(1)).abs())

example_input = torch.zeros(2, 6)
"""
NEED_MORE = (
    "average",
    "diffusion",
    "grow",
    "inherit",
    "transplant",
    "prepared",
    "weight_selection",
)  # a trained model, or an architecture of their own
KNOW_NOTHING = frozenset(
    "hypernet mimetic cai rezero eoc natural impulse maxout s4d poincare arithmetic ibp virgo unigram".split()
)
"""What does not fit such a network, and says so."""
OF_ANOTHER = {"matched": "matched:he", "shuffled": "shuffled:he"}


@pytest.fixture
def mixer(tmp_path: Path) -> str:
    (tmp_path / "mixer.py").write_text(FILE, encoding="utf-8")
    return f"{tmp_path / 'mixer.py'}:Mixer"


@pytest.mark.parametrize("init", sorted(set(initializers.names()) - set(NEED_MORE) - KNOW_NOTHING))
def test_every_initializer_writes_them(mixer: str, tmp_path: Path, init: str) -> None:
    written = paramgen.write(mixer, tmp_path / "out", init=OF_ANOTHER.get(init, init))
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert written.checked is not None and stored["weight"].dtype == torch.complex64
    assert stored["pairs"].dtype == torch.float32 and stored["pairs"].shape == (6, 4, 2)
    assert {written.prediction.rules[name] for name in ("weight", "turns")} == {"library"}
    assert all(torch.view_as_real(stored[name]).std() > 0.3 for name in ("weight", "turns"))
    record = json.loads((tmp_path / "out" / "paramgen.json").read_text())["tensors"]["turns"]
    parts = torch.view_as_real(torch.polar(torch.ones(6), torch.arange(6.0)))
    assert record["mean"] == pytest.approx(float(parts.mean()), abs=1e-5)
    assert record["std"] == pytest.approx(float(parts.std(correction=0)), abs=1e-5)


@pytest.mark.parametrize("dtype", [None, "float32", "bfloat16", "float16"])
def test_a_dtype_is_of_real_numbers_and_complex_ones_are_of_the_width_that_files_hold(
    mixer: str, tmp_path: Path, dtype: str | None
) -> None:
    wide = {"dtype": "cdouble"}
    if dtype is None:
        with pytest.raises(paramgen.ParamgenError, match="'weight' is torch.complex128, which .* dtype='float32'"):
            paramgen.write(mixer, tmp_path / "out", init="library", overrides=wide)
        assert not (tmp_path / "out").exists()
        return
    paramgen.write(mixer, tmp_path / "out", init="library", overrides=wide, dtype=dtype)
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert stored["weight"].dtype == stored["turns"].dtype == torch.complex64
    assert stored["first.weight"].dtype == getattr(torch, dtype)
    assert check_folder(tmp_path / "out").memory == "real"


def test_a_live_module_keeps_them(mixer: str, tmp_path: Path) -> None:
    class Live(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4, dtype=torch.cfloat)
            self.turned = nn.Parameter(torch.randn(4, dtype=torch.cfloat).conj())

        def forward(self, states: Tensor) -> Tensor:
            return self.layer(states + 0j) * self.turned

    module = Live()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    assert set(paramgen.initialize_(module, init="library", example_input=torch.zeros(2, 4)).values()) == {"kept"}
    paramgen.write(module, tmp_path / "out", init="library", example_input=torch.zeros(2, 4))
    loaded = paramgen.load(tmp_path / "out", Live())
    assert all(before[name].equal(tensor) for name, tensor in module.state_dict().items())
    assert all(before[name].equal(tensor) for name, tensor in loaded.state_dict().items())


def test_a_graph_carries_them(mixer: str) -> None:
    architecture, graph = paramgen.graph(mixer)
    again = graph_from_json(graph_to_json(architecture, graph))[0]
    for name in ("weight", "pairs", "turns", "waves"):
        generators = (torch.Generator().manual_seed(1) for _ in range(2))
        one, other = (each.manifest[name].program(next(generators)) for each in (architecture, again))  # type: ignore[misc]
        assert one.equal(other)


def test_what_is_no_number_is_seen(mixer: str, tmp_path: Path) -> None:
    written = paramgen.write(mixer, tmp_path / "out", init="library")
    file = tmp_path / "out" / "model.safetensors"
    content = bytearray(file.read_bytes())
    turns = load_file(file)["turns"]
    place = content.index(turns.numpy().tobytes())
    content[place : place + 8] = torch.tensor([complex(1, float("nan"))]).numpy().tobytes()
    file.write_bytes(content)
    (tmp_path / "out" / "paramgen.json").unlink()
    with pytest.raises(paramgen.ParamgenError, match="'turns' .* is not a number"):
        check_folder(written.folder)


def test_statistics_are_of_both_parts() -> None:
    values = torch.tensor([[1 + 2j, 3 - 4j]], dtype=torch.complex128)
    found = statistics_of(values).to_json()
    assert (found["mean"], found["dtype"]) == (0.5, "complex128")
    assert found["std"] == pytest.approx(float(torch.tensor([1.0, 2, 3, -4]).std(correction=0)), abs=1e-5)
    assert statistics_of(values.conj()).to_json()["sha256"] == statistics_of(values.conj().clone()).to_json()["sha256"]
